#!/bin/sh
# Calibrate, quantize, evaluate and run the tiny model of every text model of the LLaVA line, tower
# included, whose linears are awkward: 37 inputs have no group, 32 are one group.
# Usage: llava-line.sh TOOLS SOURCE-ROOT
set -eu
tools=$1 models=$2/tests/golden/models data=$2/tests/e2e
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
    echo "FAILED: $*"
    failed=$((failed + 1))
}

# expect STATUS COMMAND…: its output goes to $work/out.
expect() {
    want=$1
    shift
    got=0
    "$@" >"$work/out" 2>"$work/err" || got=$?
    [ "$got" -eq "$want" ] || fail "exit $got, not $want: $* ($(tail -n 1 "$work/err"))"
}

pictures="--image-root $models/pictures"
for name in llava-llama llava-mistral llava-qwen2 next-llama next-mistral next-llama3 next-qwen2; do
    model=$models/$name
    expect 0 "$tools/vlm-calibrate" "$model" --data "$data/line-calib.jsonl" $pictures --samples 16 \
        -o "$work/calib" --force
    i=0
    for how in "--method rtn" "--method gptq --asymmetric" "--method awq" "--method awq+gptq" \
        "--recipe @w4" "--recipe @seed"; do
        i=$((i + 1))
        expect 0 "$tools/vlm-quantize" "$model" $how --dry-run --json
        size=$(sed -n 's/^ "bytes": \([0-9]*\),$/\1/p' "$work/out")
        expect 0 "$tools/vlm-quantize" "$model" $how --calib "$work/calib" -o "$work/$i.vlmp" --force
        [ "$size" = "$(wc -c <"$work/$i.vlmp" | tr -d ' ')" ] || fail "$name $how: size is not $size"
        expect 0 "$tools/vlm-inspect" "$work/$i.vlmp" --verify
    done
    # Eight bits per channel cost little even at random weights; four must stay in sight of the model.
    expect 0 "$tools/vlm-eval" "$work/6.vlmp" --reference "$model" --data "$data/line-eval.jsonl" \
        $pictures --gate 'kl.mean<=0.02' --gate 'ppl_ratio<=1.05'
    expect 0 "$tools/vlm-eval" "$work/1.vlmp" "$work/2.vlmp" "$work/3.vlmp" "$work/4.vlmp" \
        "$work/5.vlmp" --reference "$model" --data "$data/line-eval.jsonl" $pictures \
        --gate 'kl.mean<=1'
    expect 0 "$tools/vlm-run" "$work/5.vlmp" --image "$models/pictures/wide.png" \
        --image "$models/pictures/thin.png" --prompt "What is here?" --max-new-tokens 4
    # A group that was asked for and does not divide is a fallback; one that was left open is not.
    expect 3 "$tools/vlm-quantize" "$model" --method rtn --group 32 -o "$work/group.vlmp" --force
    expect 0 "$tools/vlm-quantize" "$model" --method rtn --group 32 -o "$work/group.vlmp" --force \
        --allow-fallbacks 100
done

# What calibrated one model does not fit another.
expect 4 "$tools/vlm-quantize" "$models/next-llama" --method gptq --calib "$work/calib" \
    -o "$work/other.vlmp"
[ "$failed" -eq 0 ] || exit 1
