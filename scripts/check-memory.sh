#!/bin/bash
# Peak resident memory, mapped pages included, of 20 and of 40 layers: it may differ by 5 %.
#
#     scripts/check-memory.sh TOOLS [HIDDEN INTERMEDIATE SAMPLES [quick]]
#
# TOOLS is the folder of the built programs. The default makes text blocks of 68 MB of BF16 weights, of
# which it writes two models (1.4 and 2.8 GB) into a temporary folder (TMPDIR); it takes many minutes,
# most of them for GPTQ, which quick leaves out.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$(cd "${1:?the folder of the built programs}" && pwd)
hidden=${2:-2048} intermediate=${3:-2816} samples=${4:-8}
PATH=$tools:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

for layers in 20 40; do
    model=model-$layers out=$layers
    python3 "$root/tests/e2e/make_deep.py" "$root/demo/model" $model $layers $hidden $intermediate
    peak() { # label, command…
        local start=$SECONDS label=$1
        python3 "$root/tests/e2e/peak.py" peaks-$layers "$@" >/dev/null
        echo "$label, $layers layers: $((SECONDS - start)) s" >&2
    }
    peak calibrate vlm-calibrate $model --data "$root/demo/calib/data.jsonl" --samples $samples \
        -o $out.calib -q
    peak quantize-rtn vlm-quantize $model --method rtn -o $out.rtn.vlmp -q
    for target in outputs weights; do
        [ "${5-}" = quick ] || peak gptq-$target vlm-quantize $model --method gptq --target $target --calib $out.calib \
            -o $out.$target.vlmp -q --allow-fallbacks 1000
    done
    peak eval-ppl-kl vlm-eval $out.rtn.vlmp --reference $model --data "$root/demo/eval/data.jsonl" \
        --samples $samples --metrics ppl,kl -q
    rm -rf $model $out.*
done

python3 - <<'END'
import sys
rows = {}
for layers in (20, 40):
    with open("peaks-%d" % layers, encoding="utf-8") as file:
        for line in file:
            label, peak = line.split()
            rows.setdefault(label, []).append(int(peak))
bad = 0
print("%-16s %12s %12s %8s" % ("", "20 layers", "40 layers", "differs"))
for label, (few, many) in rows.items():
    share = many / few - 1
    bad += share > 0.05
    print("%-16s %9.1f MB %9.1f MB %7.1f %%%s" % (
        label, few / 1e6, many / 1e6, 100 * share, "  more than 5 %" if share > 0.05 else ""))
sys.exit(1 if bad else 0)
END
