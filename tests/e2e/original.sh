#!/bin/bash
# Folders of LLaVA's own code: the ids, pixels and losses of the same weights in transformers' layout, for every command;
# prompts as LLaVA's conversations spell them; what is not there or not read says so.
. "$(dirname "$0")/lib.sh"

models=$VLMP_ROOT/tests/golden/models
data="--image-root $models/pictures"
make_original() { python3 "$VLMP_ROOT/tests/e2e/make_original.py" "$models" "$1"; }
export HF_HUB_CACHE=$work/cache # empty, until a tower is put there
make_original o

# equal_tensors A B PREFIX…: the tensors of both files whose names begin so.
equal_tensors() {
    python3 - "$@" <<'END' && pass || fail "$1 and $2 differ in $3"
import json, struct, sys
def read(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    return {n: (e["dtype"], e["shape"], data[slice(*e["data_offsets"])]) for n, e in header.items()
            if n.startswith(tuple(sys.argv[3:]))}
a, b = read(sys.argv[1]), read(sys.argv[2])
sys.exit(not a or a != b)
END
}

for name in pad square anyres onevision; do
    for layout in "" -hf; do
        exits 0 vlm-calibrate o/$name$layout --data "$models/calib.jsonl" $data --samples 16 -o $name$layout.calib
        exits 0 vlm-run o/$name$layout --image "$models/pictures/wide.png" --prompt "What is it?" --max-new-tokens 6 --print-prompt
        cp stderr prompt$layout
        cp stdout answer$layout
    done
    equal_tensors $name.calib $name-hf.calib samples. statistics. site
    same answer answer-hf
    check "$name: the prompt" diff <(sed '$d' prompt) <(sed '$d' prompt-hf)
    exits 0 vlm-eval o/$name --reference o/$name-hf --data "$models/eval.jsonl" $data --metrics ppl,kl --json
    json stdout '(r := d["results"][0])["kl"]["max"] == 0 and r["ppl_ratio"] == 1 and r["tokens"] > 20'
    # Every method, out of the packed file too, which holds the tower.
    for method in rtn int8 gptq awq awq+gptq; do
        exits 0 vlm-quantize o/$name --method $method --calib $name.calib -o $name.vlmp -q --force
        exits 0 vlm-quantize o/$name-hf --method $method --calib $name-hf.calib -o hf.vlmp -q --force
        equal_tensors $name.vlmp hf.vlmp text. vision. projector. newline
    done
    exits 0 vlm-inspect $name.vlmp --verify
done
mkdir alone
cp pad.vlmp anyres.vlmp onevision.vlmp alone
for name in pad anyres onevision; do
    exits 0 vlm-eval alone/$name.vlmp --reference o/$name --data "$models/eval.jsonl" $data --metrics ppl,kl --json
    json stdout '0 < d["results"][0]["kl"]["mean"] < 1'
    exits 0 vlm-run alone/$name.vlmp --image "$models/pictures/tall.png" --image "$models/pictures/flat.png" --prompt x
done

# A processor in the model's folder stands for the tower's: pictures are padded all the same, in its mean colour.
cp -r o/pad o/own
cp -r o/pad-hf o/own-hf
echo '{"image_processor_type": "CLIPImageProcessor", "do_center_crop": true, "crop_size": 30, "size": {"shortest_edge": 30},
       "image_mean": [0.2, 0.1, 0.6], "image_std": [0.26862954, 0.26130258, 0.27577711]}' > o/own/preprocessor_config.json
sed -i 's/0.48145466, 0.4578275, 0.40821073/0.2, 0.1, 0.6/' o/own-hf/processor_config.json
for layout in "" -hf; do
    exits 0 vlm-calibrate o/own$layout --data "$models/calib.jsonl" $data --samples 16 -o own$layout.calib
done
equal_tensors own.calib own-hf.calib samples. statistics. site

# Exports are those of the converted checkpoint.
echo '{"version": 1, "rules": [{"match": "text.layers.*.attn.*", "scheme": {"method": "rtn", "bits": 8, "group": "channel"}},
                               {"match": "*", "scheme": null}]}' > attn.json
for layout in "" -hf; do
    exits 0 vlm-quantize o/anyres$layout --recipe attn.json -o a$layout.vlmp -q
    exits 0 vlm-export a$layout.vlmp --format compressed-tensors --for transformers -o a$layout
