#!/bin/sh
# One command from a fresh Debian 12 to the accuracy table: installs what is missing, builds, calibrates
# the demo model, quantizes it five ways and measures each result on pictures that it has not seen.
#
#     scripts/demo.sh [FOLDER]    results go to FOLDER (default build/demo)
set -eu
cd "$(dirname "$0")/.."
out=${1:-build/demo}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR-}" ] || say() { printf '\n%s\n' "$*"; }
run() {
    say "$ $*"
    "$@"
}

scripts/setup.sh
if [ ! -f build/build.ninja ]; then
    meson setup -Dtests=false build
fi
say "building"
ninja -C build
PATH=$PWD/build/tools:$PATH
mkdir -p "$out"

calib=$out/demo.calib
run vlm-calibrate demo/model --data demo/calib/data.jsonl --samples 128 -o "$calib" --force
for method in int8 gptq awq awq+gptq; do
    run vlm-quantize demo/model -q --calib "$calib" --method $method -o "$out/$method.vlmp" --force
done
run vlm-quantize demo/model -q --calib "$calib" --recipe demo/mixed.json -o "$out/mixed.vlmp" --force
run vlm-eval demo/model "$out/int8.vlmp" "$out/gptq.vlmp" "$out/awq.vlmp" "$out/awq+gptq.vlmp" \
    "$out/mixed.vlmp" --reference demo/model --data demo/eval/data.jsonl \
    --report "$out/report.html" --force
run vlm-run "$out/mixed.vlmp" --image demo/eval/images/0000.png --prompt "Describe the picture."

say "The packed files are in $out; the report with all figures is $out/report.html."
