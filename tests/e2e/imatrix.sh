#!/bin/bash
# vlm-export --imatrix: what an independent reader finds in it; calibrations that do not fit and options that
# contradict each other are refused, and nothing is left.
. "$(dirname "$0")/lib.sh"
holds() { check "$2 holds $1" python3 -B "$VLMP_ROOT/tests/e2e/imatrix_check.py" "$@"; } # CALIB MATRIX
forge() { python3 -B "$VLMP_ROOT/tests/e2e/work_files.py" forge c.calib "$@"; }
refused() { # CODE PATTERN OPTIONS…
    local code=$1 pattern=$2
    shift 2
    refuses "$code" "$pattern" vlm-export "$@"
    check "nothing is left" test -z "$(find . -name 'out*')"
}

exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 3 -o c.calib -q
exits 0 vlm-export "$model" --calib c.calib --imatrix demo.gguf --json
json stdout 'd["linears"] % 7 == 0 and d["samples"] == 3 and d["picture_tokens"] > d["text_tokens"] > 0'
holds c.calib demo.gguf
refused 2 'demo.gguf: exists' "$model" --calib c.calib --imatrix demo.gguf
exits 0 vlm-export "$model" --calib c.calib --imatrix again.gguf
check "the summary" grep -qE '^again.gguf: importance for [0-9]+ linears, from [0-9]+ picture .* of 3 samples$' stdout
same demo.gguf again.gguf
exits 0 vlm-export "$model" --calib c.calib --imatrix demo.gguf --force -q
same demo.gguf again.gguf
# A packed file that was calibrated itself.
exits 0 vlm-quantize "$model" --method rtn -o rtn.vlmp -q
exits 0 vlm-calibrate rtn.vlmp --data "$calib_data" --samples 2 -o r.calib -q
exits 0 vlm-export rtn.vlmp --calib r.calib --imatrix rtn.gguf
holds r.calib rtn.gguf

# Calibrations.
refused 4 'c.calib: made with another model' rtn.vlmp --calib c.calib --imatrix out
refused 4 'c.calib: made with another model' "$VLMP_ROOT/tests/golden/models/llava-llama" --calib c.calib --imatrix out
forge norms.calib 'del t["statistics.text.layers.1.mlp_in.rms"]'
refused 4 "norms.calib: tensor 'statistics.text.layers.1.mlp_in.rms' is missing" "$model" --calib norms.calib --imatrix out
forge tokens.calib 't["statistics.text.layers.1.mlp_in.count"][2] = struct.pack("<2q", 1 << 62, 1 << 62)'
refused 4 'text.layers.1.mlp_in has seen .*fewer samples' "$model" --calib tokens.calib --imatrix out
forge large.calib 'for p in ("mean_abs", "rms", "max_abs"): t["statistics.text.layers.0.attn_in." + p][2][:4] = struct.pack("<f", 1e30)'
refused 4 'large.calib: .*attn_in, channel 0, .*F32' "$model" --calib large.calib --imatrix out
refused 4 'rtn.vlmp: ' "$model" --calib rtn.vlmp --imatrix out
refused 4 'none.calib: ' "$model" --calib none.calib --imatrix out
head -c 3000 c.calib >short.calib
refused 4 'short.calib: ' "$model" --calib short.calib --imatrix out

# Options and outputs.
refused 2 '--imatrix FILE and --calib' "$model" --imatrix out
refused 2 '--imatrix FILE and --calib' rtn.vlmp --format gguf -o out --calib c.calib
refused 2 '--format F, or --imatrix' rtn.vlmp
for option in '--format gguf' '-o out' '--for vllm' '--base-model a/b' '--allow-requantize' --dry-run; do
    refused 2 'imatrix' "$model" --calib c.calib --imatrix out $option
done
refused 2 'c.calib: is an input' "$model" --calib c.calib --imatrix ./c.calib --force
refused 1 'no/out: ' "$model" --calib c.calib --imatrix no/out
mkdir out
refuses 2 'out: ' vlm-export "$model" --calib c.calib --imatrix out --force
