#!/bin/bash
# vlm-export of every family and of the names that earlier versions wrote: each linear, under every name that
# engines know it by, has the scheme of its tensors; what is kept is kept.
. "$(dirname "$0")/lib.sh"
models=$VLMP_ROOT/tests/golden/models

# Parts, layers and leaves apart, projector and head too; and what every format can hold.
cat >apart.json <<'END'
{"version": 1, "rules": [
 {"match": "vision.layers.0.*", "scheme": {"method": "int8", "activations": "int8"}},
 {"match": "vision.layers.1.attn.*", "scheme": {"method": "int8"}},
 {"match": "projector.*", "scheme": {"method": "int8"}},
 {"match": "text.layers.0.mlp.*", "scheme": {"method": "rtn", "bits": 4, "symmetric": false, "group": "channel"}},
 {"match": "text.layers.1.attn.*", "scheme": {"method": "rtn", "bits": 4, "group": "channel"}},
 {"match": "default", "scheme": null}]}
END
cat >attention.json <<'END'
{"version": 1, "rules": [
 {"match": "*.layers.*.attn.*", "scheme": {"method": "rtn", "bits": 4, "group": "channel"}},
 {"match": "default", "scheme": null}]}
END
cat >floats.json <<'END'
{"version": 1, "rules": [
 {"match": "text.layers.0.attn.*", "scheme": {"method": "rtn", "codes": "nvfp4"}},
 {"match": "vision.layers.*.attn.*", "scheme": {"method": "rtn", "codes": "fp8"}},
 {"match": "default", "scheme": null}]}
END

# exported RECIPE FORMAT OPTION…
exported() {
    local recipe=$1 format=$2
    shift 2
    exits 0 vlm-export $recipe.vlmp --format $format -o out --force "$@"
    check "$format of $name, $recipe" python3 "$VLMP_ROOT/tests/e2e/export_check.py" $recipe.vlmp out
}

for name in llava-mistral llava-qwen2-D next-llama-A next-llama3-B next-mistral-E siglip-llama onevision-qwen2 \
    idefics3-llama3 smolvlm-llama qwen2-vl qwen2-vl-old qwen2.5-vl qwen2.5-vl-old qwen3-vl; do
    for recipe in apart attention floats; do
        exits 0 vlm-quantize "$models/$name" --recipe $recipe.json -o $recipe.vlmp -q --force
    done
    exported apart compressed-tensors --for transformers
    exported attention compressed-tensors
    check "the card of $name knows its pictures" grep -q 'A picture takes up to [1-9]' out/README.md
    exported attention gptq --allow-requantize
    case $name in
    idefics3* | smolvlm*) json out/config.json 'd["quantization_config"]["block_name_to_quantize"] == "model.text_model.layers"' ;;
    *) json out/config.json '"block_name_to_quantize" not in d["quantization_config"]' ;;
    esac
    exported attention awq --allow-requantize
    exported floats compressed-tensors --for transformers
done

# What llama.cpp has no graph of is refused, by vlm-quantize too.
refuses 4 "no graph for 'qwen3_vl'" vlm-export attention.vlmp --format gguf -o out --force --allow-requantize
refuses 4 "no graph for 'qwen3_vl'" vlm-quantize "$models/qwen3-vl" --method rtn --group 32 --for llamacpp -o none.vlmp
