#!/bin/bash
# GGUF files: what vlm-export wrote is read back as it was, for every command, and written again byte for byte;
# what cannot be read, or is of another model, says why.
. "$(dirname "$0")/lib.sh"
models=$VLMP_ROOT/tests/golden/models
data="--data $eval_data"

# again NAME: read and written again.
again() {
    exits 0 vlm-export $1 --format gguf -o again-$1 --allow-requantize
    for file in model.gguf mmproj-model.gguf; do
        check "$1: the same $file" cmp $1/$file again-$1/$file
    done
    json again-$1/config.json 'd["model_type"]'
}
# Halves of heads that alternate (Llama) or stay (Qwen2), biases, RoPE factors, a row of line ends.
for name in next-llama next-llama3 next-mistral next-qwen2; do
    exits 0 vlm-quantize $models/$name --method rtn --group 32 --allow-fallbacks 99 -o $name.vlmp -q
    exits 0 vlm-export $name.vlmp --format gguf -o $name --allow-requantize
    [ $name = next-qwen2 ] || again $name
done
# Of this one no linear fits blocks; all of it is F16 or F32.
exits 0 vlm-eval next-qwen2.vlmp next-qwen2 --data $models/eval.jsonl --image-root $models/pictures --metrics ppl --json
json stdout 'abs(d["results"][0]["ppl"] / d["results"][1]["ppl"] - 1) < 1e-3'
refuses 4 'next-qwen2: nothing is quantized' vlm-export next-qwen2 --format gguf -o again

# Towers whose tensors come in pieces or in another order; what is not codes is the packed file's, value by value.
cp -r $models/qwen2.5-vl windows && chmod -R u+w windows
sed -i 's/"window_size": 26/"window_size": 112/' windows/config.json
# What blocks hold exactly is read back as it was packed.
both() { # NAME FOLDER
    exits 0 vlm-quantize $2 --recipe projector.json -o $1.vlmp -q
    exits 0 vlm-export $1.vlmp --format gguf -o $1 --json
    json stdout 'd["converted"] == 0'
    exits 0 vlm-eval $1.vlmp $1 --reference $2 --data $models/eval.jsonl --image-root $models/pictures --metrics ppl,kl --json
    json stdout 'd["results"][0]["kl"] == d["results"][1]["kl"] and d["results"][0]["ppl"] == d["results"][1]["ppl"]'
    json stdout 'd["results"][0]["kl"]["mean"] > 0'
    again $1
}
cat >projector.json <<'END'
{"version": 1, "rules": [{"match": "projector.*", "scheme": {"method": "rtn", "bits": 4, "group": 32}},
                         {"match": "default", "scheme": null}]}
END
both idefics3 $models/idefics3-llama3
both smolvlm $models/smolvlm-llama
both qwen2 $models/qwen2-vl
both qwen2-old $models/qwen2-vl-old
both qwen2.5 windows
# Linears in pieces stay codes; their scales were of F32.
sed 's/projector/vision.layers/; s/4/8/' projector.json >vision.json
exits 0 vlm-quantize windows --recipe vision.json --allow-fallbacks 99 -o pieces.vlmp -q
exits 0 vlm-export pieces.vlmp --format gguf -o pieces --allow-requantize
exits 0 vlm-eval pieces.vlmp pieces --data $models/eval.jsonl --image-root $models/pictures --metrics ppl --json
json stdout 'abs(d["results"][0]["ppl"] / d["results"][1]["ppl"] - 1) < 1e-2'
exits 0 vlm-inspect pieces
check "q, k and v are one linear" grep -q 'vision.layers.0.attn.qkv.codes *U8 *96×32' stdout
again pieces

# Codes and scales are the packed file's, and so is all that is computed with them.
judge() { # NAME OPTIONS…
    local name=$1
    shift
    exits 0 vlm-quantize "$model" "$@" -o $name.vlmp -q
    exits 0 vlm-export $name.vlmp --format gguf -o $name
    exits 0 vlm-eval $name.vlmp $name $data --reference "$model" --samples 8 --metrics ppl,kl --json
    json stdout 'd["results"][0]["kl"] == d["results"][1]["kl"] and d["results"][0]["ppl"] == d["results"][1]["ppl"]'
    json stdout 'd["results"][1]["method"] == "'"gguf $type"'"'
    again $name
}
type=Q4_0 judge q4 --method rtn --group 64
exits 0 vlm-inspect q4 --json
json stdout 'd["imported"] == "gguf" and d["all"]["bits_per_weight_quantized"] == 4.5'
json stdout '{x["type"] for x in d["decisions"]} == {"Q4_0"} and len(d["decisions"]) == 42'
type=Q8_0 judge q8 --method rtn --bits 8 --group 128

# Minima in F16: codes where all are multiples of their scales, else the values that the file says.
exits 0 vlm-quantize "$model" --method rtn --group 64 --asymmetric -o q41.vlmp -q
exits 0 vlm-export q41.vlmp --format gguf -o q41 --allow-requantize
exits 0 vlm-eval q41 $data --reference "$model" --samples 2 --metrics ppl --json
json stdout 'd["results"][0]["method"] == "gguf Q4_1" and d["results"][0]["bits_per_weight_quantized"] == 5'

