#!/bin/bash
# Models that are not what they seem: ends of answers, configurations that are not understood, weights
# and activations that are not finite. Every command says so before it works, and exits 4.
. "$(dirname "$0")/lib.sh"
picture=$VLMP_ROOT/demo/eval/images/0000.png
head -2 "$VLMP_ROOT/demo/calib/data.jsonl" >two.jsonl
mkdir images
for name in $(grep -o 'images/[^"]*' two.jsonl); do cp "$VLMP_ROOT/demo/calib/$name" images/; done
first=$(grep -o 'images/[^"]*' two.jsonl | head -1)

# changed PYTHON: a copy of the demo model in ./model; the code sees config, generation, tokenizer (set
# one to None to leave the file out) and weights, a dictionary of BF16 numbers' bytes by tensor name.
changed() {
    rm -rf ./model
    python3 -B "$VLMP_ROOT/tests/e2e/change_model.py" "$model" model "$1"
}
# all_refuse PATTERN: each command, and nothing is left.
all_refuse() {
    refuses 4 "$1" vlm-run model --image "$picture" --prompt x
    refuses 4 "$1" vlm-quantize model --method rtn -o out.vlmp
    refuses 4 "$1" vlm-calibrate model --data two.jsonl -o out.calib
    refuses 4 "$1" vlm-eval model --data two.jsonl --metrics ppl
    check "nothing is left" test -z "$(find . -name '*out.*')"
}
# tokens N: the answer has so many.
tokens() {
    exits 0 vlm-run model --image "$picture" --prompt "Describe the picture." --max-new-tokens 40 --json
    json stdout "d['new_tokens'] == $1"
}

# --- ends of answers --------------------------------------------------------------------------------
# The demo answers "a picture of two tumbler glasses on a gray background." and ends with </s>, 2;
# " gray" is 411, " of" is 324.
changed ''
exits 0 vlm-run model --image "$picture" --prompt "Describe the picture." --max-new-tokens 40 --json
whole=$(python3 -c 'import json; print(json.load(open("stdout"))["new_tokens"])')
none='config["text_config"].pop("eos_token_id"); generation = None'
for change in 'generation["eos_token_id"] = [411, 2, 3, 500, 501, 502, 503, 504, 505, 324]' \
    "$none; config['eos_token_id'] = 324" \
    "$none; config['eos_token_id'] = 324; config['text_config']['eos_token_id'] = 2" \
    "$none; config['text_config']['eos_token_id'] = [2, 324]" \
    "$none; tokenizer['eos_token'] = '<pad>'; config['text_config']['eos_token_id'] = 324"; do
    changed "$change"
    tokens 2 # "a picture"
done
for change in "$none" "$none; config['text_config']['eos_token_id'] = None" \
    'generation["eos_token_id"] = None' 'del generation["eos_token_id"]; config["eos_token_id"] = 324'; do
    changed "$change" # the tokenizer's eos_token
    tokens "$whole"
done
for ids in '[]' 1024 -1 True '"2"' '[2, None]'; do
    changed "generation['eos_token_id'] = $ids"
    refuses 4 'model/generation_config.json: .*eos_token_id' vlm-run model --prompt x
    changed "generation = None; config['text_config']['eos_token_id'] = $ids"
    refuses 4 'model/config.json: .*eos_token_id' vlm-run model --prompt x
done
changed 'generation["eos_token_id"] = []'
all_refuse 'model/generation_config.json: .*eos_token_id.*empty'
changed "$none; del tokenizer['eos_token']"
refuses 4 'which token ends an answer' vlm-run model --prompt x

# Captions and stand-in answers end there, too.
printf '{"image": "%s", "prompt": "Describe the picture."}\n' "$first" >unanswered.jsonl
changed "$none; config['text_config']['eos_token_id'] = [2, 411]"
exits 0 vlm-eval model --data two.jsonl --metrics bleu --max-new-tokens 40 --json
json stdout 'd["results"][0]["bleu"][0] is not None'
exits 0 vlm-eval model --data unanswered.jsonl --reference "$model" --metrics kl --json
exits 0 vlm-calibrate model --data unanswered.jsonl --samples 1 -o stand-in.calib

# --- configurations ---------------------------------------------------------------------------------
changed 'config = {"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"], "hidden_size": 256,
    "mm_vision_tower": "openai/clip-vit-large-patch14-336", "num_hidden_layers": 6, "mm_projector_type": "mlp2x_gelu"}'
