#!/bin/bash
# What --resume does besides continuing: a run that is finished, files that another run left or that
# somebody put there, a record that cannot be written, an interrupt.
. "$(dirname "$0")/lib.sh"

python3 "$VLMP_ROOT/tests/e2e/make_tiny.py" "$model" tiny
exits 0 vlm-calibrate tiny --data "$calib_data" --samples 16 -o c.calib -q
exits 0 vlm-calibrate tiny --data "$calib_data" --samples 24 -o other.calib -q
quantize() { # options…
    vlm-quantize tiny --calib c.calib -o k.vlmp --method awq+gptq "$@"
}
left() { echo k.vlmp*; }

# Finished: said, checked byte by byte, left alone.
exits 0 quantize --threads 1
cp k.vlmp whole.vlmp
record=$(cat k.vlmp.run.json)
exits 0 quantize --resume
check "says that it was finished" grep -q 'already' stderr
exits 0 quantize --resume --json
json stdout 'd["linears"] == 14 and d["output"] == "k.vlmp"'
same whole.vlmp k.vlmp
check "the first run's record stays" test "$record" = "$(cat k.vlmp.run.json)"
rm k.vlmp.run.json
exits 0 quantize --resume
check "a record that is missing is written" test "$(left)" = "k.vlmp k.vlmp.run.json"

# The output of another run, or none at all, is neither taken for this one's nor replaced.
refuses 4 "k.vlmp: .*'recipe' differs; .*--force" quantize --resume --bits 8
refuses 4 "'sequential' differs" quantize --resume --no-sequential
refuses 4 "'calibration' differs" vlm-quantize tiny --calib other.calib -o k.vlmp --method awq+gptq --resume
exits 0 vlm-quantize tiny --method rtn -o rtn.vlmp
cp -r tiny changed
echo >>changed/generation_config.json
refuses 4 "rtn.vlmp: .*'generation_config.json' differs" vlm-quantize changed --method rtn -o rtn.vlmp --resume
same whole.vlmp k.vlmp
printf 'x' | dd of=k.vlmp bs=1 seek=$(($(stat -c %s k.vlmp) - 5000)) conv=notrunc status=none
refuses 4 'k.vlmp: tensor .*SHA-256.*damaged' quantize --resume
echo "my notes" >k.vlmp
refuses 2 'k.vlmp: .*--force' quantize --resume
check "somebody's file stays" grep -q 'my notes' k.vlmp
exits 0 quantize --resume --force
same whole.vlmp k.vlmp
rm k.vlmp*

# A record that cannot be written takes nothing away.
mkdir k.vlmp.run.json
exits 0 quantize
check "says which file" grep -q 'warning: k.vlmp.run.json: .*the packed file is complete' stderr
same whole.vlmp k.vlmp
check "left: $(left)" test "$(left)" = "k.vlmp k.vlmp.run.json"
rm -r k.vlmp*

# Files under the names that activations get: another run's are removed, what a link points to is not
# touched, nor is what is read taken for more than the journal says.
echo "my notes" >notes
ln -s notes k.vlmp.border-0
echo "stale" >k.vlmp.border-1
exits 0 quantize --force
check "the link's target stays" grep -q 'my notes' notes
same whole.vlmp k.vlmp
check "left: $(left)" test "$(left)" = "k.vlmp k.vlmp.run.json"
rm k.vlmp*

# Interrupted while it quantizes: the state is saved. A model of some depth, so that there is time.
quantize_demo() { # options…
    vlm-quantize "$model" --calib demo.calib -o k.vlmp --method gptq "$@"
}
exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 16 -o demo.calib -q
exits 0 quantize_demo
mv k.vlmp whole.vlmp
interrupted 'k.vlmp*' vlm-quantize "$model" --calib demo.calib -o k.vlmp --method gptq
check "left: $(left)" grep -qx 'k.vlmp.border-0 \(k.vlmp.border-1 \)\?k.vlmp.journal' <<<"$(left)"
# What another build of the program has begun may be of other bits.
cp "$VLMP_TOOLS/vlm-quantize" other-build
echo >>other-build
refuses 4 "k.vlmp.journal: .*'program' differs" ./other-build "$model" --calib demo.calib -o k.vlmp --method gptq --resume
exits 0 quantize_demo --resume
check "goes on behind blocks that are not run again" grep -q 'going on behind text block [1-4]$' stderr
same whole.vlmp k.vlmp
check "left: $(left)" test "$(left)" = "k.vlmp k.vlmp.run.json"

# Known beforehand: what the run needs beside its output.
exits 0 vlm-quantize tiny --calib c.calib --method awq+gptq --dry-run
check "work files" grep -qE '^beside it until the run ends: up to [0-9.]+ MB$' stdout
exits 0 vlm-quantize tiny --calib c.calib --method awq+gptq --dry-run --json
json stdout '0 < d["work_bytes"] < 2e6'
