#!/bin/bash
# What vlm-plan says before any work, and whether it comes so.
. "$(dirname "$0")/lib.sh"

# The size of the packed file, of each way to quantize the demo model: the one that is written then. Memory
# while that is done, within what docs/plan.md says (meson's MALLOC_PERTURB_ touches what nobody would).
unset MALLOC_PERTURB_
exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 12 -o c.calib
echo '{"version": 1, "rules": [{"match": "text.layers.*", "scheme": {"method": "rtn", "bits": 4, "group": 32,
    "symmetric": false}}, {"match": "default", "scheme": null}]}' >zeros.json
recipes=(int8 int8_dynamic rtn_4bit rtn_8bit gptq_3bit gptq_4bit awq_4bit awq_gptq_4bit rtn_fp8 rtn_fp8_block rtn_mxfp4
    rtn_nvfp4 gptq_nvfp4 @w4 @seed zeros.json "$VLMP_ROOT/demo/mixed.json")
exits 0 vlm-plan "$model" --json --samples 12 --picture 96x96 --text-tokens 27 $(printf -- '--recipe %s ' "${recipes[@]}")
cp stdout plan.json
for i in "${!recipes[@]}"; do
    exits 0 vlm-quantize "$model" --recipe "${recipes[$i]}" --calib c.calib -o "$i.vlmp" -q --threads 2
    json plan.json "d['recipes'][$i + 1]['file_bytes'] == $(stat -c %s "$i.vlmp")"
    # An estimate: what it must not miss is whether a machine is large enough.
    [ -n "${VLMP_SANITIZED-}" ] || json "$i.vlmp.run.json" "0.75 <= json.load(open('plan.json'))['recipes'][$i + 1][
        'quantizing']['memory_bytes'] / d['peak_rss_bytes'] <= 1.4"
    exits 0 vlm-inspect "$i.vlmp" --json
    json stdout "(lambda r: d['all'] == {**d['all'], **r['all']} and all(d['components'][c] == {**d['components'][c], **r['components'][c]}
        for c in r['components']))(json.load(open('plan.json'))['recipes'][$i + 1])"
done

# A GPU holds codes of 3 bits as 4 bits wide, this processor as they are.
for device in h100 cpu; do
    exits 0 vlm-plan "$model" --json --recipe gptq_3bit --recipe gptq_4bit --device-spec $device --memory 8G
    mv stdout $device.json
done
json h100.json "[r['needed_bytes'] for r in d['recipes']][1] == [r['needed_bytes'] for r in d['recipes']][2]"
json cpu.json "(lambda h: all((h['recipes'][i]['needed_bytes'] > d['recipes'][i]['needed_bytes']) == (i == 1)
    for i in range(3)))(json.load(open('h100.json')))"

# Of the file itself, as it is; a recipe is for the model that it was made from.
exits 0 vlm-plan 0.vlmp --json
json stdout "len(d['recipes']) == 1 and d['recipes'][0]['all'] == json.load(open('plan.json'))['recipes'][1]['all']"
refuses 4 'already packed' vlm-plan 0.vlmp --recipe int8

# Headers are all that is read.
exits 0 vlm-plan "$model" --json
cp stdout whole.json
cp -r "$model" "$work/cut" && chmod -R u+w cut && python3 "$VLMP_ROOT/tests/e2e/cut_shards.py" cut
exits 0 vlm-plan cut --json
for file in stdout whole.json; do
    grep -v '"model":\|"seconds":\|"processor_flops":' $file >$file.same
done
same stdout.same whole.json.same
refuses 4 'truncated' vlm-quantize cut --method rtn -o x.vlmp
exits 0 vlm-plan "$model" --memory 1G
check 'no line is wider than a terminal' test "$(wc -L <stdout)" -le 80

# The configuration is.
mkdir alone && cp "$model/config.json" alone/config.json
for path in alone alone/config.json; do
    exits 0 vlm-plan $path --json
    json stdout "not d['weights_present'] and [r['components'] for r in d['recipes']] == [
        r['components'] for r in json.load(open('whole.json'))['recipes']]"
    exits 0 vlm-plan $path
    check 'it says that there are no weights' grep -q 'no weights' stdout
done

# A configuration of quantized weights, or of an original checkpoint, promises no sizes.
mkdir quantized
for section in config "config['text_config']"; do
    python3 -c "import json
config = json.load(open('alone/config.json'))
$section['quantization_config'] = {'quant_method': 'gptq', 'bits': 4, 'group_size': 32}
json.dump(config, open('quantized/config.json', 'w'))"
    refuses 4 'quantized' vlm-plan quantized
done
echo '{"model_type": "llava", "mm_vision_tower": "openai/clip-vit-large-patch14-336", "hidden_size": 64}' >original.json
refuses 4 "give the folder with its weights' headers" vlm-plan original.json

# A processor_config.json that has no picture processor: the class's.
mkdir settings && cp "$VLMP_ROOT/tests/golden/models/next-llama/config.json" settings
echo '{"processor_class": "LlavaNextProcessor"}' >settings/processor_config.json
exits 0 vlm-plan settings
check 'pictures are as the class makes them' grep -q 'the folder has no picture processor' stdout

