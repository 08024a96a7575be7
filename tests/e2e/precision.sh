#!/bin/bash
# Statistics from products that are rounded to BF16: the same bits for any number of threads, told apart
# from those of F32 wherever a run goes on, and refused by a processor that has no such products.
. "$(dirname "$0")/lib.sh"

exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 16 -o c.calib -q
quantize() { # OUT, options…
    local out=$1
    shift
    vlm-quantize "$model" --calib c.calib -o "$out" --method gptq "$@"
}

refuses 2 'bf16: this processor lacks .*F32' "$VLMP_PORTABLE" "$model" --calib c.calib --method gptq \
    --precision bf16 -o x.vlmp
refuses 2 'precision' quantize x.vlmp --precision f16
check "nothing was written" test -z "$(ls x.* 2>/dev/null)"

if ! grep -qw avx512_bf16 /proc/cpuinfo || ! grep -qw avx512_vnni /proc/cpuinfo; then
    refuses 2 'bf16: this processor lacks .*F32' quantize x.vlmp --precision bf16
    exit
fi

exits 0 quantize f32.vlmp --precision f32
exits 0 quantize bf16.vlmp --precision bf16 --threads 1
check "bf16 says where it is computed" grep -q '^device: cpu, since --precision bf16' stderr
for threads in 2 4; do
    exits 0 quantize k.vlmp --precision bf16 --threads $threads --force
    same bf16.vlmp k.vlmp
done
check "other bits than F32" test "$(sha256sum <bf16.vlmp)" != "$(sha256sum <f32.vlmp)"
grep -aq '\\"precision\\":\\"bf16\\"' bf16.vlmp || fail "the provenance has no precision"
if grep -aq '\\"precision\\":' f32.vlmp; then fail "the provenance of F32 has a precision"; fi

# Finished files and journals of one are not taken for the other's.
refuses 4 "bf16.vlmp: .*'precision' differs" quantize bf16.vlmp --resume
refuses 4 "f32.vlmp: .*'precision' differs" quantize f32.vlmp --precision bf16 --resume
exits 0 quantize bf16.vlmp --precision bf16 --resume
interrupted 'k.vlmp*' vlm-quantize "$model" --calib c.calib -o k.vlmp --method gptq --precision bf16
refuses 4 "journal: .*'precision' differs" quantize k.vlmp --resume
exits 0 quantize k.vlmp --precision bf16 --resume
same bf16.vlmp k.vlmp
interrupted 'k.vlmp*' vlm-quantize "$model" --calib c.calib -o k.vlmp --method gptq
refuses 4 "journal: .*'precision' differs" quantize k.vlmp --precision bf16 --resume
exits 0 quantize k.vlmp --resume
same f32.vlmp k.vlmp
