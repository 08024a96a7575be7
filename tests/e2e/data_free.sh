#!/bin/bash
# Architectures that are not run: weights alone, by names, every tensor accounted for.
. "$(dirname "$0")/lib.sh"
python3 "$VLMP_ROOT/tests/e2e/make_other.py" other

# Without the word for it, and where a forward pass is needed, the reason.
for command in 'vlm-quantize other --method rtn -o o.vlmp' 'vlm-run other --prompt x' \
    "vlm-eval other --data $eval_data" "vlm-calibrate other --data $calib_data -o c.calib"; do
    refuses 4 "models of type 'phi3_v' are not run here.*--data-free" $command
done
refuses 2 'data-free.*contradict' vlm-quantize other --method gptq --data-free -o o.vlmp
check 'nothing was written' test ! -e o.vlmp -a ! -e c.calib

# The list before work starts, in the file, and exact sizes; the same lines in all three.
exits 0 vlm-quantize other --method rtn --data-free --dry-run --json
python3 - stdout >plan.txt <<'END'
import json, sys
plan = json.load(open(sys.argv[1]))
assert sum(t["count"] for t in plan["tensors"]) == 3 + 12 * 8 + 7, plan["tensors"]
for t in plan["tensors"]:
    print(t["tensors"], t["shape"], t["count"], t["fate"])
print(plan["bytes"])
END
while read -r line; do
    check "the plan has: $line" grep -qxF -- "$line" plan.txt
done <<'END'
text.layers.#.self_attn.qkv_proj.weight 192×64 12 rtn W4 channel
text.layers.#.self_attn.qkv_proj.bias 192 12 kept: no matrix
text.layers.#.mlp.experts.#.w1.weight 96×64 24 rtn W4 channel
text.layers.#.mlp.fused_experts.weight 2×64×96 12 kept: no matrix
text.layers.#.mlp.gate.weight 64×64 12 kept: a router
text.layers.#.input_layernorm.weight 64 12 kept: no matrix
text.embed.weight 256×64 1 kept: no rule quantizes it
text.head.weight 256×64 1 kept: no rule quantizes it
text.norm.weight 64 1 kept: no matrix
text.model.logit_scale 64×64 1 kept: no linear's name
vision.model.vision_embed_tokens.img_processor.vision_model.encoder.layers.#.mlp.fc1.weight 128×64 1 kept: no rule quantizes it
audio.audio_encoder.layers.#.fc1.weight 64×64 1 kept: not for pictures or text
END
exits 0 vlm-quantize other --method rtn --data-free -o o.vlmp
check 'the list is shown' grep -qE 'text.layers.#.mlp.gate.weight +64×64 +12 +kept: a router' stderr
check 'the size was exact' grep -qx "$(stat -c %s o.vlmp)" plan.txt
exits 0 vlm-inspect o.vlmp --verify --json
check 'the list is in the file' python3 - stdout plan.txt <<'END'
import json, sys
kept = ["%s %s %d %s" % (t["tensors"], t["shape"], t["count"], t["fate"]) for t in json.load(open(sys.argv[1]))["fates"]]
assert kept == open(sys.argv[2]).read().splitlines()[:-1]
END
refuses 4 'not run here' vlm-run o.vlmp --prompt x

# Recipes: components and layers, as in every family; both methods; resumed after an interruption.
echo '{"llm_layers_0_3": "rtn_8bit", "llm_layers": "rtn_4bit", "vision_encoder": "int8", "lm_head": "int8", "default": null}' >r.json
exits 0 vlm-quantize other --recipe r.json --data-free -o mixed.vlmp
exits 0 vlm-inspect mixed.vlmp --json
check 'each has its scheme' python3 - stdout <<'END'
import json, sys
bits = {t["source"]: t.get("bits") for t in json.load(open(sys.argv[1]))["tensors"] if t["name"].endswith((".codes", ".weight"))}
for name, want in (("model.layers.0.self_attn.o_proj.weight", 8), ("model.layers.11.mlp.experts.1.w1.weight", 4),
                   ("lm_head.weight", 8), ("model.layers.5.mlp.gate.weight", None),
                   ("model.vision_embed_tokens.img_processor.vision_model.encoder.layers.0.mlp.fc1.weight", 8)):
    assert bits[name] == want, (name, bits[name])
