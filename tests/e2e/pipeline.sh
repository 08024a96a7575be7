#!/bin/bash
# Calibrate, quantize by every method and recipe, evaluate, run; gates; parity with the reference
# implementation's figures for the demo model (tests/golden/emoji-llava/dev.json).
. "$(dirname "$0")/lib.sh"

exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 32 -o c.calib --json
json stdout 'isinstance(d, dict) and d["schema"] == 1'
check "calibration file" test -s c.calib

for method in rtn int8 gptq awq awq+gptq; do
    exits 0 vlm-quantize "$model" --method $method --calib c.calib -o $method.vlmp -q
    check "no journal is left" test ! -e $method.vlmp.journal
done
exits 0 vlm-quantize "$model" --recipe "$VLMP_ROOT/demo/mixed.json" --calib c.calib -o mixed.vlmp -q
exits 0 vlm-quantize "$model" --recipe @w4 --calib c.calib -o w4.vlmp -q
exits 0 vlm-quantize "$model" --recipe @seed --calib c.calib -o seed.vlmp -q
exits 0 vlm-quantize "$model" --method int8 --activations int8 -o int8a.vlmp -q
exits 0 vlm-quantize "$model" --method gptq --bits 8 --group 64 --asymmetric --calib c.calib -o g8.vlmp -q

# A dry run says the exact size and writes nothing.
exits 0 vlm-quantize "$model" --method gptq --dry-run -o dry.vlmp
check "the dry run's size is $(stat -c %s gptq.vlmp) bytes" grep -q "$(stat -c %s gptq.vlmp)" stdout
check "a dry run writes nothing" test ! -e dry.vlmp
check "plans name all components" grep -q vision stdout

# The packed file is a safetensors file: header length, JSON, data 64-aligned.
check "safetensors header" python3 -c '
import json, struct, sys
with open("gptq.vlmp", "rb") as file:
    length, = struct.unpack("<Q", file.read(8))
    header = json.loads(file.read(length))
end = max(t["data_offsets"][1] for name, t in header.items() if name != "__metadata__")
file_size = __import__("os").path.getsize("gptq.vlmp")
assert (8 + length) % 64 == 0 and 8 + length + end == file_size
assert any(name.endswith(".codes") for name in header)'

# Parity with the reference implementation, all 256 samples.
golden=$VLMP_ROOT/tests/golden/emoji-llava/dev.json
exits 0 vlm-eval "$model" --data "$eval_data" --metrics ppl,bleu,cider --json --gate 'bleu.4>=0.6'
mv stdout source.json
cat >parity.py <<'END'
import json, sys
ours = json.load(open(sys.argv[1]))["results"][0]
theirs = json.load(open(sys.argv[2]))
bad = []
if ours["tokens"] != theirs["tokens"] or ours["tokens"] != 3263:
    bad.append("tokens %d" % ours["tokens"])
if abs(ours["ppl"] / theirs["ppl"] - 1) > 2e-5:
    bad.append("ppl %.8f, reference %.8f" % (ours["ppl"], theirs["ppl"]))
for n in range(4):
    if abs(ours["bleu"][n] - theirs["bleu"][n]) > 0.002:
        bad.append("BLEU-%d %.4f, reference %.4f" % (n + 1, ours["bleu"][n], theirs["bleu"][n]))
if abs(ours["cider"] - theirs["cider"]) > 0.02:
    bad.append("CIDEr %.4f, reference %.4f" % (ours["cider"], theirs["cider"]))
print("ppl %.7f (%.7f), BLEU %s, CIDEr %.4f (%.4f)" % (
    ours["ppl"], theirs["ppl"], ours["bleu"], ours["cider"], theirs["cider"]))
print("\n".join(bad))
sys.exit(1 if bad else 0)
END
check "parity with the reference implementation" python3 parity.py source.json "$golden"

# Several files in one call; a saved reference gives the same figures as the model itself.
exits 0 vlm-eval gptq.vlmp rtn.vlmp --data "$eval_data" --samples 32 --metrics ppl,kl --json \
    --reference "$model" --save-reference ref.ref --gate 'kl.mean<=0.02' --gate 'ppl_ratio<1.1'
mv stdout first.json
json first.json 'len(d["results"]) == 2 and d["schema"] == 1'
json first.json 'all(g["pass"] for r in d["results"] for g in r["gates"])'
json first.json '0 < d["results"][0]["kl"]["mean"] < d["results"][1]["kl"]["mean"]'
json first.json '"bleu" not in d["results"][0] and "speed" not in d["results"][0]'
json first.json '4 < d["results"][0]["bits_per_weight_quantized"] < 4.6'
exits 0 vlm-eval gptq.vlmp rtn.vlmp --data "$eval_data" --samples 32 --metrics ppl,kl --json \
    --reference ref.ref
cat >equal.py <<'END'
import json, sys
a, b = [[{k: r[k] for k in ("tokens", "ppl", "ppl_ci95", "ppl_ratio", "kl", "top1")}
         for r in json.load(open(p))["results"]] for p in sys.argv[1:]]
sys.exit(a != b)
END
check "a saved reference changes nothing" python3 equal.py first.json stdout
refuses 4 'ref.ref: .*other data' vlm-eval gptq.vlmp --data "$eval_data" --samples 31 --metrics ppl,kl \
    --reference ref.ref

# Gates that fail: exit 3, results still printed, reports written.
exits 3 vlm-eval rtn.vlmp --data "$eval_data" --samples 8 --metrics ppl --json --gate 'ppl<=1' \
    --gate 'ppl>=1' --report r.html --junit j.xml --summary s.md
json stdout '[g["pass"] for g in d["results"][0]["gates"]] == [False, True]'
check "reports are written" test -s r.html -a -s j.xml -a -s s.md
check "JUnit is XML" python3 -c 'import xml.etree.ElementTree as e; e.parse("j.xml")'
check "the failed gate is in JUnit" grep -q '<failure' j.xml
check "the report stands alone" python3 "$VLMP_ROOT/tests/e2e/report_check.py" r.html

# Calibration samples are refused in evaluation.
refuses 4 'calib' vlm-eval gptq.vlmp --data "$calib_data" --metrics ppl
exits 0 vlm-eval gptq.vlmp --data "$calib_data" --samples 8 --metrics ppl --allow-overlap -q

# Every packed file answers as the source does, to a question that quantization leaves easy.
picture=$VLMP_ROOT/demo/eval/images/0000.png
exits 0 vlm-run "$model" --image "$picture" --prompt "Describe the picture."
cp stdout answer
check "the source answers" test -s answer
for file in int8 int8a gptq mixed w4 seed g8; do
    exits 0 vlm-run $file.vlmp --image "$picture" --prompt "Describe the picture."
    check "$file answers" test -s stdout
    case $file in int8 | int8a | g8) same stdout answer ;; esac
done
exits 0 vlm-run gptq.vlmp --image "$picture" --prompt "Describe the picture." --json
json stdout 'd["new_tokens"] > 0 and d["answer"] != ""'
