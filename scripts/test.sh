#!/bin/bash
# All tests: GCC, Clang, and GCC with AddressSanitizer and UndefinedBehaviorSanitizer; warnings are
# errors. Last line: N passed, N failed, N skipped; exit 1 when something failed.
#
#     scripts/test.sh [FOLDER]    build folders go below FOLDER (default build-test)
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
out=${1:-build-test}
mkdir -p "$out"
scripts/setup.sh --tests || exit 1

passed=0 failed=0 skipped=0

# Builds a variant; one that does not build counts as one failed test.
build() { # name, arguments of meson setup
    local name=$1
    shift
    echo "== $name: build"
    if [ ! -f "$out/$name/build.ninja" ] && ! meson setup "$out/$name" "$@" >"$out/$name.log" 2>&1 ||
        ! ninja -C "$out/$name" >"$out/$name.log" 2>&1; then
        grep -E 'FAILED|error|ERROR' "$out/$name.log" | head -40
        echo "== $name: does not build, see $out/$name.log"
        failed=$((failed + 1))
        return 1
    fi
}

# Runs suites of a built variant and adds to the sums what its log says.
run() { # name, arguments of meson test
    local name=$1 counts
    shift
    echo "== $name: test $*"
    rm -f "$out/$name/meson-logs/testlog.json"
    meson test -C "$out/$name" --no-rebuild --print-errorlogs "$@"
    counts=$(python3 scripts/count-tests.py "$out/$name/meson-logs/testlog.json") || counts="0 1 0"
    read -r p f s <<<"$counts"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

build gcc -Dwerror=true && run gcc
CC=clang CXX=clang++ build clang -Dwerror=true -Dcuda=disabled && run clang --suite unit --suite kcheck --suite golden
# GCC warns about code that its own sanitizers made, so here warnings are no errors.
export ASAN_OPTIONS=halt_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1
build sanitized -Dcuda=disabled -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_ndebug=false &&
    run sanitized --suite unit --suite kcheck --suite golden --suite sanitized -t 6

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