all_refuse 'config.json: the tower .openai/clip-vit-large-patch14-336'
changed 'config["vision_feature_layer"] = []'
all_refuse 'config.json: .*vision_feature_layer.*empty'
changed 'config["tie_word_embeddings"] = True'
all_refuse 'lm_head.weight.*tie_word_embeddings'
changed 'del weights["language_model.lm_head.weight"]'
all_refuse 'no head'
changed 'config["tie_word_embeddings"] = True; del weights["language_model.lm_head.weight"]'
exits 0 vlm-run model --image "$picture" --prompt x --max-new-tokens 2
changed 'config["vision_config"]["num_hidden_layers"] = 5; config["vision_feature_layer"] = -1'
all_refuse 'vision_model.encoder.layers.5.*fewer layers'
changed 'config["text_config"]["vocab_size"] = 1088'
all_refuse 'embed_tokens.*1024'

# --- weights that are not finite, in tensors that are kept -------------------------------------------
for tensor in language_model.model.embed_tokens.weight language_model.lm_head.weight \
    language_model.model.norm.weight multi_modal_projector.linear_2.bias \
    vision_tower.vision_model.embeddings.class_embedding \
    vision_tower.vision_model.embeddings.position_embedding.weight \
    vision_tower.vision_model.encoder.layers.1.layer_norm2.bias; do
    changed "weights['$tensor'][-2:] = b'\\x80\\x7f'"
    refuses 4 "model.safetensors: tensor '$tensor'.*infinite" vlm-quantize model --method rtn -o out.vlmp
    refuses 4 "model.safetensors: tensor '$tensor'.*infinite" vlm-run model --prompt x
done
all_refuse "model.safetensors: tensor '$tensor'.*infinite"
refuses 4 "tensor '$tensor'" vlm-inspect model --verify

# --- activations that are not finite ----------------------------------------------------------------
changed ''
exits 0 vlm-calibrate model --data "$calib_data" --samples 8 -o c.calib -q
huge() { # TENSOR…: numbers of 1e37
    local tensor code=
    for tensor; do
        code+="w = weights['$tensor']; w[:] = b'\\xf0\\x7c' * (len(w) // 2); "
    done
    changed "$code"
}
gives() { # PLACE
    refuses 4 "model: $1 gives infinity" vlm-run model --image "$picture" --prompt x
    check "no answer" test ! -s stdout
    refuses 4 "model: $1 gives infinity.* for two.jsonl:1;" vlm-calibrate model --data two.jsonl -o out.calib
    refuses 4 "model: $1 gives infinity.* for two.jsonl:1;" vlm-eval model --data two.jsonl --metrics ppl
    refuses 4 "model: $1 gives infinity" vlm-eval model --data two.jsonl --metrics bleu
    check "nothing is left" test -z "$(find . -name '*out.*')"
}
mlp=language_model.model.layers.2.mlp
huge $mlp.up_proj.weight $mlp.down_proj.weight
gives text.layers.2
# A calibration of the good model, which is told that it is of this one.
exits 0 vlm-inspect model --verify --summary --json
digest=$(python3 -c 'import json; print(json.load(open("stdout"))["digest"])')
python3 -B "$VLMP_ROOT/tests/e2e/work_files.py" forge c.calib bad.calib "d['model']['tensors'] = '$digest'"
for method in gptq awq awq+gptq; do
    printf '{"version": 1, "rules": [{"match": "text.layers.3.*", "scheme": {"method": "%s", "bits": 4}},
        {"match": "*", "scheme": null}]}' $method >recipe.json
    refuses 4 'model: text.layers.2 gives infinity.* for the sample of line [0-9]+;' \
        vlm-quantize model --recipe recipe.json --calib bad.calib -o out.vlmp
done
fc=vision_tower.vision_model.encoder.layers.1.mlp.fc
huge ${fc}1.weight ${fc}2.weight
gives vision.layers.1
huge multi_modal_projector.linear_1.weight multi_modal_projector.linear_2.weight
gives projector
huge language_model.lm_head.weight language_model.model.norm.weight
refuses 4 'model: text.head gives infinity' vlm-run model --image "$picture" --prompt x
refuses 4 'text.head gives infinity' vlm-eval model --data two.jsonl --metrics ppl
refuses 4 'text.head gives infinity' vlm-eval model --data two.jsonl --metrics bleu
refuses 4 'text.head of the reference gives infinity' vlm-eval "$model" --reference model --data two.jsonl --metrics kl
