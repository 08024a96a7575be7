#!/bin/bash
# vlm-export: what it writes holds the packed file's values, by an independent reader; what cannot be
# expressed is refused before any work; nothing is half-written.
. "$(dirname "$0")/lib.sh"
# The golden models have sizes that fit no kernel: for transformers. The demo model goes to vLLM.
tiny=$VLMP_ROOT/tests/golden/models/llava-llama
pictures="--image-root $VLMP_ROOT/tests/golden/models/pictures"
holds() { check "$2 holds $1" python3 "$VLMP_ROOT/tests/e2e/export_check.py" "$1" "$2"; }
sums() { check "$1: SHA256SUMS" bash -c "cd $1 && sha256sum --quiet -c SHA256SUMS"; }
quantize() { # OUT OPTIONS…
    local out=$1
    shift
    exits 0 vlm-quantize "$tiny" --allow-fallbacks 99 -o "$out" "$@" -q
}

exits 0 vlm-calibrate "$tiny" --data "$VLMP_ROOT/tests/golden/models/calib.jsonl" $pictures -o c.calib --samples 9 -q
i=0
for method in rtn gptq awq awq+gptq; do
    for bits in 4 8; do
        for zeros in symmetric asymmetric; do
            for group in 32 channel; do
                i=$((i + 1))
                quantize m$i.vlmp --method $method --bits $bits --$zeros --group $group --calib c.calib
                exits 0 vlm-export m$i.vlmp --format compressed-tensors --for transformers -o m$i
                holds m$i.vlmp m$i
            done
        done
    done
done
quantize w8a8.vlmp --method int8 --activations int8
exits 0 vlm-export w8a8.vlmp --format compressed-tensors --for transformers -o w8a8
holds w8a8.vlmp w8a8
sums w8a8
# All parts, layers and leaves apart; head and projector too.
cat >mixed.json <<'END'
{"version": 1, "rules": [
 {"match": "vision.layers.0.*", "scheme": {"method": "int8", "activations": "int8"}},
 {"match": "vision.layers.1.attn.*", "scheme": {"method": "int8"}},
 {"match": "text.layers.1.mlp.*", "scheme": {"method": "rtn", "bits": 4, "symmetric": false, "group": "channel"}},
 {"match": "text.layers.0.*", "scheme": {"method": "rtn", "bits": 8, "group": "channel"}},
 {"match": "projector.1", "scheme": {"method": "int8"}},
 {"match": "text.head", "scheme": {"method": "int8"}},
 {"match": "default", "scheme": null}]}
END
quantize mixed.vlmp --recipe mixed.json
exits 0 vlm-export mixed.vlmp --format compressed-tensors --for transformers -o mixed
holds mixed.vlmp mixed
json mixed/config.json 'd["quantization_config"]["format"] == "mixed-precision"'

# Floats: both engines and transformers; one layout a kind of codes.
for codes in fp8 mxfp4 nvfp4 block; do
    if [ $codes = block ]; then set -- fp8 --group block; else set -- $codes; fi
    exits 0 vlm-quantize "$model" --method rtn --codes "$@" -o $codes.vlmp -q
    exits 0 vlm-export $codes.vlmp --format compressed-tensors -o $codes --json
    json stdout 'd["converted"] == 0 and d["kept"] + d["exact"] == len(d["tensors"])'
    json stdout "('round activations to fp8' in ' '.join(d['notes'])) == ('$1' == 'fp8')"
    holds $codes.vlmp $codes
    check "the card names the codes" grep -qx -- "- $1" $codes/README.md
done
exits 0 vlm-export block.vlmp --format compressed-tensors --for sglang -o block-sglang
refuses 4 'mxfp4 g32.*not known to load' vlm-export mxfp4.vlmp --format compressed-tensors --for sglang -o out
refuses 4 'only integer codes' vlm-export fp8.vlmp --format gptq -o out --allow-requantize
cat >floats.json <<'END'
{"version": 1, "rules": [
 {"match": "vision.layers.*", "scheme": {"method": "rtn", "codes": "fp8"}},
 {"match": "text.layers.0.*", "scheme": {"method": "rtn", "codes": "fp8", "group": "block"}},
 {"match": "text.layers.1.*", "scheme": {"method": "rtn", "codes": "nvfp4"}},
 {"match": "text.layers.2.*", "scheme": {"method": "rtn", "codes": "mxfp4"}},
 {"match": "text.layers.*", "scheme": {"method": "rtn", "bits": 4}},
 {"match": "default", "scheme": null}]}
END
exits 0 vlm-quantize "$model" --recipe floats.json -o floats.vlmp -q
exits 0 vlm-export floats.vlmp --format compressed-tensors -o floats
holds floats.vlmp floats
json floats/config.json 'd["quantization_config"]["format"] == "mixed-precision"'

