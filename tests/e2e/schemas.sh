#!/bin/bash
# Every --json document, and every event, obeys its schema in docs/schemas/; where a command fails before it has one, there is none.
. "$(dirname "$0")/lib.sh"
schemas=$VLMP_ROOT/docs/schemas

# obeys SCHEMA CODE COMMAND…: the exit status, and the document.
number=0
obeys() {
    local schema=$1
    exits "$2" "${@:3}" --json
    number=$((number + 1))
    mv stdout "$schema.$number.json"
    check "$schema: ${*:3}" python3 "$VLMP_ROOT/tests/e2e/schema_check.py" "$schemas/$schema.json" "$schema.$number.json"
    seen="${seen- }$schema "
}
# silent CODE COMMAND…: no document.
silent() {
    exits "$1" "${@:2}" --json
    check "a document of a failure: ${*:2}" test ! -s stdout
}

python3 "$VLMP_ROOT/tests/e2e/make_tiny.py" "$model" tiny
mkdir pictures
cp "$VLMP_ROOT/demo/calib/images/"000[0-3].* pictures
echo x >pictures/broken.png
obeys calibrate 0 vlm-calibrate tiny --data "$calib_data" --samples 16 -o c.calib
obeys calibrate 0 vlm-calibrate tiny --data pictures --skip-broken 1 --date 2026-01-02 --audit-tokens 50 -o p.calib
silent 4 vlm-calibrate tiny --data pictures -o n.calib

obeys quantize-plan 0 vlm-quantize tiny --method rtn --dry-run -o n.vlmp
obeys quantize-plan 0 vlm-quantize tiny --method rtn --codes fp8 --dry-run -o n.vlmp
obeys quantize-plan 0 vlm-quantize tiny --method gptq --group 128 --calib c.calib --dry-run -o n.vlmp
obeys quantize 0 vlm-quantize tiny --method rtn -o r.vlmp
obeys quantize 0 vlm-quantize tiny --method gptq --asymmetric --calib c.calib --tokens 300 -o g.vlmp
obeys quantize 0 vlm-quantize tiny --method gptq --calib c.calib --tokens all -o a.vlmp
obeys quantize 0 vlm-quantize tiny --method gptq --calib c.calib --tokens 20 -o f.vlmp
json quantize.$number.json '"picture_stride" in d["tokens"]'
obeys quantize-plan 0 vlm-quantize tiny --calib c.calib --budget 7 --dry-run -o b.vlmp
obeys quantize 0 vlm-quantize tiny --calib c.calib --budget 7 -o b.vlmp --save-recipe recipe.json
silent 2 vlm-quantize tiny --method awq -o n.vlmp

over=(--data "$eval_data" --samples 3 --max-new-tokens 6)
obeys eval 0 vlm-eval tiny g.vlmp --reference tiny "${over[@]}" --save-reference r.ref
json eval.*.json '[set(r) >= {"bleu_difference", "cider_difference"} for r in d["results"]] == [False, True]'
cp eval.*.json old.json
obeys eval 0 vlm-eval g.vlmp --reference r.ref "${over[@]}" --baseline old.json
obeys eval 3 vlm-eval g.vlmp --reference r.ref "${over[@]}" --gate 'bleu.4>2'
obeys eval 0 vlm-eval g.vlmp "${over[@]}" --metrics ppl
obeys eval 0 vlm-eval g.vlmp --reference tiny --data pictures --skip-broken 1 --max-new-tokens 6
obeys eval-sensitivity 0 vlm-eval tiny --sensitivity c.calib
obeys eval-ablate 0 vlm-eval g.vlmp --ablate components --reference tiny --data "$eval_data" --samples 3
silent 2 vlm-eval g.vlmp "${over[@]}" --gate 'kl<=1'

obeys run 0 vlm-run g.vlmp --prompt "What is this?" --image pictures/0000.png --max-new-tokens 2
silent 4 vlm-run g.vlmp --prompt x --image pictures/broken.png

for file in tiny g.vlmp r.vlmp; do obeys inspect 0 vlm-inspect $file; done
obeys inspect 0 vlm-inspect g.vlmp --verify
obeys inspect-file 0 vlm-inspect c.calib
obeys inspect-file 0 vlm-inspect r.ref --verify
for file in tiny g.vlmp r.vlmp; do obeys inspect-explain 0 vlm-inspect $file --explain text.layers.0.mlp.up; done
obeys inspect-explain 0 vlm-inspect g.vlmp --explain text.head
for other in r.vlmp g.vlmp tiny; do obeys inspect-diff 0 vlm-inspect g.vlmp --diff $other; done
silent 4 vlm-inspect nowhere

obeys plan 0 vlm-plan tiny
obeys plan 0 vlm-plan tiny/config.json
obeys plan 0 vlm-plan g.vlmp --picture none
obeys plan 0 vlm-plan tiny --memory 1G --device-spec rtx4090 --qps 5 --latency 2
silent 2 vlm-plan tiny --device-spec none
obeys doctor 0 vlm-doctor
obeys export 0 vlm-export g.vlmp --format compressed-tensors --dry-run
obeys export 0 vlm-export r.vlmp --format compressed-tensors -o exported
obeys inspect 0 vlm-inspect exported
obeys export-imatrix 0 vlm-export tiny --calib c.calib --imatrix m.gguf
silent 4 vlm-export tiny --format gptq -o n

# Events: a calibration, a quantization, an evaluation, a warning, a failure.
events() { # CODE COMMAND…
    exits "$1" "${@:2}" --json-progress 3 3>>events.jsonl
}
events 0 vlm-calibrate tiny --data "$calib_data" --samples 4 -o e.calib
events 0 vlm-quantize tiny --method gptq --calib e.calib -o e.vlmp
events 0 vlm-eval e.vlmp --reference tiny "${over[@]}" --report e.html
events 0 vlm-inspect e.vlmp --verify
mkdir w.vlmp.run.json
events 0 vlm-quantize tiny --method rtn -o w.vlmp
events 4 vlm-run nowhere --prompt x
check "each event obeys" python3 "$VLMP_ROOT/tests/e2e/schema_check.py" "$schemas/progress.json" events.jsonl
seen="${seen}progress "
check "every kind is met" test "$(grep -o '"event":"[a-z]*"' events.jsonl | sort -u | wc -l)" = 5
check "each run ends" test "$(grep -c '"event":"exit"' events.jsonl)" = 6
for change in 's/"event":"begin"/"event":"start"/' 's/"stage":/"phase":/' 's/"time":[0-9.]*/"time":null/'; do
    sed "$change" events.jsonl >changed.jsonl
    check "not found: $change" bash -c '! python3 "$1/tests/e2e/schema_check.py" "$2" changed.jsonl >faults && test -s faults' \
        - "$VLMP_ROOT" "$schemas/progress.json"
done

for schema in "$schemas"/*.json; do
    name=$(basename "$schema" .json)
    check "$name has a document here" test "${seen/ $name /}" != "$seen"
done
# What does not obey is found.
for change in 'd["extra"] = 1' 'del d["findings"]' 'd["findings"][0]["name"] = 1' 'd["schema"] = 2' \
    'd["findings"][0]["values"]["x"] = "y"'; do
    python3 -c "
import json, sys
d = json.load(sys.stdin)
$change
json.dump(d, sys.stdout)" <doctor.*.json >changed.json
    check "not found: $change" bash -c '! python3 "$1/tests/e2e/schema_check.py" "$2" changed.json >faults && test -s faults' \
        - "$VLMP_ROOT" "$schemas/doctor.json"
done
