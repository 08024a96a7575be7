#!/bin/bash
# The programs on the emulated GPU: answers and scores are those of the processor, within what F16 does.
. "$(dirname "$0")/lib.sh"
unset LD_LIBRARY_PATH # that has the library, in a test's environment

cuda() { LD_LIBRARY_PATH=$VLMP_CUDA_FOLDER "$@"; }
first_token() { exits 0 vlm-run "$model" --prompt x --max-new-tokens 1 "$@"; }

# Without the library.
first_token --device auto
check "auto says what it took and why" grep -q '^device: cpu, since .*libvlmpack-cuda.so' stderr
first_token
check "who asked for nothing is told nothing" test "$(grep -c device stderr)" = 0

# With it, installed beside the programs; with a device, without one, and damaged.
mkdir -p installed/bin "installed/bin/$VLMP_LIBDIR"
library=installed/bin/$VLMP_LIBDIR/libvlmpack-cuda.so
cp "$VLMP_TOOLS/vlm-run" installed/bin
cp "$VLMP_CUDA_FOLDER/libvlmpack-cuda.so" "$library"
(
    PATH=$PWD/installed/bin:$PATH
    first_token --device auto
    check "auto takes the device" grep -q '^device: cuda emulated GPU' stderr
    VLMP_EMU_ABSENT=1 first_token
    check "a device that cannot be had is told" grep -q '^device: cpu, since there is no CUDA device' stderr
    VLMP_EMU_ABSENT=1 first_token -q
    check "-q tells nothing" test "$(grep -c device stderr)" = 0
    head -c 100 "$VLMP_CUDA_FOLDER/libvlmpack-cuda.so" >"$library"
    first_token
    check "a damaged library is told" grep -q '^device: cpu, since cannot open the CUDA part' stderr
    echo "$checks $failures" >counts
)
read -r checks failures <counts

# 3, 4 and 8 bits, float and int8 activations: tower, projector and text of one file.
cat >recipe.json <<'JSON'
{"version": 1, "rules": [
    {"match": "vision.*", "scheme": {"method": "rtn", "bits": 8, "activations": "int8"}},
    {"match": "text.layers.0.*", "scheme": {"method": "rtn", "bits": 4, "symmetric": false}},
    {"match": "text.layers.1.*", "scheme": {"method": "rtn", "bits": 3, "group": 32}},
    {"match": "text.layers.*", "scheme": {"method": "rtn", "codes": "fp8"}},
    {"match": "*", "scheme": null}]}
JSON
exits 0 vlm-quantize "$model" -q --recipe recipe.json --device cpu -o mixed.vlmp
ask=(vlm-run mixed.vlmp --image "$VLMP_ROOT/demo/eval/images/0000.png" --prompt "Describe the picture."
    --max-new-tokens 4)
exits 0 "${ask[@]}" --device cpu
mv stdout cpu.txt
cuda exits 0 "${ask[@]}" --device cuda
same stdout cpu.txt
cuda refuses 1 'there is no cuda:1' "${ask[@]}" --device cuda:1
cuda refuses 2 'bf16 and --device cuda contradict' vlm-quantize "$model" --method gptq --precision bf16 \
    --device cuda -o x.vlmp

# Scores. Each of some 110 roundings to F16 on the way (10 a block) moves logits by 2^-11 of their deviation at
# most, one way or the other: together by 110^0.5/2048 = 0.5 %. KL is half the change's variance under the
# reference, whose logits deviate by 3 at an unsure token: (0.0051*3)^2/2 = 1.2e-4. What ran on the processor has 0.
score=(vlm-eval "$model" --data "$eval_data" --samples 2 --metrics ppl,kl --json)
exits 0 "${score[@]}" --reference "$model" --save-reference ref.ref --device cpu
cuda exits 0 "${score[@]}" --reference ref.ref --device cuda
json stdout '0 < d["results"][0]["kl"]["mean"] < 1.2e-4 and d["results"][0]["tokens"] == 38'
json stdout 'd["results"][0]["memory"]["peak_device_bytes"] > 1e6'

