#!/bin/bash
# Calibrate, quantize, evaluate and run the tiny model of every family and text model, tower
# included. Their linears are awkward: 37 inputs have no group, 32 are exactly one.
. "$(dirname "$0")/lib.sh"

models=$VLMP_ROOT/tests/golden/models
pictures="--image-root $models/pictures"

# quantizes MODEL OUT OPTION…: the dry run's size is the file's, and its hashes hold.
quantizes() {
    local from=$1 to=$2
    shift 2
    exits 0 vlm-quantize "$from" "$@" --dry-run --json
    cp stdout dry.json
    exits 0 vlm-quantize "$from" "$@" --calib calib -o "$to" --force
    json dry.json "d['bytes'] == $(stat -c %s "$to")"
    exits 0 vlm-inspect "$to" --verify
}

# AWQ's scales go through whatever precedes a site of the tower, fused and gated parts too: at eight
# bits next to nothing is lost.
cat > tower.json <<'END'
{"version": 1, "rules": [{"match": "vision.layers.*", "scheme": {"method": "awq", "bits": 8}},
                         {"match": "projector.*", "scheme": {"method": "gptq", "bits": 8}},
                         {"match": "text.*", "scheme": null}]}
END

# The tower, the first and the last layers each another way, as in demo/mixed.json.
cat > mixed.json <<'END'
{"vision_encoder": "int8", "projection": null, "llm_layers_0%_50%": "awq_4bit", "llm_layers_50%_100%": "gptq_4bit", "lm_head": null}
END

for name in llava-llama llava-mistral llava-qwen2 next-llama next-mistral next-llama3 next-qwen2 \
    siglip-llama onevision-qwen2 \
    idefics3-llama3 smolvlm-llama qwen2.5-vl qwen2-vl qwen3-vl; do
    model=$models/$name
    exits 0 vlm-calibrate "$model" --data "$models/calib.jsonl" $pictures --samples 16 -o calib --force
    quantizes "$model" rtn.vlmp --method rtn
    quantizes "$model" int8.vlmp --method int8 --activations int8
    quantizes "$model" gptq.vlmp --method gptq --asymmetric
    quantizes "$model" awq.vlmp --method awq
    quantizes "$model" both.vlmp --method awq+gptq
    quantizes "$model" w4.vlmp --recipe @w4
    quantizes "$model" seed.vlmp --recipe @seed
    quantizes "$model" tower.vlmp --recipe tower.json
    quantizes "$model" mixed.vlmp --recipe mixed.json
    # Eight bits a weight cost little even where the weights are random; four stay in sight.
    exits 0 vlm-eval seed.vlmp tower.vlmp --reference "$model" --data "$models/eval.jsonl" $pictures \
        --gate 'kl.mean<=0.02' --gate 'ppl_ratio<=1.05' --json
    json stdout 'd["results"][0]["tokens"] > 20 and d["results"][0]["kl"]["mean"] > 0'
    exits 0 vlm-eval rtn.vlmp int8.vlmp gptq.vlmp awq.vlmp both.vlmp w4.vlmp mixed.vlmp --reference "$model" \
        --data "$models/eval.jsonl" $pictures --metrics ppl,kl --json
    json stdout 'all(0 < r["kl"]["mean"] < 1 and r["fallbacks"] == 0 for r in d["results"])'
    exits 0 vlm-run w4.vlmp --image "$models/pictures/wide.png" --image "$models/pictures/thin.png" \
        --prompt "What is here?" --max-new-tokens 4
    # A group that was asked for and does not divide is a fallback; one that was left open is not.
    exits 3 vlm-quantize "$model" --method rtn --group 32 -o group.vlmp
    exits 0 vlm-quantize "$model" --method rtn --group 32 -o group.vlmp --force --allow-fallbacks 40
    rm group.vlmp*
done

# Videos: a file of one, a place for one in the prompt, a record with one.
printf '\0\0\0\x18ftypmp42' > clip.mp4
refuses 4 'clip.mp4: the file is a video' vlm-run "$models/qwen3-vl" --image clip.mp4 --prompt x
refuses 4 'a place for a video' vlm-run "$models/qwen2.5-vl" --prompt 'x <|video_pad|>'
refuses 4 'a place for a video' vlm-run "$models/onevision-qwen2" --prompt 'x <video>'
echo '{"prompt": "x", "answers": ["y"], "video": "clip.mp4"}' > clip.jsonl
refuses 4 'clip.jsonl:1: the record has a .video' vlm-eval "$models/smolvlm-llama" --data clip.jsonl --metrics ppl

# What calibrated one model does not fit another.
refuses 4 'calib' vlm-quantize "$models/next-llama" --method gptq --calib calib -o other.vlmp

# What lies beside the weights is wrong: one message that names the file and the place, and nothing is written.
# FAMILY|FILE|PYTHON, which sees the file as d (a template as d["text"])|MESSAGE
while IFS='|' read -r family file code message; do
    rm -rf bad
    cp -r "$models/$family" bad
    python3 - "bad/$file" "$code" <<'END'
import json, sys
path, code = sys.argv[1:]
text = open(path, encoding="utf-8").read()
d = json.loads(text) if path.endswith(".json") else {"text": text}
exec(code)
open(path, "w", encoding="utf-8").write(json.dumps(d) if path.endswith(".json") else d["text"])
END
    refuses 4 "$message" vlm-run bad --image "$models/pictures/wide.png" --prompt x
    refuses 4 "$message" vlm-calibrate bad --data "$models/calib.jsonl" $pictures --samples 4 -o bad.calib
    check "$family, $file: nothing is left" test -z "$(find . -name 'bad.calib*')"
done <<'END'
qwen2.5-vl|processor_config.json|d["image_processor"]["size"] = {"height": 9, "width": 9}|processor_config.json: 'size' must be .shortest_edge, longest_edge
qwen3-vl|processor_config.json|d["image_processor"]["merge_size"] = 3|processor.* and config.json disagree about patch_size, merge_size
smolvlm-llama|processor_config.json|d["image_seq_len"] = 7|processor.* and config.json disagree about image_seq_len
onevision-qwen2|tokenizer.json|d["model"]["merges"].append(["no such", "token"])|tokenizer.json: merge [0-9]+ .*no suchtoken
idefics3-llama3|tokenizer.json|d["pre_tokenizer"] = {"type": "BertPreTokenizer"}|tokenizer.json: the pre-tokenizer 'BertPreTokenizer'
qwen2-vl|tokenizer.json|next(t for t in d["added_tokens"] if t["content"] == "<\x7cimage_pad\x7c>").update(id=-1)|tokenizer.json: an added token
qwen3-vl|chat_template.jinja|d["text"] = d["text"].replace("<\x7cimage_pad\x7c>", "")|0 placeholders .'<.image_pad.>'.*chat template
smolvlm-llama|chat_template.jinja|d["text"] += "{% for m in messages %}"|chat_template.jinja: line [0-9]+: .*missing its end
idefics3-llama3|chat_template.jinja|d["text"] += "{{ messages[0].content }}"|chat_template.jinja: line [0-9]+: .*a list is used as text
END