done
check "a folder in transformers' names" python3 - a a-hf <<'END'
import json, struct, sys
def names(folder):
    with open(folder + "/model.safetensors", "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        # transformers 5 writes the same places with other prefixes
        return sorted(n.replace("model.language_model.", "language_model.model.").replace("model.vision_tower.", "vision_tower.")
                      .replace("vision_model.", "").replace("model.multi_modal", "multi_modal").replace("model.image_newline", "image_newline")
                      .replace("language_model.lm_head", "lm_head") for n in json.loads(file.read(length)))
config = json.load(open(sys.argv[1] + "/config.json"))
sys.exit(names(sys.argv[1]) != names(sys.argv[2]) or config["model_type"] != "llava_next" or config["vision_config"]["hidden_size"] != 32)
END

# The placeholder of a tokenizer that has none lies behind the table; nothing else changes.
cp -r o/pad o/norow
sed -i 's/<image>/<other>/' o/norow/tokenizer.json
sed -i 's/, "image_token": "<other>"//; s/"image_token": "<image>",//' o/norow/tokenizer_config.json
exits 0 vlm-eval o/pad --data "$models/eval.jsonl" $data --metrics ppl --json
cp stdout with.json
exits 0 vlm-eval o/norow --data "$models/eval.jsonl" $data --metrics ppl --json
check "the same losses" python3 -c 'import json; a, b = (json.load(open(p))["results"][0]["ppl"] for p in ("with.json", "stdout")); exit(a != b)'
exits 0 vlm-calibrate o/norow --data "$models/calib.jsonl" $data --samples 16 -o norow.calib
exits 0 vlm-quantize o/norow --method gptq --calib norow.calib -o norow.vlmp -q
exits 0 vlm-run norow.vlmp --image "$models/pictures/wide.png" --prompt "What is it?"
exits 0 vlm-quantize o/norow --recipe attn.json -o attn.vlmp -q
refuses 4 'no row for the picture token 424' vlm-export attn.vlmp --format compressed-tensors -o none

# SentencePiece's file alone, as published folders have it; the packed file holds what it became.
cp -r o/pad o/model
rm o/model/tokenizer*.json
cp "$VLMP_ROOT"/tests/golden/text/sentencepiece/legacy/{tokenizer.model,tokenizer_config.json,added_tokens.json,special_tokens_map.json} o/model
exits 0 vlm-calibrate o/model --data "$models/calib.jsonl" $data --samples 16 -o model.calib
exits 0 vlm-quantize o/model --method gptq --calib model.calib -o alone/model.vlmp -q
exits 0 vlm-eval alone/model.vlmp --reference o/model --data "$models/eval.jsonl" $data --metrics ppl,kl --json
json stdout '0 < d["results"][0]["kl"]["mean"] < 1'
exits 0 vlm-quantize o/model --recipe attn.json -o a-model.vlmp -q
exits 0 vlm-export a-model.vlmp --format compressed-tensors -o attn
check "the token of a picture follows the folder's own" python3 - <<'END'
import json
tokens = {t["content"]: t["id"] for t in json.load(open("attn/tokenizer.json"))["added_tokens"]}
config = json.load(open("attn/tokenizer_config.json"))
assert tokens["</s>"] == 2 and tokens["<im_patch>"] == 400 and config["bos_token"] == "<s>", tokens
assert config["added_tokens_decoder"]["403"]["content"] == "<image>" and json.load(open("attn/config.json"))["image_token_index"] == 403
END
head -c 3000 "$VLMP_ROOT/tests/golden/text/sentencepiece/legacy/tokenizer.model" >o/model/tokenizer.model
refuses 4 'o/model/tokenizer.model: byte [0-9]*: a field that is longer .*: download it again' \
    vlm-quantize o/model --method rtn -o none.vlmp
ln -sf /etc/hostname o/model/tokenizer.model
refuses 4 'o/model/tokenizer.model: a link that leaves the model folder' vlm-inspect o/model
check 'nothing was written' test ! -e none.vlmp

# Text models of LlavaLlamaForCausalLM are told apart by their tokenizers.
spelled() { # MARK PROMPT: of a tokenizer with the token
    rm -rf o/marked
    cp -r o/pad o/marked
    sed -i "s/<image>/$1/" o/marked/tokenizer.json
    sed -i 's/"image_token": "<image>",//' o/marked/tokenizer_config.json
    exits 0 vlm-run o/marked --image "$models/pictures/wide.png" --prompt "What is it?" --max-new-tokens 1 --print-prompt
    check "the prompt of a tokenizer with $1" diff <(printf "$2") <(sed '$d' stderr)
}
spelled '<|im_start|>' '<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n<image>\nWhat is it?<|im_end|><|im_start|>assistant\n\n'
spelled '<|start_header_id|>' '<s><|start_header_id|>system<|end_header_id|>\n\nYou are a helpful language and vision assistant. You are able to understand the visual content that the user provides, and assist the user with a variety of tasks using natural language.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n<image>\nWhat is it?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n\n'

# A tower in the hub cache; none; one that is not described.
repository=$HF_HUB_CACHE/models--someone--clip-tiny-30
mkdir -p "$repository/snapshots/c0ffee" "$repository/refs"
echo c0ffee >"$repository/refs/main"
mv o/clip-tiny-30/* "$repository/snapshots/c0ffee"
rmdir o/clip-tiny-30
exits 0 vlm-run o/pad --image "$models/pictures/wide.png" --prompt "What is it?"
echo ../../.. >"$repository/refs/main"
refuses 4 'refs/main: does not name a commit' vlm-inspect o/pad
echo c0ffee >"$repository/refs/main"
rm "$repository/snapshots/c0ffee/config.json"
refuses 4 'no config.json, which describes the tower' vlm-run o/pad --prompt x
rm -r "$HF_HUB_CACHE"
refuses 4 'o/pad/config.json: the tower .someone/clip-tiny-30.*hf download someone/clip-tiny-30' vlm-inspect o/pad
rm -r o/clip-tiny-12
refuses 4 'o/anyres/config.json: the tower ./trained/here/clip-tiny-12.*folder .clip-tiny-12. beside' vlm-inspect o/anyres

# changed NAME CODE: o/changed is a copy whose configuration c has been changed.
make_original p
changed() {
    rm -rf p/changed
    cp -r "p/$1" p/changed
    python3 -c 'import json, sys
c = json.load(open("p/changed/config.json"))
exec(sys.argv[1])
json.dump(c, open("p/changed/config.json", "w"))' "$2"
}
while IFS='|' read -r from code message; do
    changed "$from" "$code"
    refuses 4 "p/changed/.*$message" vlm-quantize p/changed --method rtn -o none.vlmp
done <<'END'
pad|c["architectures"] = ["LlavaMptForCausalLM"]|LlavaMptForCausalLM
pad|del c["architectures"]; c["model_type"] = "llava_mixtral"|llava_mixtral
pad|c["mm_projector_type"] = "linear"|mm_projector_type
pad|c["mm_use_im_start_end"] = True|mm_use_im_start_end
pad|c["s2"] = True|s2
pad|c["image_aspect_ratio"] = "highres"|highres
pad|c["mm_patch_merge_type"] = "spatial_unpad"|mm_patch_merge_type
anyres|c["mm_patch_merge_type"] = "flat"|mm_patch_merge_type
pad|c["mm_vision_select_feature"] = "cls"|mm_vision_select_feature
pad|c["mm_vision_select_layer"] = 9|vision_feature_layer
anyres|del c["image_grid_pinpoints"]|image_grid_pinpoints
anyres|c["image_grid_pinpoints"] = "(1x1),...,(9x9)"|1 to 64
anyres|c["image_grid_pinpoints"] = "six"|1 to 64
anyres|c["image_grid_pinpoints"] = "[(12, 24), 7]"|entry 1
onevision|c["image_aspect_ratio"] = "anyres_max_"|anyres_max_
pad|c["vision_config"] = {}|original LLaVA
END
changed pad 'c["mm_vision_tower"] = "eva/../clip"'
refuses 4 'the tower .eva/../clip' vlm-inspect p/changed
sed -i 's/"clip"/"eva"/' p/clip-tiny-30/config.json
refuses 4 'clip-tiny-30/config.json: .*model_type' vlm-inspect p/pad
rm p/onevision/tokenizer.json
exits 0 vlm-quantize p/onevision --method rtn -o none.vlmp
refuses 4 'no tokenizer.json' vlm-run p/onevision --prompt x
