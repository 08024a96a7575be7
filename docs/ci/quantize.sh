#!/bin/sh
# One job of a pipeline: calibrate, quantize, evaluate with gates and against the last release, export.
#
#     quantize.sh MODEL CALIBRATION-DATA EVALUATION-DATA OUT [BASELINE.json]
#
# OUT gets model.vlmp, export/, eval.json (the next baseline), report.html, junit.xml and summary.md. Exit 3: a gate
# failed, or a metric is worse than in the baseline beyond its interval; reports are there then, the export is not.
# METHOD, RECIPE, SAMPLES, FORMAT and GATES (one a line) may be set in the environment.
set -eu
model=$1 calibration=$2 evaluation=$3 out=$4 baseline=${5-}
mkdir -p "$out"

set -- --method "${METHOD:-gptq}"
[ -z "${RECIPE-}" ] || set -- --recipe "$RECIPE"
vlm-calibrate "$model" --data "$calibration" --samples "${SAMPLES:-128}" -o "$out/model.calib" --force
vlm-quantize "$model" --calib "$out/model.calib" "$@" --allow-fallbacks 0 -o "$out/model.vlmp" --force

set --
while IFS= read -r gate; do
    [ -z "$gate" ] || set -- "$@" --gate "$gate"
done <<END_OF_GATES
${GATES:-ppl_ratio_ci95.hi<=1.03
kl.mean<=0.02}
END_OF_GATES
[ -z "$baseline" ] || set -- "$@" --baseline "$baseline"
status=0
vlm-eval "$out/model.vlmp" --reference "$model" --data "$evaluation" --metrics ppl,kl,bleu,cider "$@" \
    --report "$out/report.html" --junit "$out/junit.xml" --summary "$out/summary.md" --force --json \
    >"$out/eval.json" || status=$?
[ "$status" = 0 ] || exit "$status"
vlm-export "$out/model.vlmp" --format "${FORMAT:-compressed-tensors}" --report "$out/eval.json" -o "$out/export"
