#!/usr/bin/env python3
"""What vlm-export --emit writes against the schemas of those who read it, and through a real nginx.

    check-emit.py FOLDER [--compose-schema FILE] [--crd FILE]... [--nginx PROGRAM]

FOLDER: an export. --compose-schema: schema/compose-spec.json of compose-spec/compose-spec. --crd: definitions of
the custom resources, of KServe (serving.kserve.io_inferenceservices.yaml) and of the Gateway API
(gateway.networking.k8s.io_httproutes.yaml); fields that they do not know are faults. --nginx: reads nginx.conf and
serves with it, in front of one small server for each of its names: the same user always comes to the same one,
and users are shared out by the weights. Needs PyYAML and jsonschema. Exit 0: all that was asked for holds.
"""
import argparse
import collections
import http.client
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

import jsonschema
import yaml

USERS = 3000


def strict(schema):
    """The JSON schema of an OpenAPI one: unknown fields are faults, integers may be text where it says so."""
    out = {k: v for k, v in schema.items() if not k.startswith("x-") and k not in ("nullable", "format")}
    if "properties" in schema:
        out["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            out.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            out[key] = strict(schema[key])
    if schema.get("x-kubernetes-int-or-string"):
        out["type"] = ["integer", "string"]
    return out


def check_resource(path, crds):
    with open(path, encoding="utf-8") as file:
        resource = json.load(file)
    group, version = resource["apiVersion"].split("/")
    for crd in crds:
        if crd["spec"]["group"] != group or crd["spec"]["names"]["kind"] != resource["kind"]:
            continue
        schema = next(v for v in crd["spec"]["versions"] if v["name"] == version and v["served"])
        schema = strict(schema["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        jsonschema.Draft7Validator(schema).validate(resource)
        print("%s: a valid %s of %s" % (os.path.basename(path), resource["kind"], resource["apiVersion"]))
        return
    print("%s: not checked, its definition was not given" % os.path.basename(path))


def serve(name, address):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # pylint: disable=invalid-name
            self.send_response(200)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, *_):  # pylint: disable=arguments-differ
            pass
    server = http.server.ThreadingHTTPServer(address, Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def ask(port, user):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/v1/models", headers={"X-User-Id": user})
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


def check_split(text, port):
    weights = {n: int(w) for n, w in re.findall(r"server ([a-z]+-\d+):\d+ weight=(\d+)", text)}
    users = ["user %d" % i for i in range(USERS)]
    first = {user: ask(port, user) for user in users}
    assert all(ask(port, user) == first[user] for user in users[:300]), "a user changed servers"
    counts = collections.Counter(name.rsplit("-", 1)[0] for name in first.values())
    total = sum(weights.values())
    for version in sorted({name.rsplit("-", 1)[0] for name in weights}):
        want = sum(w for name, w in weights.items() if name.startswith(version)) / total
        got = counts[version] / USERS
        # Points on the ring: 160 a weight; the share of n points deviates by about one in √n of itself.
        points = 160 * total * want
        bound = 4 * (want / points ** 0.5 + (want * (1 - want) / USERS) ** 0.5)
        assert abs(got - want) <= bound, "%s gets %.3f instead of %.3f" % (version, got, want)
        print("nginx.conf: %s gets %.1f %% of %d users, by weight %.1f %%" % (version, 100 * got, USERS, 100 * want))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    assert connection.getresponse().status == 404, "other paths are closed"


def check_nginx(path, program):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    names = re.findall(r"server ([a-z]+-\d+):8080", text)
    local, port = text, 18080
    for index, name in enumerate(names):
        serve(name, ("127.0.0.1", port + 1 + index))
        local = local.replace("server %s:8080" % name, "server 127.0.0.1:%d" % (port + 1 + index))
    local = local.replace("listen 8080", "listen 127.0.0.1:%d" % port)
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "nginx.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(local.replace("http {", "http {\n access_log off;\n" + "".join(
                " %s_temp_path %s/%s;\n" % (kind, folder, kind)
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")), 1))
        command = [program, "-p", folder, "-e", os.path.join(folder, "log"), "-c", config, "-g",
                   "daemon off; pid %s/pid;" % folder]
        done = subprocess.run(command + ["-t"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        print("nginx.conf: nginx -t takes it")
        running = subprocess.Popen(command)
        try:
            time.sleep(1)
            check_split(text, port)
        finally:
            running.terminate()
            running.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--compose-schema")
    parser.add_argument("--crd", action="append", default=[])
    parser.add_argument("--nginx")
    args = parser.parse_args()
    crds = []
    for path in args.crd:
        with open(path, encoding="utf-8") as file:
            crds += [d for d in yaml.safe_load_all(file) if d]
    found = 0
    for name in ("kserve.json", "kserve-route.json", "compose.json", "nginx.conf"):
        path = os.path.join(args.folder, name)
        if not os.path.exists(path):
            continue
        found += 1
        if name.endswith(".json"):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            assert yaml.safe_load(text) == json.loads(text), "%s: as YAML it says something else" % name
        if name.startswith("kserve"):
            check_resource(path, crds)
        if name == "compose.json" and args.compose_schema:
            with open(args.compose_schema, encoding="utf-8") as file:
                jsonschema.Draft7Validator(json.load(file)).validate(json.loads(text))
            print("compose.json: valid by the compose specification")
        if name == "nginx.conf" and args.nginx:
            check_nginx(path, args.nginx)
    if found == 0:
        print("%s: nothing was emitted there" % args.folder)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
