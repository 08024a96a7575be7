# Shared by the end-to-end scripts. VLMP_TOOLS: folder of the programs; VLMP_ROOT: the source tree.
# Each script works in a temporary folder of its own, which is the current one.
set -euo pipefail
: "${VLMP_TOOLS:?is the folder of the built programs}" "${VLMP_ROOT:?is the source tree}"
PATH=$VLMP_TOOLS:$PATH
export NO_COLOR=1 LC_ALL=C.UTF-8
model=$VLMP_ROOT/demo/model
calib_data=$VLMP_ROOT/demo/calib/data.jsonl
eval_data=$VLMP_ROOT/demo/eval/data.jsonl

work=$(mktemp -d)
cd "$work"
failures=0 checks=0

finish() {
    local status=$?
    cd /
    rm -rf "$work"
    [ "$status" = 0 ] || { echo "stopped with status $status"; exit "$status"; }
    echo "$checks checks, $failures failures"
    [ "$failures" = 0 ] && [ "$checks" -gt 0 ] || exit 1
}
trap finish EXIT

pass() { checks=$((checks + 1)); }
fail() {
    checks=$((checks + 1)) failures=$((failures + 1))
    echo "FAILED: $*"
}

# check WHAT COMMAND…: the command succeeds.
check() {
    local what=$1
    shift
    if "$@"; then pass; else fail "$what"; fi
}

# exits CODE COMMAND…: the exit status; output is left in the files stdout and stderr.
exits() {
    local want=$1 got=0
    shift
    "$@" >"$work/stdout" 2>"$work/stderr" || got=$?
    if [ "$got" = "$want" ]; then
        pass
    else
        fail "exit $got instead of $want: $*"
        tail -5 "$work/stderr"
    fi
}

# refuses CODE PATTERN COMMAND…: the exit status, and exactly one error message, which matches the
# extended regular expression and says what to do (after a semicolon or colon, in the same sentence).
refuses() {
    local code=$1 pattern=$2 errors
    shift 2
    exits "$code" "$@"
    errors=$(grep -c ': error: ' stderr) || true
    if [ "$errors" != 1 ]; then
        fail "$errors error messages: $*"
        cat stderr
    elif ! grep ': error: ' stderr | grep -qE -- "$pattern"; then
        fail "the message does not match '$pattern': $*"
        grep ': error: ' stderr
    else
        pass
    fi
    [ -z "${VLMP_SHOW-}" ] || grep ': error: ' stderr || true
}

# same A B: equal bytes.
same() { check "$1 and $2 differ" cmp "$1" "$2"; }

# json FILE EXPRESSION: the Python expression over d, the document, is true.
json() {
    if python3 -c '
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    d = json.load(file)
sys.exit(0 if eval(sys.argv[2]) else 1)' "$1" "$2"; then
        pass
    else
        fail "$1: not $2"
    fi
}

# interrupted FILES COMMAND…: runs it until two text blocks are quantized, interrupts it, and takes its
# exit status for right if it is that of an interrupt. FILES: what it leaves, removed before each of
# five attempts, since a signal that comes after the end is no fault of the program.
interrupted() {
    local files=$1 attempt job status
    shift
    for attempt in 1 2 3 4 5; do
        rm -f $files
        : >log
        "$@" 2>log &
        job=$! status=0
        while kill -0 "$job" 2>/dev/null && [ "$(grep -c '^text.layers.[23]' log)" -lt 8 ]; do sleep 0.01; done
        kill -INT "$job" 2>/dev/null || true
        wait "$job" || status=$?
        [ "$status" = 0 ] || break
    done
    check "interrupted: status $status, attempt $attempt" test "$status" = 130
}
