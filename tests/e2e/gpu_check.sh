#!/bin/bash
# scripts/gpu-check on the emulated GPU, with tiny sizes: from a build, from what it packs, and without a device.
. "$(dirname "$0")/lib.sh"
gpu_check=$VLMP_ROOT/scripts/gpu-check
build=$(dirname "$VLMP_TOOLS")

exits 0 "$gpu_check" --build "$build" --emulated --only demo
check "answers and scores" test "$(grep -cE '^ok +(answers|scores) ' stdout)" = 2

exits 0 "$gpu_check" --build "$build" --emulated --pack pack
exits 0 "$gpu_check" --build pack --emulated --only speed --json speed.json
check "the last line sums up" grep -q '^7 ok, 0 failed, 0 not there' stdout
json speed.json 'd["device"] == "emulated GPU" and d["read_GBps"] > 0 and len(d["runs"]) == 24 and len(d["speed"]) == 20'
json speed.json 'all(row["over_f16"] > 0 for row in d["speed"])'
json speed.json '[q["method"] for q in d["quantizers"]] == ["gptq", "awq"] and len(d["quantizer_runs"]) == 6'
json speed.json 'all(q["seconds"] > 0 for q in d["quantizers"])'

# What fails is said, and the rest goes on.
VLMP_EMU_ABSENT=1 exits 1 "$gpu_check" --build pack --emulated --json absent.json
check "each failure is counted" grep -q '^0 ok, 10 failed, 0 not there' stdout
json absent.json '[s["step"] for s in d["steps"] if s["state"] == "FAILED"] == ["kcheck", "answers", "scores",
    "bandwidth", "tiny-f16", "tiny-w4g128", "tiny-w8", "tiny-w8a8", "tiny-gptq", "tiny-awq"]'
VLMP_GPU_SECONDS=0 exits 1 "$gpu_check" --build pack --emulated
check "what has no time is left out" test "$(grep -c 'left out: no time' stdout)" = 10
exits 2 "$gpu_check" --emulated

# The line through two numbers of layers: 1 + L ms of so many layers, and for F16 twice that.
mkdir figures
for layers in 1 3; do
    for type in f16:2 w8:1; do
        printf '{"model": "m", "layers": 40, "name": "%s", "shape": [0,0,0,0,%d,0], "sequences": 1, "prompt": 1,
            "context": 100, "weight_bytes": %d, "kernels": "k", "prefill_tps": 1, "decode_tps": %f}\n' ${type%:*} $layers \
            $((layers * 1000000)) "$(python3 -c "print(1000 / (${type#*:} * (1 + $layers)))")" | tr -d '\n'
        echo
    done
done >figures/speed.jsonl
# Codes of three linears; moments 1 s for a tenth of the tokens.
for part in 'square 11' 'up 12' 'down 21'; do
    printf '{"model": "m", "layers": 40, "method": "awq", "part": "%s", "tokens": 6554, "moments_s": 1, "search_s": 2,
        "codes_s": %d}\n' "${part% *}" "${part#* }" | tr -d '\n'
    echo
done >figures/quant.jsonl
echo '{"device": "A GPU", "read_GBps": 2}' >figures/stream.json
exits 0 python3 "$VLMP_ROOT/scripts/gpu-table.py" figures c0ffee ./
mv ./*-a-gpu.json table.json
json table.json 'd["commit"] == "c0ffee" and [(r["type"], round(r["ms"], 3), round(r["share"], 3),
    round(r["over_f16"], 3)) for r in d["speed"]] == [("f16", 82, 0.244, 1), ("w8", 41, 0.488, 2)]'
json table.json '[(round(q["moments_s"]), q["search_s"], q["codes_s"]) for q in d["quantizers"]] == [
    (1600, 40 * 2 * 7, 40 * (4 * 11 + 2 * 12 + 21))]'
