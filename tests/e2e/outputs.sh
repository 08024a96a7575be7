#!/bin/bash
# Outputs that are inputs, named twice, or nowhere to go: refused before any work, the inputs unchanged.
. "$(dirname "$0")/lib.sh"
head -2 "$eval_data" >data.jsonl
cp -r "$VLMP_ROOT/demo/eval/images" images
cp -r "$model" own
exits 0 vlm-calibrate own --data data.jsonl -o c.calib -q
exits 0 vlm-eval own --reference own --data data.jsonl --metrics kl --save-reference r.ref --json
echo '{"default": "awq_4bit"}' >recipe.json
all_files() { find . -type f ! -name 'std*' ! -name before ! -name after -exec sha256sum {} + | sort; }
all_files >before

kept() { # PATTERN COMMAND…
    refuses 2 "$@"
    all_files >after
    same before after
}
ln data.jsonl link.jsonl && rm link.jsonl # hard links work here
for folder in own ./own "$PWD/own"; do
    kept 'model.safetensors: is a file of the input' \
        vlm-calibrate own --data data.jsonl -o "$folder/model.safetensors" --force
done
kept 'data.jsonl: is an input' vlm-calibrate own --data data.jsonl -o ./data.jsonl --force
kept 'config.json: is a file of the input' vlm-quantize own --method rtn -o own/config.json --force
kept 'c.calib: is an input' vlm-quantize own --method gptq --calib c.calib -o "$PWD/c.calib" --force
kept 'recipe.json: is an input' vlm-quantize own --recipe recipe.json --calib c.calib -o recipe.json --force
for option in report junit summary; do
    kept 'data.jsonl: is an input' vlm-eval own --data data.jsonl --$option data.jsonl --force
    kept 'r.ref: is an input' vlm-eval own --data data.jsonl --reference r.ref --$option r.ref --force
    kept 'tokenizer.json: is a file of the input' vlm-eval own --data data.jsonl --$option own/tokenizer.json --force
done
kept 'own/config.json: is a file of the input' \
    vlm-eval own --reference own --data data.jsonl --save-reference own/config.json --force
kept 'two outputs have this name' vlm-eval own --data data.jsonl --report x.html --summary ./x.html
# Nor where one look at the files fails: what cannot be seen to be apart is not written.
if [ -z "${VLMP_SANITIZED-}" ]; then
    for call in 1 2 3 4 5 6 7 8; do
        for output in data.jsonl own/config.json; do
            VLMP_FAULT=io:$call:fail LD_PRELOAD=$VLMP_INJECT vlm-calibrate own --data data.jsonl -o $output \
                --samples 1 --force -q >/dev/null 2>&1 || true
            all_files >after
            same before after
        done
    done
fi
mkdir folder
exits 0 vlm-calibrate own --data data.jsonl -o own/new.calib -q # beside the model, not in its place
exits 0 vlm-calibrate own --data data.jsonl -o own/new.calib -q --force

# A closed standard output is no file that something else may take the place of.
refuses 1 'standard output is closed' bash -c 'vlm-inspect own >&-'
refuses 1 'standard output is closed' bash -c 'vlm-eval own --data data.jsonl --metrics ppl --json >&-'
refuses 1 'standard output is closed' bash -c 'vlm-calibrate own --data data.jsonl -o closed.calib --json >&-'
check "nothing was written" test ! -e closed.calib
exits 0 bash -c 'vlm-calibrate own --data data.jsonl -o quiet.calib 2>&-'
exits 0 vlm-inspect quiet.calib --verify