# Every command, by the folder or by the file; what is not beside it is given, or the reference's.
mkdir alone
cp q4/model.gguf alone/demo-Q4_0.gguf
exits 0 vlm-run q4.vlmp --prompt "What is it?" --image "$VLMP_ROOT/demo/eval/images/0000.png" --max-new-tokens 8
mv stdout answer
exits 0 vlm-run alone --mmproj q4/mmproj-model.gguf --base "$model" --prompt "What is it?" \
    --image "$VLMP_ROOT/demo/eval/images/0000.png" --max-new-tokens 8
same answer stdout
exits 0 vlm-eval alone/demo-Q4_0.gguf --mmproj q4/mmproj-model.gguf $data --reference "$model" --samples 2 --metrics kl
check "what llama.cpp does otherwise is said" grep -q 'llama.cpp rounds those of quantized weights' stdout
exits 0 vlm-inspect alone/demo-Q4_0.gguf --mmproj q4/mmproj-model.gguf --base "$model" --verify
check "vlm-inspect names the format" grep -q '^alone/demo-Q4_0.gguf: model files, gguf$' stdout
refuses 4 "alone: 0 GGUF files with 'mmproj' .* --mmproj" vlm-run alone --base "$model" --prompt x
refuses 4 'alone: no config.json beside the GGUF files; .* --base' vlm-run alone --mmproj q4/mmproj-model.gguf --prompt x
refuses 4 'q4: .*; give the model that it was made from' vlm-quantize q4 --method rtn -o out.vlmp
refuses 4 "q4: its tensors have llama.cpp's names.*--format gguf" vlm-export q4 --format compressed-tensors -o out

# The base is any folder that is read: of LLaVA's own code, quantized by another tool; what lies beside the files goes before
# the reference.
python3 "$VLMP_ROOT/tests/e2e/make_original.py" "$models" o
exits 0 vlm-export next-mistral.vlmp --format compressed-tensors --for transformers -o ct --allow-requantize
mkdir bare
cp next-mistral/*.gguf bare
tiny="--data $models/eval.jsonl --image-root $models/pictures --metrics ppl --json"
exits 0 vlm-eval next-mistral $tiny
cp stdout own.json
exits 0 vlm-eval bare --base o/anyres $tiny
cp stdout original.json
exits 0 vlm-eval bare --base ct $tiny
cp stdout quantized.json
exits 0 vlm-eval bare --reference ct $tiny
exits 0 vlm-eval next-mistral --reference ct $tiny
check "the same losses" python3 -c 'import json
a, b, c, d = (json.load(open(p))["results"][0] for p in ("own.json", "quantized.json", "stdout", "original.json"))
exit(not a["ppl"] == b["ppl"] == c["ppl"] or d["tokens"] < 20)'
cp next-mistral/config.json bare
refuses 4 'bare: neither preprocessor_config.json nor .*; give the folder .* by --base' vlm-run bare --prompt x
cp next-mistral/processor_config.json bare
refuses 4 'bare: there is no tokenizer.json .* by --base' vlm-run bare --prompt x
rm bare/*.json
echo '{}' > next-mistral/config.json
refuses 4 'next-mistral/config.json: ' vlm-eval next-mistral --reference ct $tiny

# Options of GGUF files alone.
for command in vlm-inspect "vlm-run --prompt x" "vlm-eval $tiny" "vlm-export --format gptq -o out"; do
    refuses 2 '--base is for GGUF files, and next-mistral.vlmp is none' $command next-mistral.vlmp --base ct
done
refuses 2 '--mmproj is for GGUF files' vlm-inspect "$model" --mmproj q4/mmproj-model.gguf
exits 0 vlm-eval next-mistral.vlmp --reference bare --base ct $tiny

# Another model's files, and of a family that llama.cpp has no projector for here.
refuses 4 "q4: GGUF files of models of type 'qwen3_vl'.*--base" vlm-inspect q4 --base $models/qwen3-vl
refuses 4 "qwen2.5: .*windows are of 6 patches a side" vlm-inspect qwen2.5 --base $models/qwen2.5-vl
refuses 4 "mmproj-model.gguf: clip.projector_type is 'qwen2vl_merger', not 'qwen2.5vl_merger'" \
    vlm-inspect qwen2.5/model.gguf --mmproj qwen2/mmproj-model.gguf --base windows
refuses 4 'model.gguf: llama.block_count is 6, the base' vlm-inspect q4 --base $models/next-llama
cp -r "$model" other && chmod -R u+w other
python3 - <<'END'
import json
with open("other/tokenizer.json", encoding="utf-8") as file:
    d = json.load(file)
v = d["model"]["vocab"]
(a, i), (b, j) = [(t, i) for t, i in v.items() if i in (700, 701)]
v[a], v[b] = j, i
with open("other/tokenizer.json", "w", encoding="utf-8") as file:
    json.dump(d, file)
END
refuses 4 "q4/model.gguf: token 700 is '.*', the base model's is" vlm-inspect q4 --base other
head -c 100000 q4/model.gguf >alone/demo-Q4_0.gguf
refuses 4 "alone/demo-Q4_0.gguf: tensor 'token_embd.weight' .*truncated" vlm-inspect alone --base "$model" --mmproj q4/mmproj-model.gguf

# Nothing is left behind.
mkdir work
TMPDIR=$PWD/work exits 0 vlm-eval q4 q8 $data --reference "$model" --samples 2 --metrics kl
check "nothing is left" test -z "$(ls work)"
