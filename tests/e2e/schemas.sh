#!/bin/bash
# Every --json document obeys its schema in docs/schemas/; where a command fails before it has one, there is none.
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
    seen="${seen-} $schema"
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
silent 4 vlm-export tiny --format gptq -o n

for schema in "$schemas"/*.json; do
    name=$(basename "$schema" .json)
    check "$name has a document here" test "$(grep -cw -- "$name" <<<"$seen")" -gt 0
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