# Statistics, of which the largest may be off by four times those 0.5 %, and what is quantized by them: nearer to the
# processor's error than half the way to round to nearest, and its provenance names the device.
calibrate=(vlm-calibrate "$model" --data "$calib_data" --samples 2 --json)
exits 0 "${calibrate[@]}" --device cpu -o cpu.calib
mv stdout cpu.json
cuda exits 0 "${calibrate[@]}" --device cuda -o cuda.calib
mv stdout cuda.json
cat >recipe.json <<'JSON'
{"version": 1, "rules": [
    {"match": "text.layers.0.attn.q", "scheme": {"method": "gptq", "bits": 4}},
    {"match": "*", "scheme": null}]}
JSON
exits 0 vlm-quantize "$model" -q --recipe recipe.json --calib cpu.calib --device cpu -o cpu.vlmp
cuda exits 0 vlm-quantize "$model" -q --recipe recipe.json --calib cuda.calib --device cuda -o cuda.vlmp
cat >near.py <<'END'
import json, struct

def sites(name):
    return {s["site"]: s["max_abs"] for s in json.load(open(name))["sites"]}

def metadata(name):
    with open(name, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))["__metadata__"]

host, device = sites("cpu.json"), sites("cuda.json")
assert host.keys() == device.keys() and host != device
assert all(abs(device[s] - host[s]) <= 0.02 * host[s] for s in host), (host, device)
host, = json.loads(metadata("cpu.vlmp")["vlmp.decisions"])
device, = json.loads(metadata("cuda.vlmp")["vlmp.decisions"])
half = (host["held_rtn_error"] - host["held_error"]) / 2
assert abs(device["held_error"] - host["held_error"]) < half, (host, device)
assert json.loads(metadata("cuda.vlmp")["vlmp.provenance"])["kernels"].startswith("cuda emulated GPU")
END
check "statistics and codes come near to those of the processor" python3 near.py

# Quantizers: what reads one site, with all that they have on the device. The guard keeps what is no worse than round
# to nearest, on both; codes differ where two are within what F16 does to the moments, and one choice is as good as
# another for the layer. KL, a sum of squares over t tokens, then differs by (2/t)^0.5 of itself: here by at most four
# times that from the larger of the processor's and round to nearest. A file has the same bytes each time, whatever the
# order of threads and blocks.
codes() { # method, device, file, linears
    local rules
    rules=$(printf '{"match": "text.layers.0.attn.%s", "scheme": {"method": "'"$1"'", "bits": 4}}, ' "${@:4}")
    echo '{"version": 1, "rules": ['"$rules"'{"match": "*", "scheme": null}]}' >recipe.json
    cuda exits 0 vlm-quantize "$model" -q --recipe recipe.json --calib cpu.calib --device "$2" -o "$3"
}
score=(--data "$eval_data" --samples 16 --metrics kl --device cpu)
kl() { exits 0 vlm-eval "$1.vlmp" "${score[@]}" --reference all.ref --json && mv stdout "$1.json"; }
exits 0 vlm-eval "$model" "${score[@]}" --reference "$model" --save-reference all.ref
codes rtn cpu rtn.vlmp q k v
codes awq+gptq cpu host.vlmp q k v
codes awq+gptq cuda device.vlmp q k v
kl rtn
kl host
kl device
cat >kl.py <<'END'
import json

def kl(name):
    result = json.load(open(name))["results"][0]
    return result["kl"]["mean"], result["tokens"]

(nearest, tokens), (host, _), (device, _) = kl("rtn.json"), kl("host.json"), kl("device.json")
assert 0 < device < (1 + 4 * (2 / tokens) ** 0.5) * max(host, nearest), (nearest, host, device, tokens)
END
check "KL is that of the processor's codes" python3 kl.py
codes gptq cuda first.vlmp k
VLMP_EMU_SEED=3 codes gptq cuda second.vlmp k
same first.vlmp second.vlmp
