#!/bin/bash
# 3 bits from end to end: every method, what is in the file, answers of few and many rows, and the
# refusals. Its size beside the planned one: plan.sh.
. "$(dirname "$0")/lib.sh"

python3 "$VLMP_ROOT/tests/e2e/make_tiny.py" "$model" tiny
exits 0 vlm-calibrate tiny --data "$calib_data" --samples 16 -o c.calib
for method in rtn gptq awq awq+gptq; do
    for zeros in symmetric asymmetric; do
        exits 0 vlm-quantize tiny --calib c.calib --method "$method" --bits 3 --group 32 --$zeros -o three.vlmp --force
        exits 0 vlm-inspect three.vlmp --verify
    done
done
exits 0 vlm-inspect three.vlmp --json
json stdout 'any(t["name"].endswith(".codes1") and t["dtype"] == "U8" for t in d["tensors"])'
check "an older reader is told what it lacks" grep -aqF '[\"codes-3\",\"zeros\"]' three.vlmp
exits 0 vlm-inspect three.vlmp --explain text.layers.0.attn.q
check "how it is stored" grep -q '^stored     W3, float activations, with zeros, a scale for 32 inputs$' stdout

# The same file again, and answers that do not depend on the threads.
exits 0 vlm-quantize tiny --calib c.calib --method awq+gptq --bits 3 --group 32 --asymmetric --threads 1 -o again.vlmp
same again.vlmp three.vlmp
for activations in "" --fast-activations; do
    for threads in 1 2; do
        exits 0 vlm-run three.vlmp $activations --prompt "What is it?" --max-new-tokens 6 --threads $threads
        mv stdout answer$threads
    done
    same answer1 answer2
done

# Other formats have them as the 4-bit codes of the same weights: nothing that is computed differs.
exits 0 vlm-quantize tiny --method rtn --bits 3 --group 32 --for vllm -o plain.vlmp
for case in three:compressed-tensors three:gptq three:awq plain:compressed-tensors plain:gptq plain:awq; do
    file=${case%:*}.vlmp format=${case#*:}
    exits 0 vlm-export $file --format $format --for transformers -o folder
    exits 0 python3 "$VLMP_ROOT/tests/e2e/export_check.py" $file folder
    exits 0 vlm-eval $file folder --reference tiny --data "$eval_data" --samples 3 --metrics kl --json
    json stdout 'd["results"][0]["kl"] == d["results"][1]["kl"]'
    rm -r folder
done
refuses 4 'no type of this format holds 3-bit codes' vlm-export plain.vlmp --format gguf -o folder
refuses 4 'no type of this format holds 3-bit codes' vlm-quantize tiny --method rtn --bits 3 --for llamacpp -o x.vlmp
echo '{"version": 1, "rules": [{"match": "*", "scheme": {"method": "rtn", "bits": 2}}]}' >two.json
refuses 4 '2 bits are not supported: with four levels' vlm-quantize tiny --recipe two.json -o x.vlmp
check "nothing is left" test ! -e x.vlmp -a ! -e folder
