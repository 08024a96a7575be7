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
for name in llava-llama llava-mistral; do
    exits 0 vlm-quantize "$VLMP_ROOT/tests/golden/models/$name" --method rtn --group 32 --allow-fallbacks 99 -o $name.vlmp -q
done
refuses 4 'activation is not silu' vlm-export llava-llama.vlmp --format gguf -o out --allow-requantize
refuses 4 'a window of 5 tokens' vlm-export llava-mistral.vlmp --format gguf -o out --allow-requantize
exits 0 vlm-quantize "$model" --method rtn --group 64 -o exact.vlmp -q
exits 0 vlm-export exact.vlmp --format gguf -o exact --json
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
