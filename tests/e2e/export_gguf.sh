#!/bin/bash
# vlm-export --format gguf: an independent reader finds the packed file's values; what has no exact place is
# refused, or rounded when asked to.
. "$(dirname "$0")/lib.sh"
holds() { check "$2 holds $1" python3 "$VLMP_ROOT/tests/e2e/gguf_check.py" "$@"; } # PACKED FOLDER [TOLERANCE]
refused() { # PATTERN FILE
    refuses 4 "$1" vlm-export "$2" --format gguf -o out
    check "nothing is left" test -z "$(find . -maxdepth 1 -name 'out*')"
}

# Families: halves of heads that alternate (Llama) or stay (Qwen2), biases, RoPE factors, a row of line ends.
for name in next-llama next-llama3 next-mistral next-qwen2; do
    exits 0 vlm-quantize "$VLMP_ROOT/tests/golden/models/$name" --method rtn --group 32 --allow-fallbacks 99 -o $name.vlmp -q
    exits 0 vlm-export $name.vlmp --format gguf -o $name --allow-requantize
    holds $name.vlmp $name 0.01
done
cat >parts.json <<'END'
{"version": 1, "rules": [{"match": "*.layers.*.attn.*", "scheme": {"method": "rtn", "bits": 8, "group": 32}},
                         {"match": "projector.*", "scheme": {"method": "rtn", "bits": 4, "group": 32}},
                         {"match": "default", "scheme": null}]}
END
# Parts that the file has otherwise: fused q, k and v, frames of a convolution, rows of positions.
cp -r "$VLMP_ROOT/tests/golden/models/qwen2.5-vl" qwen2.5-vl
sed -i 's/"window_size": 26/"window_size": 112/' qwen2.5-vl/config.json
for folder in "$VLMP_ROOT"/tests/golden/models/{idefics3-llama3,smolvlm-llama,qwen2-vl,qwen2-vl-old} qwen2.5-vl; do
    name=$(basename "$folder" | sed 's/^qwen2.5-vl$/windows/')
    exits 0 vlm-quantize "$folder" --recipe parts.json --allow-fallbacks 99 -o $name.vlmp -q
    exits 0 vlm-export $name.vlmp --format gguf -o $name --allow-requantize
    holds $name.vlmp $name 0.01
done
check "keys of the tower" python3 - <<'END'
import os, sys
sys.path.insert(0, os.environ["VLMP_ROOT"] + "/tests/e2e")
from gguf_check import read_gguf
keys = {name: [read_gguf("%s/%s.gguf" % (name, file))[0] for file in ("model", "mmproj-model")]
        for name in ("idefics3-llama3", "smolvlm-llama", "qwen2-vl", "windows")}
for name, kind in (("idefics3-llama3", "idefics3"), ("qwen2-vl", "qwen2vl_merger"), ("windows", "qwen2.5vl_merger")):
    assert keys[name][1]["clip.projector_type"] == kind, name
text, tower = keys["windows"]
assert text["general.architecture"] == "qwen2vl" and text["qwen2vl.rope.dimension_sections"] == [1, 2, 1, 0]
assert tower["clip.vision.n_wa_pattern"] == 2 and tower["clip.use_silu"] and "clip.vision.n_wa_pattern" not in keys["qwen2-vl"][1]
tower = keys["smolvlm-llama"][1]
assert (tower["clip.vision.projector.scale_factor"], tower["clip.vision.preproc_image_size"]) == (3, 96)
END
exits 0 vlm-quantize "$VLMP_ROOT/tests/golden/models/qwen2.5-vl" --method int8 -o window.vlmp -q
refuses 4 'windows are of 6 patches a side; llama.cpp.s are of 112 pixels' \
    vlm-export window.vlmp --format gguf -o out --allow-requantize
for name in siglip-llama onevision-qwen2; do
    exits 0 vlm-quantize "$VLMP_ROOT/tests/golden/models/$name" --method int8 -o $name.vlmp -q
done
refuses 4 'keeps the class row' vlm-export siglip-llama.vlmp --format gguf -o out --allow-requantize
refuses 4 "no graph for 'llava_onevision'" vlm-export onevision-qwen2.vlmp --format gguf -o out --allow-requantize
for name in llava-llama llava-mistral; do
    exits 0 vlm-quantize "$VLMP_ROOT/tests/golden/models/$name" --method rtn --group 32 --allow-fallbacks 99 -o $name.vlmp -q
done
refuses 4 'activation is not silu' vlm-export llava-llama.vlmp --format gguf -o out --allow-requantize
refuses 4 'a window of 5 tokens' vlm-export llava-mistral.vlmp --format gguf -o out --allow-requantize
exits 0 vlm-export smolvlm-llama.vlmp --format gguf --dry-run --allow-requantize --json
json stdout 'd["notes"] == []'
exits 0 vlm-quantize "$model" --method rtn --group 64 -o exact.vlmp -q
exits 0 vlm-export exact.vlmp --format gguf -o exact --json
json stdout '["one patch off" in note for note in d["notes"]] == [True]'
json stdout 'd["engine"] == "llamacpp" and d["converted"] == 0 and d["command"].startswith("llama-server -m exact/")'
holds exact.vlmp exact
check "SHA256SUMS" bash -c 'cd exact && sha256sum --quiet -c SHA256SUMS'
exits 0 vlm-export exact.vlmp --format gguf --dry-run
check "a packed tensor" grep -qE 'blk.0.attn_q.weight +exact +Q4_0' stdout

# Minima, F32 scales, activations: one F16 rounding, which zeros of 15 scales make larger.
exits 0 vlm-quantize "$model" --method rtn --group 64 --asymmetric -o minima.vlmp -q
refused 'text.layers.0.attn.q .*a minimum in F16.*--allow-requantize' minima.vlmp
exits 0 vlm-export minima.vlmp --format gguf -o minima --allow-requantize
holds minima.vlmp minima 0.001
exits 0 vlm-quantize "$model" --recipe @seed -o seed.vlmp -q
refused 'vision.layers.0.attn.q .*weights alone.*--allow-requantize' seed.vlmp
exits 0 vlm-export seed.vlmp --format gguf -o seed --allow-requantize
holds seed.vlmp seed 0.001
exits 0 vlm-quantize "$model" --method rtn --codes mxfp4 -o floats.vlmp -q
refused 'text.layers.0.attn.q .*only integer codes' floats.vlmp
refuses 4 'only integer codes' vlm-export floats.vlmp --format gguf -o out --allow-requantize
