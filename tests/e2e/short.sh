#!/bin/bash
# Every program once on a few samples: the way through for a sanitized build.
. "$(dirname "$0")/lib.sh"

exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 6 -o c.calib
for method in rtn int8 gptq awq awq+gptq; do
    exits 0 vlm-quantize "$model" --method $method --calib c.calib -o $method.vlmp
done
exits 0 vlm-quantize "$model" --recipe "$VLMP_ROOT/demo/mixed.json" --calib c.calib -o mixed.vlmp
exits 0 vlm-quantize "$model" --method int8 --activations int8 -o int8a.vlmp --json
json stdout 'd["schema"] == 1'
exits 0 vlm-quantize "$model" --method gptq --asymmetric --group 32 --no-sequential --calib c.calib \
    -o asymmetric.vlmp
exits 0 vlm-eval int8a.vlmp asymmetric.vlmp mixed.vlmp --reference "$model" --data "$eval_data" \
    --samples 2 --max-new-tokens 8 --save-reference r.ref --report r.html --junit j.xml --summary s.md \
    --json
json stdout 'len(d["results"]) == 3 and all(r["kl"]["mean"] < 0.05 for r in d["results"])'
json stdout 'all(len(s["kl"]) == s["tokens"] and s["answer"] for r in d["results"] for s in r["per_sample"])'
check "the report stands alone" python3 "$VLMP_ROOT/tests/e2e/report_check.py" r.html "Quality against size" \
    "Perplexity against the original" "Error by layer" "Speed and memory" "--recipe" mixed.vlmp
exits 0 vlm-eval gptq.vlmp --reference r.ref --data "$eval_data" --samples 2 --metrics ppl,kl \
    --fast-activations
exits 0 vlm-run mixed.vlmp --image "$VLMP_ROOT/demo/eval/images/0000.png" --max-new-tokens 6 \
    --prompt "Describe the picture." --temperature 0.7 --seed 3 --print-prompt
check "an answer" test -s stdout
check "the prompt" grep -q 'Describe the picture' stderr
check "the figures" grep -q 'peak memory' stderr
for file in c.calib r.ref mixed.vlmp "$model"; do
    exits 0 vlm-inspect $file
    exits 0 vlm-inspect $file --json
    json stdout 'isinstance(d, dict)'
done
for file in *.vlmp; do exits 0 vlm-inspect "$file" --verify; done

# A folder of pictures has neither questions nor answers: the model's own stand in.
mkdir pictures
cp "$VLMP_ROOT/demo/calib/images/"000[0-3].* pictures
exits 0 vlm-calibrate "$model" --data pictures -o p.calib --json
json stdout 'd["chosen"] == 4 and d["stand_in_answers"] == 4'
exits 0 vlm-eval rtn.vlmp --reference "$model" --data pictures --metrics kl --json
json stdout 'd["results"][0]["kl"]["mean"] > 0'
