#!/bin/bash
# Folders of other tools: what vlm-export wrote is read back as it was, for every command, and written again byte
# for byte; what cannot be read says why, by tensor.
. "$(dirname "$0")/lib.sh"
tiny=$VLMP_ROOT/tests/golden/models/llava-llama
golden=$VLMP_ROOT/tests/golden/import
data="--data $VLMP_ROOT/tests/golden/models/eval.jsonl --image-root $VLMP_ROOT/tests/golden/models/pictures"

# round FORMAT OPTIONS…: quantized, exported, read back.
i=0
source=$tiny
round() {
    local format=$1
    shift
    i=$((i + 1))
    exits 0 vlm-quantize "$source" --allow-fallbacks 99 -o m$i.vlmp -q "$@"
    exits 0 vlm-export m$i.vlmp --format $format --for transformers -o m$i
    exits 0 vlm-export m$i --format $format --for transformers -o again$i
    check "$format $*: the same weights" cmp m$i/model.safetensors again$i/model.safetensors
    python3 - m$i/config.json again$i/config.json <<'END' && pass || fail "$format $*: the same configuration"
import json, sys
a, b = (json.load(open(path)) for path in sys.argv[1:])
sys.exit(a != b)
END
    exits 0 vlm-eval m$i.vlmp m$i $data --reference "$source" --samples 3 --metrics ppl,kl --json
    json stdout 'd["results"][0]["kl"] == d["results"][1]["kl"] and d["results"][0]["ppl"] == d["results"][1]["ppl"]'
    json stdout 'd["results"][0]["bits_per_weight"] == d["results"][1]["bits_per_weight"]'
}
for bits in 4 8; do
    for zeros in symmetric asymmetric; do
        for group in 32 channel; do
            round compressed-tensors --method rtn --bits $bits --$zeros --group $group
        done
    done
done
round compressed-tensors --method int8 --activations int8
# The demo model, whose sizes fit all formats.
source=$model tiny_data=$data data="--data $eval_data"
round compressed-tensors --method rtn --codes fp8
round compressed-tensors --method rtn --codes mxfp4
round compressed-tensors --method rtn --codes nvfp4
round gptq --method rtn --bits 4 --symmetric --group 64
round gptq --method rtn --bits 8 --symmetric --group 64
round gptq --method rtn --bits 4 --asymmetric --group 32
round awq --method rtn --bits 4 --asymmetric --group 64
data=$tiny_data

# Every command takes such a folder, and says what it is.
exits 0 vlm-inspect m1 --json
json stdout 'd["imported"] == "compressed-tensors" and d["kind"] == "packed" and not d["verified"]'
json stdout 'd["import"]["format"] == "compressed-tensors"'
exits 0 vlm-inspect m1 --verify
check "vlm-inspect names the format" grep -q '^m1: model folder, compressed-tensors$' stdout
exits 0 vlm-run m1.vlmp --prompt "What is it?" --max-new-tokens 8
mv stdout answer
exits 0 vlm-run m1 --prompt "What is it?" --max-new-tokens 8
check "the same answer" cmp stdout answer
exits 0 vlm-eval m1 $data --reference "$tiny" --samples 2 --metrics ppl
check "the table names the format" grep -q 'compressed-tensors W4' stdout
check "what is not known is said" grep -q 'made from the reference is not known' stderr stdout
refuses 4 'm1: already packed; quantize the original' vlm-quantize m1 --method rtn -o out.vlmp

# A reference saved from the original judges it, too.
exits 0 vlm-eval m1.vlmp $data --reference "$tiny" --save-reference r.ref --samples 2 --metrics ppl,kl
exits 0 vlm-eval m1 $data --reference r.ref --samples 2 --metrics ppl,kl

# Nothing is left behind, and no room for the work file is the environment's fault.
mkdir work
TMPDIR=$PWD/work exits 0 vlm-inspect m1 --summary
check "nothing is left" test -z "$(ls work)"
TMPDIR=$PWD/nowhere refuses 1 'nowhere/vlmpack-import' vlm-inspect m1
(ulimit -f 100 && trap '' XFSZ && vlm-inspect m1 2>stderr) && fail "a full disk" || pass
check "the full disk is named" grep -q 'error: .*vlmpack-import' stderr

# Folders that no program should read: file and tensor are named.
broken() { # PATTERN PYTHON: a change of the tensors t, name → (type, shape, bytes), and of the configuration c
    rm -rf broken
    cp -r m1 broken
    python3 "$VLMP_ROOT/tests/e2e/change_tensors.py" broken "$2"
    refuses 4 "error: broken/.*$1" vlm-eval broken $data --metrics ppl
    refuses 4 "error: broken/.*$1" vlm-run broken --prompt x
    refuses 4 "error: broken/.*$1" vlm-inspect broken
}
q=language_model.model.layers.0.self_attn.q_proj
broken "q_proj.weight_shape. is there, but not the scales|q_proj.weight_packed. is there, but not the scales" "del t['$q.weight_scale']"
broken "q_proj.input_scale. is there" "t['$q.input_scale'] = ('F32', [1], bytes(4))"
broken "q_proj.weight_scale. at element 0 is nan" \
    "y, s, b = t['$q.weight_scale']; t['$q.weight_scale'] = (y, s, b'\\x00\\x00\\xc0\\x7f' + b[4:] if y == 'F32' else b'\\x00\\x7e' + b[2:])"
broken "q_proj.weight_g_idx. puts input 0 into group 7" \
    "t['$q.weight_g_idx'] = ('I32', [32], b'\\x07\\x00\\x00\\x00' * 32)"
broken "config.json: .*'exl3', which is not read" "c['quantization_config']['quant_method'] = 'exl3'"
broken "no tensor is" "[t.pop(n) for n in list(t) if '.weight_' in n]"
head -c 20000 m2/model.safetensors >cut && cp cut m2/model.safetensors
refuses 4 'error: m2/model.safetensors: ' vlm-eval m2 $data --metrics ppl
