#!/bin/bash
# Budgets of tokens: what activations are measured on, and what quantizing runs on.
. "$(dirname "$0")/lib.sh"

python3 "$VLMP_ROOT/tests/e2e/make_tiny.py" "$model" tiny
calibrate() { # OUT, options…
    local out=$1
    shift
    vlm-calibrate tiny --data "$calib_data" --samples 32 -o "$out" "$@"
}

# The audit says the budget and what was measured; samples are the same whatever is measured.
exits 0 calibrate all.calib --audit-tokens all --json
cp stdout all.json
json all.json 'd["measured"]["budget"] == "all" and d["measured"]["samples"] == d["chosen"] == 32'
json all.json 'd["measured"]["tokens"] == d["text_tokens"] + d["picture_tokens"]'
exits 0 calibrate part.calib --audit-tokens 500 --json
json stdout 'd["measured"]["budget"] == 500 and 500 <= d["measured"]["tokens"] < 580'
json stdout 'd["measured"]["samples"] < 12 and 0 < d["measured"]["picture_tokens"] < d["measured"]["tokens"]'
exits 0 calibrate part2.calib --audit-tokens 500 --threads 1
check "says so" grep -qE '^measured +activations of 5[0-9][0-9] tokens in [0-9]+ samples; --audit-tokens all' stderr
same part.calib part2.calib
exits 0 calibrate seed.calib --audit-tokens 500 --seed 1 --json
exits 0 calibrate default.calib --json
json stdout 'd["measured"]["budget"] == 8000 and d["measured"]["samples"] == 32'
check "the same samples" python3 - <<'END'
import json, struct
def read(path):
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    meta = json.loads(header["__metadata__"]["vlmp.calibration"])
    parts = {name: data[slice(*t["data_offsets"])] for name, t in header.items() if name[:7] == "samples"}
    counts = {name: data[slice(*t["data_offsets"])] for name, t in header.items() if name[-6:] == ".count"}
    return parts, {key: meta[key] for key in ("version", "model", "data", "tokens", "samples", "loose")}, counts
whole, part = read("all.calib"), read("part.calib")
assert len(whole[0]) == 5 and whole[:2] == part[:2]
assert whole[2] != part[2], "less is measured"
END
exits 0 vlm-inspect part.calib --verify
check "inspect" grep -qE '^activations measured on 5[0-9][0-9] tokens, [0-9]+ of 32 samples \(--audit-tokens 500\)$' stdout
exits 0 vlm-inspect all.calib
check "inspect, all" grep -qE '^activations measured on [0-9]+ tokens, 32 of 32 samples$' stdout
exits 0 vlm-inspect part.calib --json
json stdout 'd["audit"]["measured"]["budget"] == 500'
refuses 2 "--audit-tokens: 'some' is not a whole number or all" calibrate x.calib --audit-tokens some
refuses 2 '--audit-tokens: 0 is outside' calibrate x.calib --audit-tokens 0
