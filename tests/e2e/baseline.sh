#!/bin/bash
# --baseline: an earlier run of the same samples decides, in both directions.
. "$(dirname "$0")/lib.sh"

exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 8 -o c.calib
mkdir good bad
exits 0 vlm-quantize "$model" --method gptq --calib c.calib -o good/m.vlmp
exits 0 vlm-quantize "$model" --method rtn --group 128 --calib c.calib -o bad/m.vlmp
over=(--reference "$model" --data "$eval_data" --samples 16 --metrics ppl,kl,bleu,cider --max-new-tokens 16)
exits 0 vlm-eval good/m.vlmp "${over[@]}" --save-reference r.ref --json
mv stdout good.json
over[1]=r.ref
verdicts='{c["metric"]: c["verdict"] for c in d["results"][0]["baseline"]}'

# The same again: nothing changed, and each interval is 0 … 0.
exits 0 vlm-eval good/m.vlmp "${over[@]}" --json --baseline good.json
json stdout "set($verdicts.values()) == {'same'} and len($verdicts) == 6"
json stdout 'all(c["change_ci95"] == {"lo": 0, "hi": 0} for c in d["results"][0]["baseline"])'

# Worse, by divergence at least: exit 3, named in every output.
exits 3 vlm-eval bad/m.vlmp "${over[@]}" --json --baseline good.json --junit j.xml --report r.html
cp stdout bad.json
json stdout "$verdicts['kl.mean'] == 'worse'"
json stdout 'all(g["pass"] != (c["verdict"] == "worse")
    for g, c in zip(d["results"][0]["gates"], d["results"][0]["baseline"], strict=True))'
exits 3 vlm-eval bad/m.vlmp "${over[@]}" --baseline good.json --summary s.md
check "the summary has both values" grep -q '^\* against the baseline: kl.mean: .* → .*: worse$' s.md
check "JUnit names it" grep -q 'name="kl.mean&lt;=baseline">' j.xml
check "JUnit has both values" grep -q '<failure message="kl.mean: [0-9.e-]* → [0-9.e-]*, change .*: worse"' j.xml
check "the report names it" python3 "$VLMP_ROOT/tests/e2e/report_check.py" r.html 'kl.mean<=baseline' ': worse'
check "the table names it" grep -q '^baseline: m.vlmp: kl.mean: .*: worse$' stdout

# The other way round it is better, and a gate that holds stays one.
exits 0 vlm-eval good/m.vlmp "${over[@]}" --json --baseline bad.json --gate 'kl.mean<=1'
json stdout "$verdicts['kl.mean'] == 'better' and d['results'][0]['gates'][0]['expr'] == 'kl.mean<=1'"

# What cannot be compared is refused before any work.
refused() { # PATTERN BASELINE OPTIONS…
    refuses 4 "$1" vlm-eval good/m.vlmp "${over[@]}" --baseline "${@:2}"
    check "nothing was computed" test "$(grep -c scoring stderr)" = 0
}
sed 's/"data_digest": "./"data_digest": "x/' good.json >other.json
refused 'other.json: evaluated other samples' other.json
sed 's/"max_new_tokens": 16/"max_new_tokens": 17/' good.json >longer.json
refused 'longer.json: made with --max-new-tokens 17' longer.json
refuses 4 'longer.json: made with --max-new-tokens 17' vlm-eval good/m.vlmp --reference r.ref --data "$eval_data" \
    --samples 16 --max-new-tokens 16 --metrics kl --baseline longer.json
grep -v '"data_digest"' good.json >older.json
refused 'older.json: no baseline: it lacks the values of each sample' older.json
echo '{"schema": 1, "data_digest": "x", "results": [{"model": "m.vlmp"}]}' >older.json
refused 'older.json: no baseline' older.json
echo '[' >broken.json
refused 'broken.json' broken.json
sed 's/"schema": 1/"schema": 2/' good.json >newer.json
refused 'newer.json: no baseline' newer.json
# Other answers to the same questions: BLEU would count against other references.
python3 -c '
import json, sys
for line in open(sys.argv[1]):
    d = json.loads(line)
    d["image"] = sys.argv[2] + "/" + d["image"].split("/")[-1]
    print(json.dumps(d | {"answers": d["answers"] + ["another"]}))' "$eval_data" images >answers.jsonl
refuses 4 'good.json: evaluated other samples, or other answers' vlm-eval good/m.vlmp --metrics ppl --data answers.jsonl \
    --image-root "$VLMP_ROOT/demo/eval" --samples 16 --max-new-tokens 16 --baseline good.json
exits 0 vlm-eval good/m.vlmp --data "$eval_data" --samples 1 --metrics ppl --json
mv stdout one.json
refuses 4 'one.json: one sample has no interval' vlm-eval good/m.vlmp --data "$eval_data" --samples 1 --metrics ppl \
    --baseline one.json
# What the baseline has and this run did not measure is said.
exits 0 vlm-eval good/m.vlmp --reference r.ref --data "$eval_data" --samples 16 --max-new-tokens 16 --metrics kl \
    --baseline good.json
check "what is not judged is noted" grep -q 'the baseline has ppl, which this run did not measure' stdout
cp good/m.vlmp n.vlmp
refuses 4 'good.json: has no results of n.vlmp' vlm-eval good/m.vlmp n.vlmp "${over[@]}" --baseline good.json
refuses 2 'good.json' vlm-eval good/m.vlmp "${over[@]}" --baseline good.json --report good.json --force
# One file of another name is meant where there is one alone.
exits 0 vlm-eval n.vlmp "${over[@]}" --baseline good.json
# Values that were changed by hand are no values.
for change in 's/"kl":\[/"kl":[1,/' 's/"kl":\[/"kl":[-/' 's/"correct":\[/"correct":["x",/' 's/"tokens":/"tokens":1/' \
    '0,/"kl":\[[^]]*\],/s///' '0,/^ *{"line".*/s///'; do
    sed "$change" good.json >damaged.json
    refused 'damaged.json: ' damaged.json
done
sed 's/"reference_nll":/"reference_nll":1/' good.json >original.json
refuses 4 'original.json: was compared with another original' \
    vlm-eval good/m.vlmp "${over[@]}" --baseline original.json
