#!/bin/bash
# A budget: what rounding costs is measured once, the choice fits to the byte, is an ordinary recipe,
# and never does more damage with more bits.
. "$(dirname "$0")/lib.sh"

python3 "$VLMP_ROOT/tests/e2e/make_tiny.py" "$model" tiny
exits 0 vlm-calibrate tiny --data "$calib_data" --samples 16 -o c.calib
quantize() { vlm-quantize tiny --calib c.calib "$@"; }
chosen() { sed -n 's/^chosen: \([0-9.]*\) bits per weight, damage \([^ ]*\) .*/\1 \2/p' stderr; }

# Measured once, kept beside the calibration, with the number of passes.
exits 0 vlm-eval tiny --sensitivity c.calib --json
cp stdout table.json
check "it was measured" grep -q '^measuring: ' stderr
json table.json 'd["samples"] == 2 and d["tokens"] > 0 and d["passes"] > len(d["sites"]) / 4'
json table.json 'all(sum(k is not None and k > 0 for k in s["kl"]) == 1 for s in d["sites"])'
json table.json '{s["site"] for s in d["sites"]} > {"text.layers.0.attn.[qkv]", "vision.layers.1.mlp.fc2",
    "projector.0", "text.embed", "text.head", "text.layers.1.mlp.[gu]*"}'
exits 0 vlm-eval tiny --sensitivity c.calib --json
check "it was measured again" test ! -s stderr
same table.json stdout
same table.json c.calib.sensitivity.json
exits 0 vlm-eval tiny --sensitivity c.calib
check "a line for each site" grep -qE '^text.head +[0-9]' stdout
check "passes are told" grep -q 'passes of the model' stdout

# Budgets: within what was asked for, damage never rises.
last=1e9
for bits in 6.5 6.6 7 7.5 8 9 10 16; do
    exits 0 quantize --budget $bits --dry-run
    check "$bits bits: $(chosen), after $last" python3 -c '
import sys
last, bits, used, damage = map(float, sys.argv[1:])
sys.exit(not (used <= bits + 5e-4 and damage <= last))' "$last" $bits $(chosen)
    last=$(chosen | cut -d' ' -f2)
done
check "16 bits keep everything" test "$last" = 0

# The file is what the recipe makes of it; q, k and v share a scheme.
exits 0 quantize --budget 7 -o b.vlmp --save-recipe r.json
exits 0 quantize --recipe r.json -o again.vlmp
same b.vlmp again.vlmp
exits 0 quantize --budget 7 --dry-run --json
json stdout 'len({(l.get("bits"), l.get("group")) for l in d["linears"] if ".0.attn." in l["name"] and
    l["name"].startswith("text") and l["name"][-1] in "qkv"}) == 1'
refuses 2 'r.json' quantize --budget 7 -o x.vlmp --save-recipe r.json

# What each component costs: of a file with one, that is all; of the whole file, what vlm-eval says.
judge() { vlm-eval "$@" --reference tiny --data "$eval_data" --samples 6 --json; }
exits 0 judge b.vlmp --metrics kl,ppl
kl=$(python3 -c 'import json; print(json.load(open("stdout"))["results"][0]["kl"]["mean"])')
exits 0 judge b.vlmp --ablate components
json stdout "abs(d['all']['kl'] / $kl - 1) < 1e-9 and [c['component'] for c in d['components']] == ['vision', 'projector', 'embed',
    'text', 'head'] and all(c['alone']['kl'] > 0 and c['without']['kl'] > 0 for c in d['components'])"
echo '{"version": 1, "rules": [{"match": "text.head", "scheme": "rtn_4bit"}, {"match": "*", "scheme": null}]}' >h.json
exits 0 vlm-quantize tiny --recipe h.json -o head.vlmp
exits 0 judge head.vlmp --ablate components
json stdout "len(d['components']) == 1 and d['components'][0]['alone'] == d['all']"
json stdout "d['all']['kl'] > 0 and abs(d['components'][0]['without']['kl']) < 1e-12"
exits 0 vlm-eval head.vlmp --reference tiny --data "$eval_data" --samples 6 --ablate components
check "a line for the component" grep -qE '^head +[0-9]' stdout
refuses 2 'one packed file with --reference' vlm-eval b.vlmp --data "$eval_data" --ablate components
refuses 4 'nothing of it is quantized' judge tiny --ablate components

