#!/bin/bash
# vlm-export interrupted at calls that change a file, and killed there: a folder is whole or not there, and
# what a killed run has left is in nobody's way. VLMP_KILL_HOOK: the library of kill_hook.c.
. "$(dirname "$0")/lib.sh"
: "${VLMP_KILL_HOOK:?is the library that kills}"

python3 "$VLMP_ROOT/tests/e2e/make_tiny.py" "$model" tiny
exits 0 vlm-calibrate tiny --data "$calib_data" --samples 9 -o c.calib -q
exits 0 vlm-quantize tiny --method rtn --bits 8 --group 32 -o t.vlmp -q
left() { find . -maxdepth 1 -name 'out*' | sort | tr '\n' ' '; }

# at N VARIABLE COMMAND…: into status.
at() {
    local call=$1 variable=$2
    shift 2
    status=0
    env ${variable:+$variable} VLMP_KILL_AT="$call" LD_PRELOAD="$VLMP_KILL_HOOK" "$@" >stdout 2>stderr || status=$?
}

every_call() { # COMMAND…, which writes out
    local call=0 stopped=0 done=0 before
    exits 0 "$@"
    mv out whole
    while :; do
        call=$((call + (call < 20 ? 1 : 3)))
        at $call VLMP_INTERRUPT=1 "$@"
        if [ "$status" = 130 ]; then
            stopped=$((stopped + 1))
            [ "$(left)" = "" ] || fail "interrupted at call $call, left: $(left)"
            grep -q ': error: .*interrupted' stderr || fail "call $call: $(tail -1 stderr)"
        else
            [ "$status" = 0 ] || fail "call $call: status $status"
            [ "$(left)" = "./out " ] || fail "call $call: left $(left)"
            diff -r whole out || fail "call $call: another export"
            done=$((done + 1))
            rm -r out
        fi
        before=$status
        [ $((call % 4)) = 0 ] || [ "$before" = 0 ] || continue # killed at some of them
        at $call "" "$@"
        [ "$status" = 137 ] || break # there was no such call
        [ ! -e out ] || diff -r whole out || fail "killed at call $call: a part of an export"
        rm -rf out
        exits 0 "$@" # takes over what is left
        [ "$(left)" = "./out " ] || fail "after a kill at call $call: $(left)"
        rm -r out
    done 2>/dev/null # the shell tells of every kill
    rm -rf out whole
    check "the last run was not disturbed: $before, $status" test "$before$status" = 00
    check "$stopped of $call runs were stopped, $done went on" test "$stopped" -ge "$least" -a "$done" -ge 1
    echo "$stopped of $call runs stopped: $*"
}

least=1
for format in compressed-tensors gguf; do
    options="--format $format"
    [ $format = gguf ] || options+=" --for transformers --shard-size 1M"
    every_call vlm-export t.vlmp $options -o out
done
least=0 # nothing of it takes long
every_call vlm-export tiny --calib c.calib --imatrix out
