#!/usr/bin/env python3
"""The table of scripts/gpu-check, and its JSON.

    scripts/gpu-table.py FOLDER COMMIT [FILE]

FOLDER holds steps (name, state, details a line, tabs between), stream.json of bench-stream, speed.jsonl: lines of
bench-decode with "model", its "layers" and the type's "name" in front, and quant.jsonl: lines of bench-codes with
"model", "layers" and the "part" of a block: square, up or down. FILE: where the JSON goes; one that ends with
a slash is the folder, and the name is made of date and device.

bench-decode runs a model's first layers, two numbers of them. The time of a step is a line through both: what one
layer takes, and what comes once (head, last norm). Shares are of the bandwidth that bench-stream read, and count
bytes of weights alone. Ratios are to the F16 of the same table.

bench-codes quantizes one linear of each shape. A block has four linears of hidden × hidden (three read one site), two
of ffn × hidden (one site) and one of hidden × ffn: four sites, whose moments and factors are made once, and seven
linears. Moments grow with the tokens, of which GPTQ gets 128 · 2048 and AWQ 128 · 512. The forward passes, the guard
and the files are not in it.
"""
import datetime
import json
import os
import re
import sys


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def whole(lines, value):
    """What a value of few layers is of all, by the line through two numbers of layers."""
    few, more = sorted(lines, key=lambda line: line["shape"][4])
    low, high = few["shape"][4], more["shape"][4]
    return value(few) + (value(more) - value(few)) * (few["layers"] - low) / (high - low)


def rows_of(lines, bandwidth):
    """One for each product of model, type and batch or prompt that was run with both numbers of layers."""
    groups = {}
    for line in lines:
        key = (line["model"], line["name"])
        groups.setdefault(key + ("decode", line["sequences"], line["context"]), []).append(line)
        if line["prompt"] > 1:
            groups.setdefault(key + ("prefill", line["prompt"], 0), []).append(line)
    rows = []
    for (model, name, kind, size, context), pair in groups.items():
        if len(pair) != 2:
            continue
        if kind == "decode":
            seconds = whole(pair, lambda line: line["sequences"] / line["decode_tps"])
        else:
            seconds = whole(pair, lambda line: line["prompt"] / line["prefill_tps"])
        row = {"model": model, "type": name, "kind": kind, "size": size, "behind": context, "ms": 1e3 * seconds,
               "tokens_per_second": size / seconds, "measured_layers": sorted(line["shape"][4] for line in pair),
               "layers": pair[0]["layers"]}
        if kind == "decode" and bandwidth:
            row["share"] = whole(pair, lambda line: line["weight_bytes"]) / seconds / 1e9 / bandwidth
        rows.append(row)
    def same(r):
        return r["model"], r["kind"], r["size"], r["behind"]

    f16 = {same(r): r["ms"] for r in rows if r["type"] == "f16"}
    for row in rows:
        base = f16.get(same(row))
        if base:
            row["over_f16"] = base / row["ms"]
    return sorted(rows, key=lambda r: same(r) + (r["type"],))


TOKENS = {"gptq": 128 * 2048, "awq": 128 * 512}


def quantizers_of(lines):
    """Seconds of quantizing each model with each method, as far as all of its shapes were run."""
    groups, rows = {}, []
    for line in lines:
        groups.setdefault((line["model"], line["method"]), {})[line["part"]] = line
    for (model, method), shapes in groups.items():
        if len(shapes) != 3:
            continue
        square, up, down = shapes["square"], shapes["up"], shapes["down"]
        scale = TOKENS[method] / square["tokens"]
        row = {"model": model, "method": method, "layers": square["layers"], "tokens": TOKENS[method],
               "moments_s": scale * (3 * square["moments_s"] + down["moments_s"]),
               "codes_s": 4 * square["codes_s"] + 2 * up["codes_s"] + down["codes_s"]}
        if method == "gptq": # once a site
            row["factor_s"] = 3 * square["factor_s"] + down["factor_s"]
        else: # as many rows a linear
            row["search_s"] = 4 * square["search_s"] + 2 * up["search_s"] + down["search_s"]
        parts = [name for name in row if name.endswith("_s")]
        for name in parts:
            row[name] *= square["layers"]
        row["seconds"] = sum(row[name] for name in parts)
        rows.append(row)
    return rows


def show_quantizers(rows):
    for r in rows:
        parts = ", ".join("%s %.1f" % (name[:-2], r[name]) for name in r if name.endswith("_s"))
        print("%-6s %-8s %.1f s for %d layers, %d tokens, without forward passes and guard: %s" %
              (r["model"], r["method"], r["seconds"], r["layers"], r["tokens"], parts))


def show(rows, bandwidth):
    print("read bandwidth: %s" % ("%.1f GB/s" % bandwidth if bandwidth else "not measured"))
    if not rows:
        return
    print("extrapolated from %s layers; decode: sequences together, each behind so many tokens; prefill: tokens" %
          " and ".join(map(str, rows[0]["measured_layers"])))
    print("%-6s %-8s %5s %6s %-7s %10s %10s %6s %6s" % ("model", "what", "size", "behind", "type", "ms", "tokens/s",
                                                        "share", "x F16"))
    for r in rows:
        print("%-6s %-8s %5d %6d %-7s %10.3f %10.1f %6s %6s" %
              (r["model"], r["kind"], r["size"], r["behind"], r["type"], r["ms"], r["tokens_per_second"],
               "%.0f %%" % (100 * r["share"]) if "share" in r else "", "%.2f" % r["over_f16"] if "over_f16" in r else ""))


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    folder, commit = sys.argv[1:3]
    stream = json.loads(read(os.path.join(folder, "stream.json")) or "{}")
    bandwidth = stream.get("read_GBps")
    lines = [json.loads(line) for line in read(os.path.join(folder, "speed.jsonl")).splitlines()]
    rows = rows_of(lines, bandwidth)
    codes = [json.loads(line) for line in read(os.path.join(folder, "quant.jsonl")).splitlines()]
    quantizers = quantizers_of(codes)
    show(rows, bandwidth)
    show_quantizers(quantizers)
    if len(sys.argv) == 3:
        return
    path, date = sys.argv[3], datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    device = stream.get("device", "unknown device")
    if path.endswith("/"):
        path += "%s-%s.json" % (date, re.sub("[^a-z0-9]+", "-", device.lower()).strip("-"))
    steps = [dict(zip(("step", "state", "details"), line.split("\t")))
             for line in read(os.path.join(folder, "steps")).splitlines()]
    kl = json.loads(read(os.path.join(folder, "kl.json")) or "null")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"device": device, "kernels": lines[0]["kernels"] if lines else None, "date": date, "commit": commit,
                   "command": "scripts/gpu-check", "read_GBps": bandwidth,
                   "demo_kl": kl["results"][0]["kl"]["mean"] if kl else None, "steps": steps, "speed": rows,
                   "quantizers": quantizers, "runs": lines, "quantizer_runs": codes}, file, indent=1)
        file.write("\n")
    print("written: %s" % path)


if __name__ == "__main__":
    main()
