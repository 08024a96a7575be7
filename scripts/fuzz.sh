#!/bin/bash
# Builds the fuzz targets with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer (Clang) and
# runs one after the other. Exit 1 when one finds something; the input is then in build-fuzz/found/.
#
#     scripts/fuzz.sh [SECONDS [NAME…]]    seconds a target (default 60); names: all
#
# What is learnt stays in build-fuzz/corpus/NAME for the next run. One line a target: seconds,
# executions, edges covered.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-60}
shift
out=build-fuzz
if [ ! -f $out/build.ninja ]; then
    CC=${CC:-clang} meson setup $out -Dfuzz=true -Dbuildtype=debugoptimized -Db_sanitize=address,undefined \
        -Db_lundef=false -Db_ndebug=false >/dev/null || exit 1
fi
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source##*/fuzz_}
        targets+=("${name%.c}")
    done
fi
ninja -C $out tests/fuzz/seed.stamp "${targets[@]/#/tests/fuzz/fuzz_}" >$out/build.log || {
    grep -E 'FAILED|error' $out/build.log
    exit 1
}
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
mkdir -p $out/found $out/logs
bad=0
for name in "${targets[@]}"; do
    mkdir -p "$out/corpus/$name"
    corpora=("$out/corpus/$name" "tests/fuzz/corpus/$name")
    [ -d "$out/tests/fuzz/seeds/$name" ] && corpora+=("$out/tests/fuzz/seeds/$name")
    [ "$name" = picture ] && corpora+=(tests/golden/images)
    [ "$name" = packed ] && corpora+=(tests/golden/packed)
    most=65536
    [ "$name" = gguf ] && corpora+=(tests/golden/import/gguf tests/golden/import/converted/*) most=163840
    "$out/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=$most \
        -print_final_stats=1 -artifact_prefix="$out/found/$name-" "${corpora[@]}" >"$out/logs/$name" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/logs/$name")
    edges=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$out/logs/$name" | tail -1)
    printf '%-12s %6s s %10s runs %6s edges %s\n' "$name" "$seconds" "${runs:-?}" "${edges:-?}" \
        "$([ $status = 0 ] && echo clean || echo "FOUND SOMETHING, see $out/logs/$name")"
    [ $status = 0 ] || bad=1
done
exit $bad
