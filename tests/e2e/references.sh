#!/bin/bash
# References and calibrations belong to a model, its files and the data: everything that differs is
# refused and named, but padding of the vocabulary; files that lie are refused.
. "$(dirname "$0")/lib.sh"
change() { python3 -B "$VLMP_ROOT/tests/e2e/work_files.py" "$@"; }
evaluate() { vlm-eval "$@" --data "$eval_data" --samples 4 --metrics ppl,kl --json -q; }

exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 6 -o c.calib -q
exits 0 vlm-quantize "$model" --method gptq --calib c.calib -o gptq.vlmp -q
exits 0 evaluate "$model" gptq.vlmp --reference "$model" --save-reference r.ref
mv stdout plain.json
# Blocks are called so.
exits 0 vlm-quantize "$model" --method rtn --codes fp8 --group block -o blocks.vlmp -q
exits 0 evaluate blocks.vlmp --reference r.ref
json stdout 'd["results"][0]["method"] == "rtn fp8 block"'

# The original is known by its bytes: under another name, beside a saved run, and not by its name alone.
mkdir -p place && cp -r "$model" place/copy
exits 0 evaluate place/copy gptq.vlmp --reference "$model"
json stdout '[r["original"] for r in d["results"]] == [True, False]'
exits 0 evaluate place/copy "$model" gptq.vlmp --reference r.ref
json stdout '[r["original"] for r in d["results"]] == [True, True, False]'
change json "$model" place/model generation_config.json 'd["something"] = 1'
exits 0 evaluate place/model "$model" --reference "$model"
json stdout '[r["original"] for r in d["results"]] == [False, True]'
exits 0 evaluate gptq.vlmp "$model" --reference gptq.vlmp --save-reference packed.ref
json stdout '[r["original"] for r in d["results"]] == [True, False]'
exits 0 evaluate gptq.vlmp "$model" --reference packed.ref
json stdout '[r["original"] for r in d["results"]] == [True, False]'

# The report's worst samples have the original's answers: from its result, else asked of it; a saved run has none.
report() { # NAME REFERENCE MODEL…
    exits 0 vlm-eval "${@:3}" --reference "$2" --data "$eval_data" --samples 4 --metrics kl,bleu --max-new-tokens 12 \
        --report "$1.html" -q
    grep -o '<dt>◇ original</dt><dd>[^<]*' "$1.html" >"$1.answers" || true
}
report among "$model" "$model" gptq.vlmp
report asked "$model" gptq.vlmp
report saved r.ref gptq.vlmp
check "there are answers" test "$(wc -l <among.answers)" = 4 -a "$(grep -c 'not recorded' among.answers)" = 0
same among.answers asked.answers
check "a saved run has none" test "$(grep -c 'not recorded' saved.answers)" = 4

# --- padded vocabularies, either way round, by folder, packed file and saved reference -----------------
change pad "$model" padded 1088
refuses 4 'c.calib: .*vocabulary is 1024.*1088' vlm-quantize padded --method gptq --calib c.calib -o x.vlmp
exits 0 vlm-quantize padded --method rtn --bits 8 -o padded.vlmp -q
exits 0 evaluate padded --reference "$model"
json stdout 'd["results"][0]["kl"]["max"] == 0 and d["results"][0]["ppl_ratio"] == 1'
json stdout 'any("padding" in n and "common 1024" in n for n in d["results"][0]["notes"])'
exits 0 evaluate "$model" --reference padded --save-reference padded.ref
json stdout 'd["results"][0]["kl"]["max"] == 0 and d["results"][0]["top1"] == 1'
exits 0 evaluate padded padded.vlmp --reference r.ref
json stdout 'd["results"][0]["kl"]["max"] == 0 and 0 < d["results"][1]["kl"]["mean"] < 1e-3'
exits 0 evaluate gptq.vlmp --reference padded.ref
json stdout 'abs(d["results"][0]["kl"]["mean"] - 0) < 0.01 and d["results"][0]["notes"]'
exits 0 evaluate "$model" --reference padded.vlmp
# Rows that tokens use are no padding.
change json padded more-tokens tokenizer.json \
    'd["added_tokens"].append(dict(d["added_tokens"][0], id=1050, content="<new>"))'
refuses 4 'more-tokens: .*1088 rows.*1024.*padding' evaluate more-tokens --reference "$model"
refuses 4 'vocabulary' evaluate "$model" --reference more-tokens

