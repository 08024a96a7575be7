#!/bin/bash
# vlm-inspect --explain and --diff: what they say is what is in the files.
# shellcheck disable=SC1091 source=tests/e2e/lib.sh
. "${VLMP_ROOT:?}/tests/e2e/lib.sh"

echo '{"version": 1, "rules": [
    {"match": "text.layers.0.*", "scheme": {"method": "gptq", "bits": 4, "group": 32, "symmetric": false}},
    {"match": "text.layers.*", "scheme": {"method": "rtn", "codes": "nvfp4"}},
    {"match": "default", "scheme": null}]}' >r.json
exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 12 -o c.calib
exits 0 vlm-quantize "$model" --recipe r.json --calib c.calib -o m.vlmp -q

# Scales, zeros and the share of codes at the ends, read by another program from the file's bytes.
exits 0 vlm-inspect m.vlmp --json --explain text.layers.0.mlp.down
python3 - stdout m.vlmp <<'PY' || fail "ranges of text.layers.0.mlp.down"
import json, struct, sys
said, file = json.load(open(sys.argv[1])), open(sys.argv[2], "rb").read()
size = struct.unpack("<Q", file[:8])[0]
header = json.loads(file[8:8 + size])
def part(name):
    begin, end = header["text.layers.0.mlp.down." + name]["data_offsets"]
    return file[8 + size + begin:8 + size + end]
scales = struct.unpack(f"<{len(part('scales')) // 2}e", part("scales"))
nibbles = [n for name in ("codes", "zeros") for b in part(name) for n in (b & 15, b >> 4)]
codes, zeros = nibbles[:2 * len(part("codes"))], nibbles[2 * len(part("codes")):]
assert said["scale_low"] == min(scales) and said["scale_high"] == max(scales)
assert abs(said["scale_mean"] / (sum(scales) / len(scales)) - 1) < 1e-6
assert said["zero_low"] == min(zeros) and said["zero_high"] == max(zeros) and len(set(zeros)) > 1
assert abs(said["at_ends"] - sum(c in (0, 15) for c in codes) / len(codes)) < 1e-12
assert said["n"] * said["k"] == len(codes) and said["rule"] == 1 and said["match"] == "text.layers.0.*"
assert said["decision"]["name"] == "text.layers.0.mlp.down" and said["decision"]["held_error"] > 0
PY
pass

exits 0 vlm-inspect m.vlmp --explain text.layers.0.mlp.down
check "the guard's verdict" grep -q '^guard      the method was kept, at 0\.' stdout
check "the format" grep -q '^stored     W4, float activations, with zeros, a scale for 32 inputs$' stdout
exits 0 vlm-inspect m.vlmp --json --explain text.layers.1.attn.q
json stdout "d['rule'] == 2 and d['scale_high'] < 1 and 0 < d['at_ends'] < 1"
cp stdout one.json
exits 0 vlm-inspect m.vlmp --json --explain language_model.model.layers.1.self_attn.q_proj.weight
check "the source's name means the same" cmp -s stdout one.json
exits 0 vlm-inspect m.vlmp --json --explain text.head
json stdout "not d['quantized'] and d['rule'] == 3"
exits 0 vlm-inspect "$model" --explain vision.layers.0.attn.q
check "a folder's linear is kept" grep -q '^stored     kept as ' stdout

refuses 2 'did you mean text.layers.1.attn.q\?' vlm-inspect m.vlmp --explain text.layers.1.attn.qq
refuses 2 'no linear .nonsense' vlm-inspect m.vlmp --explain nonsense
refuses 2 'no linear .vision.layers.0.attn.q.bias' vlm-inspect m.vlmp --explain vision.layers.0.attn.q.bias
refuses 2 'holds no model' vlm-inspect c.calib --explain text.head

# --diff: what is stored otherwise, and nothing else.
exits 0 vlm-quantize "$model" --recipe r.json --calib c.calib --tokens 300 -o n.vlmp -q
exits 0 vlm-inspect m.vlmp --diff m.vlmp
check "a model is like itself" grep -q '^0 tensors differ, [0-9]* are the same; the recipes are the same$' stdout
exits 0 vlm-inspect m.vlmp --diff n.vlmp --json
json stdout "d['same_recipe'] and d['files'] == [] and {t['name'][:14] for t in d['tensors']} == {'text.layers.0.'}"
json stdout "all(t['a'] == t['b'] == 'gptq W4A16 asym 32' and t['error_a'] != t['error_b'] for t in d['tensors'])"
cp -r "$model" other && chmod -R u+w other && echo '{}' >other/generation_config.json && rm other/tokenizer_config.json
exits 0 vlm-inspect m.vlmp --diff other --json
json stdout "sorted(d['files']) == ['generation_config.json', 'tokenizer_config.json'] and not d['same_recipe']"
json stdout "all(t['name'].startswith('text.layers.') and t['b'] == 'BF16' and t['error_b'] is None for t in d['tensors'])"
refuses 2 'contradict' vlm-inspect m.vlmp --diff n.vlmp --explain text.head
refuses 2 'contradict' vlm-inspect m.vlmp --diff n.vlmp --summary
cp n.vlmp damaged.vlmp
printf '\xff' | dd of=damaged.vlmp bs=1 seek=$(($(stat -c %s damaged.vlmp) - 1)) conv=notrunc status=none
refuses 4 'damaged.vlmp' vlm-inspect m.vlmp --diff damaged.vlmp --verify

# A method of any length in the record of a file that someone else has made.
python3 - m.vlmp long.vlmp <<'PY'
import hashlib, json, struct, sys
file = open(sys.argv[1], "rb").read()
size = struct.unpack("<Q", file[:8])[0]
header = json.loads(file[8:8 + size])
decisions = json.loads(header["__metadata__"]["vlmp.decisions"])
for decision in decisions:
    decision["method"] = "x" * 600
metadata = header["__metadata__"]
metadata["vlmp.decisions"], metadata["vlmp.header"] = json.dumps(decisions), "0" * 64
text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
text += b" " * (-(8 + len(text)) % 64)
head = struct.pack("<Q", len(text)) + text
sealed = head.replace(b'"vlmp.header":"' + b"0" * 64, b'"vlmp.header":"' + hashlib.sha256(head).hexdigest().encode())
with open(sys.argv[2], "wb") as out:
    out.write(sealed + file[8 + size:])
PY
exits 0 vlm-inspect long.vlmp --diff other
check "a long method is cut" grep -q ' x\{30\} nvfp4 A16 16 ' stdout
exits 0 vlm-inspect long.vlmp --explain text.layers.0.mlp.down
refuses 4 'nowhere' vlm-inspect m.vlmp --diff nowhere
