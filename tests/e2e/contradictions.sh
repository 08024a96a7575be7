#!/bin/bash
# What is refused before any work: contradictory or missing options, exit 2.
. "$(dirname "$0")/lib.sh"

touch exists.vlmp exists.calib exists.ref
refuses 2 'recipe and --method contradict' vlm-quantize "$model" --recipe @w4 --method gptq -o x.vlmp
refuses 2 'recipe and --bits contradict' vlm-quantize "$model" --recipe @w4 --bits 4 -o x.vlmp
refuses 2 'recipe and --group contradict' vlm-quantize "$model" --recipe @w4 --group 64 -o x.vlmp
refuses 2 'recipe and --target contradict' vlm-quantize "$model" --recipe @w4 --target weights -o x.vlmp
refuses 2 'rtn cannot aim at' vlm-quantize "$model" --method rtn --target outputs -o x.vlmp
refuses 2 'target' vlm-quantize "$model" --method gptq --target inputs -o x.vlmp
refuses 2 '--calib' vlm-quantize "$model" --method gptq -o x.vlmp
refuses 2 '--calib' vlm-quantize "$model" --method awq -o x.vlmp
refuses 2 '--calib' vlm-quantize "$model" --recipe @w4 -o x.vlmp
refuses 2 '--method' vlm-quantize "$model" -o x.vlmp
refuses 2 '-o OUT' vlm-quantize "$model" --method rtn
refuses 2 'symmetric and --asymmetric' vlm-quantize "$model" --method rtn --symmetric --asymmetric -o x.vlmp
refuses 2 'method' vlm-quantize "$model" --method gtpq -o x.vlmp
refuses 2 '5 bits are not supported; use 3, 4 or 8' vlm-quantize "$model" --method rtn --bits 5 -o x.vlmp
refuses 2 '2 bits are not supported: with four levels' vlm-quantize "$model" --method rtn --bits 2 -o x.vlmp
refuses 2 'bits' vlm-quantize "$model" --method int8 --bits 4 -o x.vlmp
refuses 2 'group' vlm-quantize "$model" --method rtn --group 48 -o x.vlmp
refuses 2 'groups of 16' vlm-quantize "$model" --method rtn --group 16 -o x.vlmp
refuses 2 'recipe and --codes contradict' vlm-quantize "$model" --recipe @w4 --codes fp8 -o x.vlmp
refuses 2 'codes and --bits contradict' vlm-quantize "$model" --method rtn --codes fp8 --bits 8 -o x.vlmp
refuses 2 'awq is for codes of 3, 4 or 8 bits' vlm-quantize "$model" --method awq --codes fp8 -o x.vlmp
refuses 2 'no zero point' vlm-quantize "$model" --method rtn --codes fp8 --asymmetric -o x.vlmp
refuses 2 'float activations' vlm-quantize "$model" --method rtn --codes mxfp4 --activations int8 -o x.vlmp
refuses 2 'is 32' vlm-quantize "$model" --method rtn --codes mxfp4 --group 64 -o x.vlmp
refuses 2 'fp8|mxfp4|nvfp4' vlm-quantize "$model" --method rtn --codes fp6 -o x.vlmp
refuses 2 'vllm|sglang|transformers|llamacpp' vlm-quantize "$model" --method rtn --for tgi -o x.vlmp
refuses 2 'methd' vlm-quantize "$model" --methd rtn -o x.vlmp
refuses 2 'MODEL' vlm-quantize --method rtn -o x.vlmp
refuses 2 'threads' vlm-quantize "$model" --method rtn --threads 0 -o x.vlmp
refuses 2 'exists.vlmp: .*--force' vlm-quantize "$model" --method rtn -o exists.vlmp
refuses 2 'exists.calib: .*--force' vlm-calibrate "$model" --data "$calib_data" -o exists.calib
refuses 2 'data' vlm-calibrate "$model" -o x.calib
refuses 2 'samples' vlm-calibrate "$model" --data "$calib_data" -o x.calib --samples 0
refuses 2 'exists.ref: .*--force' vlm-eval "$model" --data "$eval_data" --reference "$model" \
    --save-reference exists.ref
refuses 2 'reference' vlm-eval "$model" --data "$eval_data" --metrics kl
refuses 2 'reference' vlm-eval "$model" --data "$eval_data" --save-reference x.ref
refuses 2 'reference' vlm-eval "$model" --data "$eval_data" --gate 'kl.mean<=0.1'
refuses 2 'perplexity' vlm-eval "$model" --data "$eval_data" --gate 'perplexity<=2'
refuses 2 'ppl=2' vlm-eval "$model" --data "$eval_data" --gate 'ppl=2'
refuses 2 'bleu' vlm-eval "$model" --data "$eval_data" --metrics ppl --gate 'bleu.4>=0.1'
refuses 2 'metric' vlm-eval "$model" --data "$eval_data" --metrics ppl,blue
refuses 2 'prompt' vlm-run "$model"
refuses 2 'computes nothing' vlm-inspect "$model" --device cuda
refuses 2 'computes nothing' vlm-plan "$model" --device cuda
refuses 2 'computes nothing' vlm-export x.vlmp --format gptq -o x.folder --device cuda:1
refuses 1 'cuda' vlm-run "$model" --prompt x --device cuda
check "nothing was written" test -z "$(find . -name 'x.*')"
check "existing files are untouched" test ! -s exists.vlmp -a ! -s exists.calib -a ! -s exists.ref

for tool in vlm-calibrate vlm-quantize vlm-eval vlm-run vlm-export vlm-plan vlm-doctor; do
    exits 0 $tool --help
    check "$tool --help is on stdout" grep -q -- '--threads' stdout
    check "$tool --help is quiet on stderr" test ! -s stderr
    exits 0 $tool --version
    check "$tool --version" grep -q "^$tool [0-9]" stdout
done