# --- another model, other data, files that changed since ------------------------------------------------
change json "$model" other config.json 'd["text_config"]["rms_norm_eps"] = 1e-3'
refuses 4 'other: .*config.json differs.*r.ref' evaluate other --reference r.ref
exits 0 evaluate other --reference "$model"
json stdout 'd["results"][0]["kl"]["mean"] > 0'
for file in tokenizer_config.json generation_config.json processor_config.json; do
    change json "$model" "other-$file" $file 'd["something"] = 1'
    refuses 4 "other-$file: .*$file differs" evaluate "other-$file" --reference r.ref
    exits 0 evaluate "other-$file" --reference "$model"
done
change json "$model" other-pixels preprocessor_config.json 'd["image_mean"] = [0.5, 0.5, 0.5]'
refuses 4 'picture processor.*preprocessor_config' evaluate other-pixels --reference "$model"
refuses 4 'picture processor.*preprocessor_config' evaluate other-pixels --reference r.ref
cp -r "$model" other-tokens
sed -i 's/USER/PERSON/' other-tokens/chat_template.jinja
refuses 4 'other-tokens: its tokens' evaluate other-tokens --reference "$model"
refuses 4 'other-tokens: its chat_template.jinja differs' evaluate other-tokens --reference r.ref
change pad "$model" other-weights 1024
python3 - <<'END'
with open("other-weights/model.safetensors", "r+b") as file:
    file.seek(-2, 2)
    file.write(b"\0\0")
END
refuses 4 'r.ref: made with another model.*other-weights' evaluate other-weights --reference r.ref
exits 0 evaluate other-weights --reference "$model"
exits 0 evaluate gptq.vlmp --reference other-weights
json stdout 'any("not made from the reference" in n and "weights" in n for n in d["results"][0]["notes"])'
narrow=$VLMP_ROOT/tests/golden/models/llava-llama
refuses 4 'width' evaluate "$narrow" --reference "$model"
refuses 4 'width' evaluate "$model" --reference "$narrow"
refuses 4 'width' evaluate "$narrow" --reference r.ref
refuses 4 'r.ref: .*other data' vlm-eval "$model" --data "$eval_data" --samples 3 --reference r.ref

# --- files with good hashes that lie, and with bad ones -------------------------------------------------
forged() { # PATTERN CODE
    change forge r.ref forged.ref "$2"
    refuses 4 "forged.ref: .*($1)" evaluate "$model" --reference forged.ref
}
change forge r.ref forged.ref 'pass'
exits 0 evaluate "$model" --reference forged.ref
forged 'inconsistent|head' 't["head"][1] = [64, 256]; t["head"][2] = t["head"][2][:64 * 512]'
forged 'NaN' 't["states"][2][0:4] = struct.pack("<f", float("nan"))'
forged 'NaN' 't["head"][2][2:4] = b"\x80\x7f"'
forged 'begin' 't["first"][2][4:8] = struct.pack("<i", 1 << 30)'
forged 'begin' 't["first"][2][0:4] = struct.pack("<i", -5)'
forged 'begin' 't["first"][1] = [1]; t["first"][2] = t["first"][2][:4]'
forged "'first'" 't["first"][1] = [0]; t["first"][2] = b""'
forged "'states'" 't["states"][0] = "I32"'
forged "'states'" 't["states"][1] = t["states"][1][::-1] + [1]'
forged 'contradict' 't["states"][1] = t["states"][1][::-1]'
forged 'outside' 't["targets"][2][0:4] = struct.pack("<i", 70000)'
forged 'outside' 't["targets"][2][0:4] = struct.pack("<i", -1)'
forged "'head' is missing" 't.pop("head")'
forged 'version' 'd["version"] = 1'
forged 'token_ids' 'd["token_ids"] = -3'
forged 'context' 'd["context"] = "x"'
forged 'SHA-256' 'd["tokens"] = "abc"'
forged 'SHA-256' 'd["model"] = None'
change forge r.ref forged.ref 'first = t["first"][2]; first[4:8] = struct.pack("<i", struct.unpack("<i", first[4:8])[0] + 1)'
refuses 4 'tokens.*forged.ref' evaluate "$model" --reference forged.ref
change forge r.ref forged.ref 't["targets"][2][0:4] = struct.pack("<i", 7)'
refuses 4 'tokens' evaluate "$model" --reference forged.ref

