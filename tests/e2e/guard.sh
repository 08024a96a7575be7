#!/bin/bash
# What linears are judged on: few samples, samples without pictures, groups that do not divide.
. "$(dirname "$0")/lib.sh"

python3 "$VLMP_ROOT/tests/e2e/make_tiny.py" "$model" tiny
scheme() { echo "{\"method\": \"$1\", \"bits\": 4, \"group\": 32}"; }
recipe() { # FILE GLOB METHOD
    echo "{\"version\": 1, \"rules\": [{\"match\": \"$2\", \"scheme\": $(scheme "$3")}," \
        "{\"match\": \"text.layers.*\", \"scheme\": $(scheme gptq)}," \
        "{\"match\": \"*\", \"scheme\": null}]}" >"$1"
}
left() { ls -A | grep '^out\|journal\|border' | tr '\n' ' '; }

# Text alone: tower and projector have no inputs. Refused before work, with what is missing.
for i in 1 2 3 4 5 6 7 8 9; do
    echo "{\"prompt\": \"What is $i?\", \"answers\": [\"a number $i\"]}"
done >text.jsonl
exits 0 vlm-calibrate tiny --data text.jsonl --max-tokens 256 -o text.calib -q
for site in vision.layers.0.attn.q vision.layers.1.mlp.fc2 projector.0 projector.1; do
    for method in gptq awq awq+gptq; do
        recipe r.json $site $method
        refuses 4 "none of its 9 samples has a picture, and '$site'" \
            vlm-quantize tiny --calib text.calib --recipe r.json -o out.vlmp
        check "a refused run leaves nothing: $(left)" test -z "$(left)"
    done
done
recipe r.json 'vision.*' rtn
exits 0 vlm-quantize tiny --calib text.calib --recipe r.json -o out.vlmp -q
json out.vlmp.run.json 'd["unguarded"] == 0 and d["linears"] > 12'
exits 0 vlm-quantize tiny --calib text.calib --method awq+gptq --group 32 -o out.vlmp -q --force

# One picture among texts: the tower is calibrated on it and judged on nothing, which is counted.
{ head -3 text.jsonl; head -1 "$calib_data"; tail -5 text.jsonl; } >one.jsonl
exits 0 vlm-calibrate tiny --data one.jsonl --image-root "$VLMP_ROOT/demo/calib" -o one.calib -q
recipe r.json 'vision.*' gptq
exits 0 vlm-quantize tiny --calib one.calib --recipe r.json -o out.vlmp --force
grep -q 'vision.layers.0.attn.q .*unguarded' stderr && pass || fail "no row says unguarded"
grep -q 'text.layers.0.attn.q .*unguarded' stderr && fail "the text model was judged" || pass
json out.vlmp.run.json 'd["unguarded"] == 12'

# One sample: nothing is judged, and every report says so. Two: one of them judges.
exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 1 -o 1.calib -q
exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 2 -o 2.calib -q
for samples in 1 2; do
    exits 0 vlm-quantize "$model" --calib $samples.calib --method awq --json -o q$samples.vlmp -q
    json stdout "d['unguarded'] == (42 if $samples == 1 else 0)"
    exits 0 vlm-eval q$samples.vlmp --data "$eval_data" --samples 4 --metrics ppl --json
    json stdout "d['results'][0]['unguarded'] == (42 if $samples == 1 else 0)"
    json stdout "any('unguarded' in n for n in d['results'][0]['notes']) == ($samples == 1)"
done
exits 3 vlm-eval q1.vlmp --data "$eval_data" --samples 4 --metrics ppl --gate 'unguarded==0'
exits 0 vlm-eval q2.vlmp --data "$eval_data" --samples 4 --metrics ppl --gate 'unguarded==0'

# Groups: what falls to another is said before work. Asked for, it is a fallback; auto's per channel
# is not.
python3 "$VLMP_ROOT/tests/e2e/make_tiny.py" "$model" narrow 88
exits 0 vlm-quantize narrow --method rtn --dry-run --json
json stdout 'd["auto_channels"] == 2 and d["group_fallbacks"] == 0'
json stdout '[l["name"][-4:] for l in d["linears"] if l.get("auto_channel")] == ["down", "down"]'
grep -q 'warning: no group of 128, 64 or 32 divides the inputs of 2 linears (first: text.layers.0.mlp.down, 88' \
    stderr && pass || fail "no warning"
exits 0 vlm-quantize narrow --method rtn --json -o out.vlmp --force
json stdout 'd["auto_channels"] == 2 and d["fallbacks"] == 0'
rm -f out.vlmp*
refuses 3 '14 linears fall back .*first: text.layers.0.attn.q.*--allow-fallbacks 14' \
    vlm-quantize narrow --method rtn --group 128 -o out.vlmp
grep -q 'warning: the group asked for does not divide the inputs of 14 linears' stderr && pass ||
    fail "no warning"
check "refused before work: $(left)" test -z "$(left)"
exits 0 vlm-quantize narrow --method rtn --group 128 --dry-run --json
json stdout 'd["group_fallbacks"] == 14 and sum("group_fallback" in l for l in d["linears"]) == 14'
exits 0 vlm-quantize narrow --method rtn --group 128 --allow-fallbacks 14 -o out.vlmp --json
json stdout 'd["fallbacks"] == 14'
