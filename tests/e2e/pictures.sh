#!/bin/bash
# Kinds of pictures, transparency and damage through the commands; tensor types that are not computed with.
. "$(dirname "$0")/lib.sh"
golden=$VLMP_ROOT/tests/golden/images

mkdir plain mixed
cp "$VLMP_ROOT/demo/calib/images/"000[0-3].* plain
cp plain/* mixed
cp "$golden/alpha-ramp.png" mixed
python3 - <<'END'
import glob
png, jpg = (open(sorted(glob.glob("plain/*." + kind))[0], "rb").read() for kind in ("png", "jpg"))
open("mixed/no-end.png", "wb").write(png[:-12] + b"")
tables = jpg.index(b"\xff\xc4")
open("mixed/junk.jpg", "wb").write(jpg[:tables] + b"\x12\x34" + jpg[tables:])
open("mixed/other.GIF", "wb").write(b"GIF89a\1\0\1\0\0\0\0;")
END

# What cannot be read is named, in a folder too; what can is counted.
refuses 4 'other.GIF: the file is a GIF picture; convert it to PNG' \
    vlm-calibrate "$model" --data mixed -o m.calib
exits 0 vlm-calibrate "$model" --data mixed --skip-broken 1 -o white.calib --json
json stdout 'd["chosen"] == 7 and d["broken"] == 1 and "GIF" in d["left_out"][0]["reason"]'
json stdout 'd["pictures"]["alpha"] == "white" and d["pictures"]["transparent"] == 1'
json stdout 'd["pictures"]["damaged"] == 2 and len(d["pictures"]["remarks"]) == 2'
json stdout '"extraneous bytes" in d["pictures"]["remarks"][0]["remark"]'
json stdout '"end chunk is missing" in d["pictures"]["remarks"][1]["remark"]'
refuses 4 'damaged: .*without --strict-pictures' \
    vlm-calibrate "$model" --data mixed --skip-broken 1 --strict-pictures -o m.calib
exits 0 vlm-calibrate "$model" --data mixed --skip-broken 3 --strict-pictures -o strict.calib
check "the transparent picture is said" grep -q '1 transparent (--alpha white)' stderr
refuses 4 'damaged' vlm-run "$model" --image mixed/no-end.png --prompt hello --strict-pictures
exits 0 vlm-run "$model" --image mixed/no-end.png --prompt hello --max-new-tokens 2
check "a warning" grep -q 'warning: mixed/no-end.png: its end chunk is missing' stderr
exits 0 vlm-run "$model" --image "$golden/animated.webp" --image "$golden/exif6.webp" --prompt hello \
    --max-new-tokens 2
check "a word on the animation" grep -q 'warning: .*an animation of 2 frames: the first' stderr

# The way of showing transparency changes what has transparency, and only that.
refuses 2 'white.drop' vlm-run "$model" --image mixed/alpha-ramp.png --prompt hello --alpha black
exits 0 vlm-calibrate "$model" --data mixed --skip-broken 1 --alpha drop -o drop.calib
check "drop is another calibration" test "$(cmp -s white.calib drop.calib; echo $?)" = 1
exits 0 vlm-calibrate "$model" --data plain -o plain-white.calib
exits 0 vlm-calibrate "$model" --data plain --alpha drop -o plain-drop.calib
same plain-white.calib plain-drop.calib
exits 0 vlm-quantize "$model" --method gptq --calib drop.calib -o drop.vlmp
exits 0 vlm-quantize "$model" --method gptq --calib plain-white.calib -o white.vlmp
rm mixed/other.GIF
evaluate() { vlm-eval "$@" --data mixed --allow-overlap --metrics kl --json; }
exits 0 evaluate drop.vlmp white.vlmp --reference "$model" --alpha drop --save-reference drop.ref
json stdout 'not any("calibrated on" in n for r in d["results"] for n in r["notes"])'
json stdout 'all("2 damaged but readable" in " ".join(r["notes"]) for r in d["results"])'
exits 0 evaluate drop.vlmp white.vlmp --reference "$model"
json stdout '["--alpha drop, evaluated with white" in " ".join(r["notes"]) for r in d["results"]] == [True, False]'
refuses 4 'drop.ref: made with --alpha drop' evaluate drop.vlmp --reference drop.ref
exits 0 evaluate drop.vlmp --reference drop.ref --alpha drop
refuses 4 'junk.jpg: damaged' evaluate drop.vlmp --reference "$model" --strict-pictures
exits 0 vlm-run drop.vlmp --image mixed/alpha-ramp.png --prompt hello --max-new-tokens 2
check "a warning" grep -q 'warning: drop.vlmp was calibrated .* --alpha drop' stderr

# Tensors that the model does not read may have any type.
cp -r "$model" types
python3 - <<'END'
import json
import struct

path = "types/model.safetensors"
data = open(path, "rb").read()
size = struct.unpack("<Q", data[:8])[0]
header, body = json.loads(data[8:8 + size]), data[8 + size:]


def retype(name, kind, bits, rank=2):
    begin, end = header[name]["data_offsets"]
    shape = [1] * (rank - 1) + [(end - begin) * 8 // bits]
    header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def write(to):
    text = json.dumps(header).encode()
    open(to, "wb").write(struct.pack("<Q", len(text)) + text + body)


layer = "vision_tower.vision_model.encoder.layers.5."
kinds = {"F4": 4, "F6_E3M2": 6, "F8_E8M0": 8, "C64": 64, "U32": 32, "BOOL": 8}
names = ["mlp.fc1", "mlp.fc2"] + ["self_attn.%s_proj" % p for p in ("q", "k", "v", "out")]
for name, (kind, bits) in zip(names, kinds.items()):
    retype(layer + name + ".weight", kind, bits)
header["__metadata__"] = {"key %d" % i: "value\n\0" for i in range(5000)}
write(path)
retype(layer + "mlp.fc1.weight", "F4", 4, 9)
write("rank9.safetensors")
retype(layer + "mlp.fc1.weight", "F4", 4)
retype("language_model.model.layers.0.self_attn.q_proj.weight", "F8_E4M3", 8)
write("used.safetensors")
END
exits 0 vlm-inspect types
for kind in F4 F6_E3M2 F8_E8M0 C64 U32 BOOL; do
    check "$kind is listed as unused" grep -qE "^vision.layers.5.* $kind .* unused" stdout
done
exits 0 vlm-quantize types --method rtn -o types.vlmp
exits 0 vlm-inspect types.vlmp --verify
exits 0 vlm-run types.vlmp --image plain/0000.png --prompt hello --max-new-tokens 2
mv used.safetensors types/model.safetensors
refuses 4 "q_proj.weight' has type F8_E4M3; F32, F16 and BF16" \
    vlm-quantize types --method rtn -o used.vlmp
refuses 4 "has rank 9, more than 8; that is not supported" vlm-inspect rank9.safetensors