# Sizes: at most what was asked for, and not far from it.
for size in 460000 460K 500000; do
    exits 0 quantize --max-size $size -o s.vlmp --force
    check "$size: $(stat -c %s s.vlmp) bytes" python3 -c '
import sys
most = int(sys.argv[1].replace("K", "")) * (1024 if "K" in sys.argv[1] else 1)
sys.exit(not most - 8192 <= int(sys.argv[2]) <= most)' $size "$(stat -c %s s.vlmp)"
done

# The least is told, and can be had.
for option in --budget --max-size; do
    refuses 4 'the least .* is [0-9.]+ (bits|bytes)' quantize $option 3 -o x.vlmp
    least=$(sed -n 's/.* is \([0-9.]*\) bi\?.*/\1/p;s/.* is \([0-9]*\) bytes.*/\1/p' stderr | head -1)
    exits 0 quantize $option "$least" --dry-run
done
for more in 64 500 4000; do # a header that depends on the choice
    exits 0 quantize --max-size $((least + more)) --dry-run
done
refuses 2 'max-size: .0. is not a size' quantize --max-size 0 -o x.vlmp

# What an engine cannot load is not chosen.
for engine in vllm sglang transformers llamacpp; do
    exits 0 quantize --budget 12 --for $engine --dry-run
done

refuses 2 'give --calib' vlm-quantize tiny --budget 5 -o x.vlmp
refuses 2 'budget and --recipe contradict' quantize --budget 5 --recipe r.json -o x.vlmp
refuses 2 'budget and --bits contradict' quantize --budget 5 --bits 4 -o x.vlmp
refuses 2 'max-size and --group contradict' quantize --max-size 1M --group 64 -o x.vlmp
refuses 2 'int8 contradict' quantize --budget 5 --method int8 -o x.vlmp
refuses 2 'budget.*max-size|max-size.*budget' quantize --budget 5 --max-size 1M -o x.vlmp
refuses 2 'save-recipe keeps' quantize --method rtn --save-recipe x.json -o x.vlmp
refuses 2 'takes one model and no --data' vlm-eval tiny --sensitivity c.calib --data "$eval_data"

refuses 2 'sensitivity and --gate contradict' vlm-eval tiny --sensitivity c.calib --gate 'kl.mean<=1'
refuses 2 'ablate and --junit contradict' judge b.vlmp --ablate components --junit x.xml

# Without a picture held out nothing is known of the tower.
grep -m1 '"image"' "$calib_data" >one.jsonl
for i in 1 2 3 4 5; do echo '{"prompt": "Say '$i'.", "answers": ["'$i' is said"]}'; done >>one.jsonl
exits 0 vlm-calibrate tiny --data one.jsonl --image-root "${calib_data%/*}" -o one.calib
refuses 4 'held out to measure on has a picture' vlm-eval tiny --sensitivity one.calib
check "no table is left" test ! -e one.calib.sensitivity.json

# A table of another calibration is measured anew; a damaged one is refused.
exits 0 vlm-calibrate tiny --data "$calib_data" --samples 12 -o other.calib
cp c.calib.sensitivity.json other.calib.sensitivity.json
exits 0 vlm-eval tiny --sensitivity other.calib
check "says so" grep -q 'is of another calibration; measuring anew' stderr
check "is replaced" test "$(cmp c.calib.sensitivity.json other.calib.sensitivity.json | wc -l)" = 1
sed 's/"program": "[0-9a-f]*"/"program": "'"$(printf %064d 0)"'"/' c.calib.sensitivity.json >other.calib.sensitivity.json
cp c.calib other.calib
exits 0 vlm-eval tiny --sensitivity other.calib
check "says so" grep -q 'is of another version of the program; measuring anew' stderr
same c.calib.sensitivity.json other.calib.sensitivity.json

# --tokens: what the rounding sees, and the table remembers it.
exits 0 vlm-eval tiny --sensitivity other.calib --tokens 100
check "says so" grep -q 'is of another processor, --seed or --tokens; measuring anew' stderr
check "is another" test "$(cmp c.calib.sensitivity.json other.calib.sensitivity.json | wc -l)" = 1
exits 0 vlm-quantize tiny --calib other.calib --budget 7 --tokens 100 --dry-run
check "it was measured again" test -z "$(grep measuring stderr)"
refuses 2 'tokens is of --sensitivity' judge tiny --tokens 100
sed -i 's/"kl": \[/"kl": [-1,/' c.calib.sensitivity.json
refuses 4 'remove the file' vlm-eval tiny --sensitivity c.calib
