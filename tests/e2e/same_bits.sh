#!/bin/bash
# The same command gives the same file byte for byte: with 1 and 2 threads, and killed at several
# moments and resumed. Interrupts save the state and say so by their exit status.
. "$(dirname "$0")/lib.sh"

exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 16 -o c.calib --threads 1 -q
exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 16 -o c2.calib --threads 2 -q
same c.calib c2.calib

recipe=$VLMP_ROOT/demo/mixed.json
quantize() { # OUT, options…
    local out=$1
    shift
    vlm-quantize "$model" --calib c.calib -o "$out" "$@"
}

declare -A arguments=(
    [gptq]="--method gptq --group 32 --asymmetric"
    [mixed]="--recipe $recipe"
    [awq_gptq]="--method awq+gptq"
    [nvfp4]="--method gptq --codes nvfp4"
    [fp8]="--method gptq --codes fp8 --group block"
)
for name in gptq mixed awq_gptq nvfp4 fp8; do
    exits 0 quantize $name.vlmp ${arguments[$name]} --threads 1
    exits 0 quantize two.vlmp ${arguments[$name]} --threads 2 --force
    same $name.vlmp two.vlmp
done

# Stops a quantization with a signal once its table has so many rows; the exit status is in $status.
stop_at() { # ROWS, SIGNAL, OUT, options…
    local rows=$1 signal=$2 out=$3 job
    shift 3
    vlm-quantize "$model" --calib c.calib -o "$out" "$@" 2>log &
    job=$!
    while kill -0 "$job" 2>/dev/null && [ "$(grep -c '^text.layers' log)" -lt "$rows" ]; do
        sleep 0.01
    done
    kill "-$signal" "$job" 2>/dev/null || true
    status=0
    wait "$job" || status=$?
}

kills=0
for name in gptq mixed; do
    moments="0 1 15 30"
    [ $name = gptq ] || moments=22
    for rows in $moments; do
        stop_at $rows KILL k.vlmp ${arguments[$name]} --threads 2
        if [ -e k.vlmp ]; then # it was faster than the signal: what is there is whole
            same $name.vlmp k.vlmp
            rm -f k.vlmp*
            continue
        fi
        check "$name was killed at row $rows: status $status" test "$status" = 137
        kills=$((kills + 1))
        exits 0 quantize k.vlmp ${arguments[$name]} --threads 1 --resume
        same $name.vlmp k.vlmp
        left=$(ls -A | grep 'k\.vlmp\|tmp' | tr '\n' ' ')
        check "beside output and record is left: $left" test "$left" = "k.vlmp k.vlmp.run.json "
        rm k.vlmp*
    done
done

check "$kills runs were killed in time" test "$kills" -ge 3

# Killed twice, resumed each time.
stop_at 8 KILL k.vlmp ${arguments[gptq]}
check "killed" test "$status" = 137
stop_at 6 KILL k.vlmp ${arguments[gptq]} --resume
check "killed again" test "$status" = 137
exits 0 quantize k.vlmp ${arguments[gptq]} --resume
same gptq.vlmp k.vlmp
rm k.vlmp*

# Ctrl-C and a service manager's stop.
for signal in INT TERM; do
    stop_at 8 $signal k.vlmp ${arguments[gptq]}
    case $signal in INT) want=130 ;; TERM) want=143 ;; esac
    check "SIG$signal: status $status" test "$status" = $want
    check "SIG$signal: says how to go on" grep -q -e '--resume' log
    check "SIG$signal: no output" test ! -e k.vlmp
    # Another command's journal is not taken for this one's, nor silently thrown away.
    refuses 4 'journal' quantize k.vlmp --method gptq --group 64 --resume
    refuses 2 '--resume' quantize k.vlmp ${arguments[gptq]}
    exits 0 quantize k.vlmp ${arguments[gptq]} --resume
    same gptq.vlmp k.vlmp
    rm k.vlmp*
done

# A journal with a torn end is continued before it, one with damage elsewhere is not trusted.
stop_at 20 KILL k.vlmp ${arguments[gptq]}
check "killed" test "$status" = 137
size=$(stat -c %s k.vlmp.journal)
truncate -s $((size - 7)) k.vlmp.journal
exits 0 quantize k.vlmp ${arguments[gptq]} --resume
same gptq.vlmp k.vlmp

# Resuming what has not begun is a beginning; a work folder takes the journal.
exits 0 quantize fresh.vlmp ${arguments[gptq]} --resume --work wd
same gptq.vlmp fresh.vlmp
check "the work folder is left empty" test -z "$(ls -A wd)"
