#!/usr/bin/env python3
"""What vlm-export --emit writes against itself and the command that serves the folder.

    emit_check.py FOLDER

Names of services are labels, every reference has its target, ports and weights agree, the command is that of the
model card. Exit 0: all of that.
"""
import json
import os
import re
import shlex
import sys

LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


def card_command(folder):
    with open(os.path.join(folder, "README.md"), encoding="utf-8") as file:
        words = shlex.split(re.search(r"```\n(.*)\n```", file.read()).group(1))
    assert words[:2] == ["vllm", "serve"]
    return words[3:]


def check_words(words, folder, path, name):
    assert words[:3] == ["vllm", "serve", path]
    assert words[3:] == card_command(folder) + ["--served-model-name", name, "--host", "0.0.0.0", "--port", "8080"]


def check_kserve(folder, service, route):
    name = route["metadata"]["name"]
    with open(os.path.join(folder, "README.md"), encoding="utf-8") as file:
        digest = re.search(r"digest `([0-9a-f]{64})`", file.read()).group(1)
    version = name + "-" + digest[:8]
    assert service["metadata"]["name"] == version and service["metadata"]["annotations"]["vlmpack/digest"] == digest
    predictor = service["spec"]["predictor"]
    (container,) = predictor["containers"]
    check_words(container["command"], folder, "/mnt/models", name)
    assert container["ports"][0]["containerPort"] == 8080
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == 8080
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 600
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in predictor["volumes"]}
    query = predictor["autoScaling"]["metrics"][0]["external"]["metric"]["query"]
    assert query.count('{pod=~"%s-predictor-.*"}' % version) == 2
    (rule,) = route["spec"]["rules"]
    assert rule["matches"][0]["path"]["value"] == "/%s/v1" % name
    backends = rule["backendRefs"]
    assert backends[0]["name"] == version + "-predictor" and sum(b["weight"] for b in backends) == 100
    for label in [version, name] + [b["name"] for b in backends]:
        assert LABEL.fullmatch(label) and len(label) <= 63, label


def check_compose(folder, compose, nginx):
    services = dict(compose["services"])
    router = services.pop("router")
    assert LABEL.fullmatch(compose["name"])
    upstream = re.findall(r"server ([a-z]+-\d+):8080 weight=(\d+)", nginx)
    assert [n for n, _ in upstream] == list(services) == list(router["depends_on"])
    assert re.search(r"hash \$user consistent;", nginx) and nginx.count("{") == nginx.count("}")
    gpus = [s["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for s in services.values()]
    assert gpus == [[str(i)] for i in range(len(services))], "each server has a GPU of its own"
    for name, service in services.items():
        words = service["entrypoint"] + service["command"]
        if name.startswith("server"):
            check_words(words, folder, "/model", compose["name"])
        else:
            assert "--quantization" not in words and words[-6:-4] == ["--served-model-name", compose["name"]]
        (volume,) = service["volumes"]
        assert volume["target"] == "/model" and volume["read_only"]
        assert (volume["source"] == ".") == name.startswith("server")
        assert "127.0.0.1:8080/v1/models" in service["healthcheck"]["test"][-1]


def main(folder):
    texts = {}
    for name in ("kserve.json", "kserve-route.json", "compose.json", "nginx.conf"):
        if os.path.exists(os.path.join(folder, name)):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                texts[name] = file.read() if name == "nginx.conf" else json.load(file)
    if set(texts) == {"kserve.json", "kserve-route.json"}:
        check_kserve(folder, texts["kserve.json"], texts["kserve-route.json"])
    else:
        assert set(texts) == {"compose.json", "nginx.conf"}, texts.keys()
        check_compose(folder, texts["compose.json"], texts["nginx.conf"])


if __name__ == "__main__":
    main(sys.argv[1])
