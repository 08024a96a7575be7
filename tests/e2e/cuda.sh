#!/bin/bash
# The programs on the emulated GPU: answers and scores are those of the processor, within what F16 does.
. "$(dirname "$0")/lib.sh"
unset LD_LIBRARY_PATH # that has the library, in a test's environment

exits 0 vlm-run "$model" --prompt x --max-new-tokens 1 --device auto
check "auto says what it took and why" grep -q '^device: cpu, since .*libvlmpack-cuda.so' stderr
exits 0 vlm-run "$model" --prompt x --max-new-tokens 1
check "who asked for nothing is told nothing" test "$(grep -c device stderr)" = 0

# 4 and 8 bits, float and int8 activations: tower, projector and text of one file.
cat >recipe.json <<'JSON'
{"version": 1, "rules": [
    {"match": "vision.*", "scheme": {"method": "rtn", "bits": 8, "activations": "int8"}},
    {"match": "text.layers.0.*", "scheme": {"method": "rtn", "bits": 4, "symmetric": false}},
    {"match": "text.layers.*", "scheme": {"method": "rtn", "codes": "fp8"}},
    {"match": "*", "scheme": null}]}
JSON
exits 0 vlm-quantize "$model" -q --recipe recipe.json --device cpu -o mixed.vlmp
ask=(vlm-run mixed.vlmp --image "$VLMP_ROOT/demo/eval/images/0000.png" --prompt "Describe the picture."
    --max-new-tokens 4)
exits 0 "${ask[@]}" --device cpu
mv stdout cpu.txt
LD_LIBRARY_PATH=$VLMP_CUDA_FOLDER exits 0 "${ask[@]}" --device cuda
same stdout cpu.txt
LD_LIBRARY_PATH=$VLMP_CUDA_FOLDER refuses 1 'there is no cuda:1' "${ask[@]}" --device cuda:1
