#!/bin/bash
# vlm-export --format gptq and awq: an independent reader finds the packed file's values, for each method, bits,
# zeros and groups; what these formats cannot express is refused before any work.
. "$(dirname "$0")/lib.sh"
holds() { check "$2 holds $1" python3 "$VLMP_ROOT/tests/e2e/export_check.py" "$1" "$2"; }
refused() { # PATTERN OPTIONS…
    local pattern=$1
    shift
    refuses 4 "$pattern" vlm-export "$@" -o out
    check "nothing is left" test -z "$(find . -maxdepth 1 -name 'out*')"
}

exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 4 -o c.calib -q
for bits in 4 8; do
    for symmetric in true false; do
        for group in 64 '"channel"'; do
            scheme="\"bits\": $bits, \"symmetric\": $symmetric, \"group\": $group"
            cat >recipe.json <<END
{"version": 1, "rules": [
 {"match": "text.layers.0.*", "scheme": {"method": "rtn", $scheme}},
 {"match": "text.layers.2.*", "scheme": {"method": "gptq", $scheme}},
 {"match": "text.layers.3.*", "scheme": {"method": "awq", $scheme}},
 {"match": "text.layers.5.attn.*", "scheme": {"method": "awq+gptq", $scheme}},
 {"match": "default", "scheme": null}]}
END
            exits 0 vlm-quantize "$model" --recipe recipe.json --calib c.calib --tokens 256 -o m.vlmp --force -q
            for format in gptq awq; do
                [ $format = gptq ] || [ $bits = 4 ] || continue
                rm -rf folder
                if [ "$group" != 64 ]; then
                    refused 'F16.*F32; use groups.*--allow-requantize' m.vlmp --format $format --for transformers
                fi
                exits 0 vlm-export m.vlmp --format $format --for transformers -o folder --allow-requantize --json
                json stdout "(d['converted'] > 0) == ($group == 'channel')"
                holds m.vlmp folder
                check "SHA256SUMS" bash -c 'cd folder && sha256sum --quiet -c SHA256SUMS'
            done
            if [ $bits = 8 ]; then refused '4 bits alone; use 4 bits' m.vlmp --format awq --allow-requantize; fi
            if [ $symmetric = false ]; then
                refused 'symmetric GPTQ weights alone; use' m.vlmp --format gptq --allow-requantize
            fi
        done
    done
done

cat >apart.json <<'END'
{"version": 1, "rules": [
 {"match": "text.layers.*.attn.v", "scheme": {"method": "int8"}},
 {"match": "text.layers.*", "scheme": {"method": "rtn", "bits": 4}},
 {"match": "default", "scheme": null}]}
END
# Two schemes, the tower among them, for vLLM; shards.
cat >mixed.json <<'END'
{"version": 1, "rules": [
 {"match": "vision.layers.0.*", "scheme": {"method": "rtn", "bits": 8, "group": 64}},
 {"match": "vision.layers.1.mlp.*", "scheme": {"method": "rtn", "bits": 4, "group": 32}},
 {"match": "text.layers.1.mlp.*", "scheme": {"method": "rtn", "bits": 8, "group": 32}},
 {"match": "text.layers.*", "scheme": {"method": "rtn", "bits": 4, "group": 64}},
 {"match": "default", "scheme": null}]}
END
exits 0 vlm-quantize "$model" --recipe mixed.json -o mixed.vlmp -q
exits 0 vlm-export mixed.vlmp --format gptq -o mixed --shard-size 1M --json
json stdout 'd["command"].startswith("vllm serve mixed --quantization gptq_marlin ") and d["converted"] == 0'
holds mixed.vlmp mixed
check "several files of weights" test "$(ls mixed/*.safetensors | wc -l)" -gt 5
refused 'vision.layers.0.attn.q.*4 bits alone' mixed.vlmp --format awq
refused 'GPTQModel reads quantized linears in the text' mixed.vlmp --format gptq --for transformers
sed 's/"group": 32/"group": 64/; s/"bits": 8/"bits": 4/' mixed.json >four.json
exits 0 vlm-quantize "$model" --recipe four.json -o four.vlmp -q
exits 0 vlm-export four.vlmp --format awq -o four --json
json stdout 'd["command"].startswith("vllm serve four --quantization awq_marlin ")'
holds four.vlmp four
sed '0,/"group": 64/s//"group": 32/' four.json >groups.json
exits 0 vlm-quantize "$model" --recipe groups.json -o groups.vlmp -q
refused 'one group size for all its linears' groups.vlmp --format awq

# vlm-quantize --for: what no format of the engine expresses is refused before any work.
unfit() { # PATTERN OPTIONS…
    local pattern=$1
    shift
    refuses 4 "$pattern" vlm-quantize "$model" "$@" -o unfit.vlmp
    check "nothing is left" test -z "$(find . -maxdepth 1 -name 'unfit*')"
}
unfit 'options: compressed-tensors for sglang cannot express text.layers.0.attn.q \(mxfp4 g32\): .*; use fp8' \
    --method rtn --codes mxfp4 --for sglang
unfit 'options: gguf for llamacpp cannot express .*W4 g64 asymmetric.*; use symmetric' \
    --method rtn --group 64 --asymmetric --for llamacpp
unfit '8-bit kernels know no zero points' --method rtn --bits 8 --group 64 --asymmetric --for vllm
unfit '@seed: .*text.embed .*embedding tables' --recipe @seed --for transformers
unfit 'one product' --recipe apart.json --for vllm
unfit '8-bit kernels' --method rtn --bits 8 --asymmetric --for vllm --dry-run
exits 0 vlm-quantize "$model" --recipe apart.json --for transformers --dry-run
for engine in vllm sglang transformers llamacpp; do
    exits 0 vlm-quantize "$model" --method rtn --group 64 --for $engine -o fits.vlmp --force
    check "no warning for $engine" test -z "$(grep warning stderr)"
    if [ $engine != llamacpp ]; then format=compressed-tensors; else format=gguf; fi
    exits 0 vlm-export fits.vlmp --format $format --for $engine --dry-run
done
exits 0 vlm-quantize "$model" --method rtn --group 64 --asymmetric --for sglang -o other.vlmp
check "another format is named" grep -q 'warning: sglang takes this as vlm-export --format awq alone' stderr
exits 0 vlm-export other.vlmp --format awq --for sglang -o other
holds other.vlmp other

exits 0 vlm-quantize "$model" --recipe @seed -o seed.vlmp -q
refused 'text.embed .*keep it' seed.vlmp --format gptq
exits 0 vlm-quantize "$model" --method rtn --codes mxfp4 -o floats.vlmp -q
refused 'only integer codes' floats.vlmp --format gptq --allow-requantize
refused 'only integer codes' floats.vlmp --format awq --allow-requantize
refuses 2 'does not read awq; give it --format gguf' vlm-export four.vlmp --format awq --for llamacpp -o out