# A calibration is of a model with its files; so is an interrupted run.
for file in config.json generation_config.json preprocessor_config.json processor_config.json tokenizer.json \
    tokenizer_config.json; do
    change json "$model" "changed-$file" $file 'd["something"] = 1'
    refuses 4 "c.calib: .*'s $file differs" vlm-quantize "changed-$file" --method gptq --calib c.calib -o out.vlmp
done
cp -r "$model" changed-template
echo '{# #}' >>changed-template/chat_template.jinja
refuses 4 "c.calib: .*'s chat_template.jinja differs" \
    vlm-quantize changed-template --method gptq --calib c.calib -o out.vlmp
cp -r "$model" changed-licence
echo free >changed-licence/LICENSE
exits 0 vlm-quantize changed-licence --method gptq --calib c.calib -o licence.vlmp -q
# The tower's last layer stays, but is run: the same weights, another number of layers.
change json "$model" changed-layers config.json 'd["vision_feature_layer"] = -1'
refuses 4 'c.calib: .*vision_layers is 5, this model.s 6' \
    vlm-quantize changed-layers --method gptq --calib c.calib -o out.vlmp
# A run whose output does not fit keeps its journal.
echo '{"version": 1, "rules": [{"match": "vision.*", "scheme": {"method": "rtn", "group": 128}},
    {"match": "*", "scheme": null}]}' >falls-back.json
exits 1 bash -c 'trap "" XFSZ; ulimit -f 5000; exec vlm-quantize "$@"' - "$model" --recipe falls-back.json \
    --allow-fallbacks 99 -o resumed.vlmp