END
echo '{"default": "gptq_4bit"}' >g.json
refuses 2 'data-free.*contradict' vlm-quantize other --recipe g.json --data-free -o g.vlmp
exits 0 vlm-quantize other --method int8 --data-free -o int8.vlmp -q
check 'quiet' test ! -s stderr
if [ -z "${VLMP_SANITIZED-}" ]; then
    again='vlm-quantize other --method rtn --data-free -o r.vlmp -q'
    for call in {30..300..3}; do # the first calls fail before there is a journal
        VLMP_FAULT=io:$call:fail LD_PRELOAD="$VLMP_INJECT" $again --force 2>stderr || true
        if [ -s r.vlmp.journal ]; then break; fi
        rm -f r.vlmp # a call whose failure does no harm
    done
    check 'what was done is kept' test -s r.vlmp.journal
    exits 0 $again --resume
    same o.vlmp r.vlmp
fi

# A model that is run: the same file as without the word.
exits 0 vlm-quantize "$model" --method rtn -o a.vlmp -q
exits 0 vlm-quantize "$model" --method rtn --data-free -o b.vlmp -q
same a.vlmp b.vlmp

# As other engines load it; the documents say what is not known.
exits 0 vlm-export o.vlmp --format compressed-tensors -o ct
check 'every linear under its own name' env PYTHONPATH="$VLMP_ROOT/tests/e2e" python3 - <<'END'
import json, re
import export_check as e
packed, meta = e.read("o.vlmp")
linears, table = json.loads(meta["vlmp.linears"]), json.loads(meta["vlmp.tensors"])
config = json.load(open("ct/config.json"))["quantization_config"]
(group,) = config["config_groups"].values()
folder = e.read_folder("ct")
modules = {n[:-len(".weight")] for n, t in folder.items() if n.endswith(".weight") and len(t[1]) == 2}
for name in modules:
    assert any(re.match(p[3:], name) for p in config["ignore"]), name
for name, entry in linears.items():
    base = table[name + ".codes"]["source"][:-len(".weight")]
    assert [p for p in group["targets"] if re.match(p[3:], base)] == ["re:" + re.escape(base) + "$"], base
    def take(suffix, shape):
        kind, got, data = folder.pop("%s.%s" % (base, suffix))
        assert got == shape
        return e.floats((kind, got, data)) if kind == "F32" else e.words((kind, got, data)) if kind == "I32" \
            else tuple(e.array.array("q", data))
    e.check_compressed_tensors(e.Linear(packed, name, entry), take, group)
kept = {table[n]["source"]: t for n, t in packed.items() if n in table and n.rpartition(".")[0] not in linears or n.endswith(".bias")}
assert folder == kept, set(folder) ^ set(kept)
END
check 'not known' grep -q 'tokens of a picture.*not known' ct/CHECKLIST.md
refuses 4 "no graph for 'phi3_v'" vlm-export o.vlmp --allow-requantize --format gguf -o gg

# A name that has no room, the same name twice, and a model that is quantized already.
python3 "$VLMP_ROOT/tests/e2e/make_other.py" long "model.$(printf 'x%.0s' {1..160}).weight"
refuses 4 'is too long for a packed file' vlm-quantize long --method rtn --data-free -o l.vlmp
python3 "$VLMP_ROOT/tests/e2e/make_other.py" twice language_model.model.layers.0.self_attn.o_proj.weight
refuses 4 'self_attn.o_proj' vlm-quantize twice --method rtn --data-free -o l.vlmp
cp -r other done
echo '{"model_type": "phi3_v", "quantization_config": {"quant_method": "bitsandbytes"}}' >done/config.json
refuses 4 "quantized already, by the method .bitsandbytes" vlm-quantize done --method rtn --data-free -o l.vlmp
echo '{}' >done/config.json
refuses 4 "no 'model_type'" vlm-quantize done --method rtn --data-free -o l.vlmp
check 'nothing was written' test ! -e l.vlmp -a ! -e g.vlmp -a ! -e gg