# The demo model for vLLM: AWQ's folded norms among what is kept, shards, documents.
exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 6 -o d.calib -q
exits 0 vlm-quantize "$model" --method awq --calib d.calib -o demo.vlmp -q
exits 0 vlm-export demo.vlmp --format compressed-tensors -o demo --json
json stdout 'd["engine"] == "vllm" and d["kept"] + d["exact"] == len(d["tensors"]) and d["converted"] == 0'
json stdout 'd["command"].startswith("vllm serve demo --quantization compressed-tensors --max-model-len 512")'
holds demo.vlmp demo
sums demo
check "one file of weights" test "$(ls demo/*.safetensors)" = demo/model.safetensors
exits 0 vlm-export demo.vlmp --format compressed-tensors -o shards --shard-size 1M
check "several files of weights" test "$(ls shards/*.safetensors | wc -l)" -gt 5
holds demo.vlmp shards
sums shards
exits 0 vlm-eval demo.vlmp --reference "$model" --data "$eval_data" --samples 2 --metrics ppl,kl --json
mv stdout report.json
exits 0 vlm-export demo.vlmp --format compressed-tensors -o card --report report.json --base-model some/model
for line in 'base_model: some/model' 'base_model_relation: quantized' '- w4a16' 'A picture takes up to 36 tokens'; do
    check "the card says $line" grep -qF -- "$line" card/README.md
done
check "the card has the perplexity" grep -qE '^\| perplexity \| [0-9.]+ \| [0-9.]+ \|$' card/README.md
check "the checklist has the KL" grep -qE '^\| KL divergence.* \| mean [0-9.e-]+, 99th' card/CHECKLIST.md
check "the checklist says what was not checked" grep -q '^| loads in the engine | not checked |$' card/CHECKLIST.md
check "without a report it says so" grep -q '^Not measured' demo/README.md

# Nothing is written by a dry run, which lists each tensor.
exits 0 vlm-export demo.vlmp --format compressed-tensors --dry-run
check "a packed tensor" grep -qE 'q_proj.weight_packed +exact +I32' stdout
check "a folded norm" grep -qE 'layers.0.input_layernorm.weight +kept +F32' stdout
exits 0 vlm-export demo.vlmp --format compressed-tensors --dry-run -o nothing --json
json stdout 'd["output"] is None and len(d["tensors"]) > 200'
check "a dry run writes nothing" test ! -e nothing

# Refused before any work, with the rule and what fits.
left() {
    local found
    found=$(find . -maxdepth 1 -name 'out*')
    check "left behind: $found" test -z "$found"
}
refused() { # PATTERN FILE OPTIONS…
    local pattern=$1
    shift
    refuses 4 "$pattern" vlm-export "$@" --format compressed-tensors -o out
    left
}
refused 'm6.*mlp.down.*words; keep it' m6.vlmp
refused 'know no zero points; use symmetric' m8.vlmp
cat >apart.json <<'END'
{"version": 1, "rules": [
 {"match": "text.layers.*.attn.v", "scheme": {"method": "int8"}},
 {"match": "text.layers.*", "scheme": {"method": "rtn", "bits": 4}},
 {"match": "default", "scheme": null}]}
END
exits 0 vlm-quantize "$model" --recipe apart.json -o apart.vlmp -q
refused 'text.layers.0.attn.q \(W4 g128\) and text.layers.0.attn.v \(W8 channel\): .*one scheme' apart.vlmp
exits 0 vlm-export apart.vlmp --format compressed-tensors --for transformers -o apart
holds apart.vlmp apart
exits 0 vlm-quantize "$model" --recipe @seed -o seed.vlmp -q
refused 'text.embed .*embedding tables.*keep it' seed.vlmp
refused 'is a model folder; quantize it' "$model"
refused 'no such' nowhere.vlmp
refused 'report.json: has no results of w8a8.vlmp' w8a8.vlmp --for transformers --report report.json
head -c 100000 demo.vlmp >cut.vlmp
refused 'cut.vlmp: ' cut.vlmp
cp demo.vlmp flipped.vlmp
printf '\x55' | dd of=flipped.vlmp bs=1 seek=4000000 conv=notrunc status=none
refused 'flipped.vlmp: .*(hash|SHA-256)' flipped.vlmp
refuses 2 'does not read compressed-tensors; give it --format gguf' \
    vlm-export demo.vlmp --format compressed-tensors --for llamacpp -o out
refuses 2 'format' vlm-export demo.vlmp --format safetensors -o out
refuses 2 '-o DIR' vlm-export demo.vlmp --format compressed-tensors
refuses 2 'base-model' vlm-export demo.vlmp --format compressed-tensors -o out --base-model 'a b'
left
# A folder that is there: only an earlier export is replaced, and only with --force.
refuses 2 'demo: exists; --force' vlm-export demo.vlmp --format compressed-tensors -o demo
exits 0 vlm-export w8a8.vlmp --format compressed-tensors --for transformers -o demo --force
holds w8a8.vlmp demo
mkdir own
touch own/diary
refuses 2 'own: has no SHA256SUMS' vlm-export demo.vlmp --format compressed-tensors -o own --force
touch demo/diary
refuses 2 "demo: holds 'diary'" vlm-export demo.vlmp --format compressed-tensors -o demo --force
refuses 2 'report.json: is there and no folder' vlm-export demo.vlmp --format compressed-tensors -o report.json --force
refuses 1 'absent/out' vlm-export demo.vlmp --format compressed-tensors -o absent/out
# A full disk: nothing is left.
(ulimit -f 100 && trap '' XFSZ && vlm-export demo.vlmp --format compressed-tensors -o out 2>stderr) && fail "a full disk" || pass
check "the full disk is named" grep -q 'error: .*model.safetensors' stderr
left