for changed in changed-*; do
    case $changed in *licence) continue ;; *-layers) name=config.json ;; *-template) name=chat_template.jinja ;;
    *) name=${changed#changed-} ;; esac
    refuses 4 "resumed.vlmp.journal: .*'$name' differs" \
        vlm-quantize $changed --recipe falls-back.json -o resumed.vlmp --resume --allow-fallbacks 99
done
exits 0 vlm-quantize "$model" --recipe falls-back.json -o resumed.vlmp --resume --allow-fallbacks 99
# What was packed from a changed folder does not belong to the reference; a licence does not matter.
exits 0 evaluate licence.vlmp --reference r.ref
exits 0 vlm-quantize other --method rtn -o other.vlmp
refuses 4 'other.vlmp: its config.json differs' evaluate other.vlmp --reference r.ref

calib() { # PATTERN CODE
    change forge c.calib forged.calib "$2"
    refuses 4 "forged.calib: .*($1)" vlm-quantize "$model" --method awq --calib forged.calib -o out.vlmp
}
change forge c.calib forged.calib 'pass'
exits 0 vlm-quantize "$model" --method awq --calib forged.calib -o out.vlmp -q --dry-run
site=statistics.text.layers.2.mlp_in
calib 'text_layers is 5, .*6' 'd["sizes"]["text_layers"] = 5'
calib 'text_width' 'd["sizes"].pop("text_width")'
calib 'image_size' 'd["sizes"]["image_size"] = 1 << 40'
calib "$site.mean_abs' is missing" "t.pop('$site.mean_abs')"
calib "$site.max_abs' is missing or has another shape" "t['$site.max_abs'][1] = [256, 2]"
calib 'magnitudes' "t['$site.mean_abs'][2][0:4] = struct.pack('<f', float('nan'))"
calib 'magnitudes' "t['$site.max_abs'][2][0:4] = struct.pack('<f', float('inf'))"
calib "$site.rms' is missing" "t.pop('$site.rms')"
calib 'magnitudes' "t['$site.rms'][2][0:4] = struct.pack('<f', float('nan'))"
calib 'magnitudes' "t['$site.mean_abs'][2][0:4] = struct.pack('<f', -1)"
calib 'negative' "t['$site.count'][2][0:8] = struct.pack('<q', -4)"
calib 'token id' 't["samples.ids"][2][0:4] = struct.pack("<i", 1 << 20)'
calib 'hash of the tokens|picture tokens' 't["samples.ids"][2][0:4] = struct.pack("<i", 9)'
calib 'inconsistent' 't["samples.table"][2][4:8] = struct.pack("<i", -1)'
calib 'inconsistent' 't["samples.table"][2][4:8] = struct.pack("<i", 1 << 30)'
calib 'more data|picture' 't["samples.table"][2][20:24] = struct.pack("<i", 1 << 30)'
calib 'more data|picture plan' 't["samples.table"][2][16:20] = struct.pack("<i", 1 << 28)'
calib 'picture plan' 't["samples.pictures"][2][4:8] = struct.pack("<i", -36)'
calib 'more data' 't["samples.ids"][1][0] += 1; t["samples.ids"][2] += bytes(4)'
calib 'hash of the data' 'd["samples"].reverse()'
calib 'no samples' 'd["samples"] = []'
calib 'version' 'd["version"] = 1'

for file in r.ref c.calib; do
    exits 0 vlm-inspect $file --verify
    check "$file is verified" grep -q 'every hash' stdout
    exits 0 vlm-inspect $file --verify --json
    json stdout 'd["verified"] and len(d["digest"]) == 64 and d["kind"] in ("reference", "calibration")'
    for at in 200 -9; do # a letter of the header, a byte of the data
        python3 - $file $at <<'END'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[int(sys.argv[2])] ^= 1
open("bad-" + sys.argv[1], "wb").write(data)
END
        refuses 4 'bad-.*(hash|SHA-256|byte)' vlm-inspect bad-$file --verify
    done
done
refuses 4 'bad-r.ref: .*SHA-256' evaluate "$model" --reference bad-r.ref
refuses 4 'bad-c.calib: .*SHA-256' vlm-quantize "$model" --method awq --calib bad-c.calib -o out.vlmp

# --- samples beyond the context -------------------------------------------------------------------------
# Lengths of the first 24 samples, from the one model; a context that some of them exceed.
first() { vlm-eval "$@" --data "$eval_data" --samples 24 --json -q; }
change json "$model" short config.json 'd["text_config"]["max_position_embeddings"] = 62'
exits 0 first short "$model" --reference "$model" --metrics ppl,kl,bleu,speed --max-new-tokens 24
mv stdout short.json
json short.json '0 < d["results"][0]["left_out"] < 24'
json short.json 'all(r["samples"] + r["left_out"] == 24 for r in d["results"])'
json short.json 'all(r["left_out"] == d["results"][0]["left_out"] for r in d["results"])'
json short.json 'all(any("context of 62" in n and "data.jsonl:" in n for n in r["notes"]) for r in d["results"])'
json short.json 'd["results"][0]["ppl"] == d["results"][1]["ppl"] < 2 and d["results"][0]["kl"]["max"] == 0'
json short.json 'd["results"][0]["tokens"] == d["results"][1]["tokens"] and d["results"][0]["bleu"][0] > 0.5'
exits 0 vlm-eval short --data "$eval_data" --samples 40 --metrics bleu --json -q
json stdout 'any("answers were cut" in n for n in d["results"][0]["notes"])'
exits 0 first "$model" --metrics ppl
json stdout 'd["results"][0]["left_out"] == 0 and d["results"][0]["samples"] == 24'
exits 0 first short --reference short --save-reference short.ref --metrics kl
exits 0 first short --reference short.ref --metrics kl
json stdout 'd["results"][0]["kl"]["max"] == 0 and d["results"][0]["left_out"] > 0'
change json "$model" tiny config.json 'd["text_config"]["max_position_embeddings"] = 40'
refuses 4 'data.jsonl:1: [0-9]+ tokens, more than the context of 40' first tiny --metrics ppl
mkdir pictures
cp "$VLMP_ROOT/demo/eval/images/"000[01].* pictures
exits 0 vlm-eval "$model" --reference "$model" --data pictures --metrics kl --json -q
json stdout 'd["results"][0]["samples"] == 2'
refuses 4 'context of 62' vlm-eval short --data pictures --metrics speed

# --- every decode step counts, the one that gives end-of-sequence too -----------------------------------
ask() { vlm-run "$model" --image "$VLMP_ROOT/demo/eval/images/0000.png" --prompt "Describe the picture." --json "$@"; }
exits 0 ask
json stdout 'd["new_tokens"] > 4 and d["decode_steps"] == d["new_tokens"]'
exits 0 ask --max-new-tokens 4
json stdout 'd["new_tokens"] == 4 and d["decode_steps"] == 3'
exits 0 ask --max-new-tokens 1
json stdout 'd["decode_steps"] == 0 and d["decode_tps"] is None'