# 26.7 GB by their headers, in less than a second.
python3 "$VLMP_ROOT/scripts/make-13b.py" next-13b --headers >log
TIMEFORMAT='%U %S'
{ time vlm-plan next-13b --json >13b.json; } 2>took
json 13b.json "d['recipes'][0]['all']['weights'] == 13338901504 and len(d['recipes']) == 4"
[ -n "${VLMP_SANITIZED-}" ] || check "a 13B folder took $(cat took) s of the processor" awk '{ exit $1 + $2 >= 1 }' took

# Keys and values, what fits: 40 layers, 40 heads of 128, 8 times 576 + 512 tokens, F16.
python3 - next-13b/config.json <<'END'
import json, sys
config = json.load(open(sys.argv[1]))
config.update(model_type="llava", architectures=["LlavaForConditionalGeneration"])
del config["image_grid_pinpoints"]
json.dump(config, open("llava-13b.json", "w"))
config["text_config"].update(hidden_size=7168, intermediate_size=20480, num_attention_heads=56, num_key_value_heads=8,
                             num_hidden_layers=60, vocab_size=64064)
json.dump(config, open("llava-34b.json", "w"))
END
exits 0 vlm-plan llava-13b.json --json --batch 8 --new-tokens 448 --memory 24G
json stdout "d['loads'][0]['kv_bytes'] == 7130316800 and d['loads'][0]['picture']['tokens'] == 576"
json stdout "d['take'] == 'int8' and [r['fits'] for r in d['recipes']] == [False, True, True, True]"
json stdout "all(r['needed_bytes'] <= 24 << 30 or not r['fits'] for r in d['recipes'])"
json stdout "all(r['largest_batch'] >= 8 for r in d['recipes'] if r['fits'])"
exits 0 vlm-plan llava-13b.json --memory 24G --batch 8
check 'the answer comes first' grep -q '^24 GiB of memory: take int8' <(sed -n 3p stdout)
exits 0 vlm-plan llava-13b.json --memory 4G
check 'nothing fits' grep -q '^4 GiB of memory: too little' stdout

# 34B in F16 on two A100 of 40 GB, 2048 tokens a request: at most 4.5 a second, so not 50.
ask=(vlm-plan llava-34b.json --picture none --text-tokens 1536 --new-tokens 512 --device-spec 2xa100-40g --qps 50)
exits 0 "${ask[@]}"
check '50 requests a second are too many' grep -q '^50 requests a second on 2xa100-40g: no' stdout
check 'no line is wider than a terminal' test "$(wc -L <stdout)" -le 80
exits 0 "${ask[@]}" --json
json stdout "not d['requests']['reached'] and 0 < d['recipes'][0]['at_best']['requests_per_second'] <= 4.5"
json stdout "d['methods']['prompt']['arithmetic'] == 'W8A8' and d['methods']['answer']['arithmetic'] == 'W4A16'"
exits 0 vlm-plan "$model" --device-spec h100 --qps 5 --latency 10
check '5 a second of a small model' grep -q '^5 requests a second within 10 s on h100: yes' stdout
check 'no line is wider than a terminal' test "$(wc -L <stdout)" -le 80
exits 0 vlm-plan "$model" --device-spec bandwidth=5T,flops=1T
check 'nothing is said against FP16 where products decide' test -z "$(grep 'but with memory\|but INT8' stdout)"
check 'of int8 nothing is known' grep -q 'no rate of int8 is known' stdout
exits 0 vlm-plan "$model" --device-spec cpu --json
json stdout "all(d['device'][rate] > 0 for rate in ('bandwidth', 'flops', 'int8')) and d['device']['source'] is None"
refuses 2 'device-spec' vlm-plan "$model" --qps 5
refuses 2 'no such device .did you mean h100' vlm-plan "$model" --device-spec h1000
refuses 2 'bandwidth= .* and flops=' vlm-plan "$model" --device-spec bandwidth=5G
refuses 2 'picture' vlm-plan "$model" --picture 10
refuses 2 'batch' vlm-plan "$model" --batch 0

# An architecture that is not run, by the names of its tensors.
python3 "$VLMP_ROOT/tests/e2e/make_other.py" other
exits 0 vlm-plan other --json --recipe rtn_4bit
cp stdout other.json
exits 0 vlm-quantize other --recipe rtn_4bit --data-free -o other.vlmp -q
json other.json "d['recipes'][1]['file_bytes'] == $(stat -c %s other.vlmp)"
refuses 2 'picture' vlm-plan other --picture abc
refuses 2 'batch' vlm-plan other --batch zzz
exits 0 vlm-plan other --batch 2
check 'that says nothing of it' grep -q 'only sizes are known' stderr
cp other/config.json other.json
refuses 4 'config.json alone' vlm-plan other.json

# Faults of input are told as everywhere.
refuses 4 'no such model folder' vlm-plan absent
refuses 4 'no such file|cannot open' vlm-plan "$model" --recipe absent.json
echo '{"llm_layers_7_9": "int8", "default": null}' >rule.json
refuses 4 'matches no linear' vlm-plan "$model" --recipe rule.json
head -c 40 "$model/model.safetensors" >cut/model.safetensors
refuses 4 'header is .* bytes but the file ends' vlm-plan cut
echo '{"model_type": "llava"' >broken.json
refuses 4 'broken.json' vlm-plan broken.json
echo '{}' >empty.json
refuses 4 'model_type' vlm-plan empty.json
refuses 2 'MODEL' vlm-plan
