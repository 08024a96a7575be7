#!/bin/bash
# ThreadSanitizer (Clang) over the unit, golden and kernel tests and one pass of all programs over the
# demo model. Silent findings do not exist: the first race ends its test.
#
#     scripts/check-threads.sh [FOLDER]    build folder (default build-threads)
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
out=${1:-build-threads}
if [ ! -f "$out/build.ninja" ]; then
    CC=clang meson setup "$out" -Dbuildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false -Db_ndebug=false \
        >/dev/null || exit 1
fi
ninja -C "$out" >"$out/build.log" || {
    grep -E 'FAILED|error' "$out/build.log"
    exit 1
}
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=$PWD/tests/threads.supp
meson test -C "$out" --no-rebuild --print-errorlogs --suite unit --suite golden --suite kcheck -t 10 || exit 1

# The programs with four threads: sweep, quantization with several solvers, scoring, generation.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tools=$out/tools
set -e
"$tools/vlm-calibrate" demo/model --data demo/calib/data.jsonl --samples 16 -o "$work/c.calib" --threads 4 -q
"$tools/vlm-quantize" demo/model --calib "$work/c.calib" --method awq+gptq -o "$work/m.vlmp" --threads 4 -q
"$tools/vlm-eval" "$work/m.vlmp" --data demo/eval/data.jsonl --samples 4 --reference demo/model --threads 4 \
    --max-new-tokens 8 --json -q >/dev/null
"$tools/vlm-run" "$work/m.vlmp" --prompt Hi --max-new-tokens 4 --threads 4 -q >/dev/null
echo "no race found"
