#!/bin/bash
# Budgets of tokens: what activations are measured on, and what quantizing runs on.
. "$(dirname "$0")/lib.sh"

python3 "$VLMP_ROOT/tests/e2e/make_tiny.py" "$model" tiny
calibrate() { # OUT, options…
    local out=$1
    shift
    vlm-calibrate tiny --data "$calib_data" --samples 32 -o "$out" "$@"
}

# The audit says the budget and what was measured; samples are the same whatever is measured.
exits 0 calibrate all.calib --audit-tokens all --json
cp stdout all.json
json all.json 'd["measured"]["budget"] == "all" and d["measured"]["samples"] == d["chosen"] == 32'
json all.json 'd["measured"]["tokens"] == d["text_tokens"] + d["picture_tokens"]'
exits 0 calibrate part.calib --audit-tokens 500 --json
json stdout 'd["measured"]["budget"] == 500 and 500 <= d["measured"]["tokens"] < 580'
json stdout 'd["measured"]["samples"] < 12 and 0 < d["measured"]["picture_tokens"] < d["measured"]["tokens"]'
exits 0 calibrate part2.calib --audit-tokens 500 --threads 1
check "says so" grep -qE '^measured +activations of 5[0-9][0-9] tokens in [0-9]+ samples; --audit-tokens all' stderr
same part.calib part2.calib
exits 0 calibrate seed.calib --audit-tokens 500 --seed 1 --json
exits 0 calibrate default.calib --json
json stdout 'd["measured"]["budget"] == 8000 and d["measured"]["samples"] == 32'
check "the same samples" python3 - <<'END'
import json, struct
def read(path):
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    meta = json.loads(header["__metadata__"]["vlmp.calibration"])
    parts = {name: data[slice(*t["data_offsets"])] for name, t in header.items() if name[:7] == "samples"}
    counts = {name: data[slice(*t["data_offsets"])] for name, t in header.items() if name[-6:] == ".count"}
    return parts, {key: meta[key] for key in ("version", "model", "data", "tokens", "samples", "loose")}, counts
whole, part = read("all.calib"), read("part.calib")
assert len(whole[0]) == 5 and whole[:2] == part[:2]
assert whole[2] != part[2], "less is measured"
END
exits 0 vlm-inspect part.calib --verify
check "inspect" grep -qE '^activations measured on 5[0-9][0-9] tokens, [0-9]+ of 32 samples \(--audit-tokens 500\)$' stdout
exits 0 vlm-inspect all.calib
check "inspect, all" grep -qE '^activations measured on [0-9]+ tokens, 32 of 32 samples$' stdout
exits 0 vlm-inspect part.calib --json
json stdout 'd["audit"]["measured"]["budget"] == 500'
refuses 2 "--audit-tokens: 'some' is not a whole number or all" calibrate x.calib --audit-tokens some
refuses 2 '--audit-tokens: 0 is outside' calibrate x.calib --audit-tokens 0

# Quantizing runs on whole samples of so many tokens, and says so.
quantize() { # OUT, options…
    local out=$1
    shift
    vlm-quantize tiny --calib all.calib -o "$out" --method awq+gptq "$@"
}
exits 0 quantize all.vlmp --tokens all
exits 0 quantize k.vlmp
same all.vlmp k.vlmp # 32 samples are fewer than the default asks for
json k.vlmp.run.json 'd["tokens"]["budget"] == "all" and d["tokens"]["samples_seen"] == 28'
json k.vlmp.run.json 'd["tokens"]["seen"] + d["tokens"]["held_out"] == d["tokens"]["of"]'
exits 0 vlm-inspect all.calib --json
mv stdout calib.json
exits 0 vlm-inspect all.vlmp --json
check "the file records the ranges of its calibration" python3 - <<'END'
import json
file, audit = json.load(open("stdout"))["provenance"]["calibration_audit"], json.load(open("calib.json"))["audit"]
run = json.load(open("k.vlmp.run.json"))["tokens"]
assert all(file[key] == run[key] for key in ("seen", "held_out", "samples_seen", "samples_held_out"))
assert [r["component"] for r in file["ranges"]] == ["vision", "text"]
for r in file["ranges"]:
    sites = [s for s in audit["sites"] if s["site"].startswith(r["component"] + ".")]
    assert r["max_abs"] == max(s["max_abs"] for s in sites)
    assert {"site": r["site"], "max_abs": r["max_abs"]}.items() <= max(sites, key=lambda s: s["max_abs"]).items()
assert file["ranges"][1]["text_tokens"] + file["ranges"][1]["picture_tokens"] == audit["measured"]["tokens"]
END
json stdout '"tokens" not in d["provenance"]'
rm k.vlmp*
exits 0 quantize k.vlmp --tokens 600 --threads 1
check "says so" grep -qE '^on 6[0-9][0-9] tokens of [0-9]+ samples, [0-9]+ of 2 held out; --tokens all takes all [0-9]+ of 32$' stderr
json k.vlmp.run.json 'd["tokens"]["budget"] == 600 and 600 <= d["tokens"]["seen"] < 680'
json k.vlmp.run.json '600 / 7 <= d["tokens"]["held_out"] < 180 and d["tokens"]["samples_of"] == 32'
check "other codes" test "$(cmp -s all.vlmp k.vlmp; echo $?)" = 1
exits 0 vlm-inspect k.vlmp --json
json stdout 'd["provenance"]["tokens"]["budget"] == 600'
exits 0 quantize two.vlmp --tokens 600 --threads 2
same k.vlmp two.vlmp
exits 0 quantize two.vlmp --tokens 600 --seed 1 --force
check "another seed draws others" test "$(cmp -s k.vlmp two.vlmp; echo $?)" = 1

# The finished file of another budget is not taken for this run's.
exits 0 quantize k.vlmp --tokens 600 --resume
refuses 4 "k.vlmp: .*'tokens' differs; .*--force" quantize k.vlmp --tokens 700 --resume
refuses 4 "'tokens' differs" quantize k.vlmp --tokens 600 --seed 1 --resume
refuses 4 "'tokens' differs" quantize k.vlmp --tokens all --resume
refuses 4 "'tokens' differs" quantize all.vlmp --tokens 600 --resume

# Fewer tokens than a sample has: one sample is seen and one held out, moments take few picture rows.
for options in "" "--no-sequential"; do
    exits 0 quantize few.vlmp --tokens 20 --force $options
    check "thinned" grep -qE '^on [0-9]+ tokens of 1 samples, [0-9]+ of 1 held out; .*; moments take one of [2-8] picture rows$' stderr
    cp few.vlmp one.vlmp
    exits 0 quantize few.vlmp --tokens 20 --force --threads 1 $options
    same few.vlmp one.vlmp
done
json few.vlmp.run.json 'd["tokens"]["picture_stride"] > 1 and "tower_stride" not in d["tokens"]'
echo '{"version": 1, "rules": [{"match": "vision.*", "scheme": {"method": "gptq", "bits": 4}}, {"match": "*", "scheme": null}]}' >tower.json
exits 0 vlm-quantize tiny --calib all.calib -o tower.vlmp --recipe tower.json --tokens 9
json tower.vlmp.run.json 'd["tokens"]["tower_stride"] > 1 and "picture_stride" not in d["tokens"]'
exits 0 vlm-quantize tiny -o rtn.vlmp --method rtn --tokens 600
json rtn.vlmp.run.json '"tokens" not in d'
refuses 2 "--tokens: '-3' is outside|--tokens: -3 is outside" quantize x.vlmp --tokens -3

# Work files are those of what is taken.
exits 0 vlm-quantize tiny --calib all.calib --method gptq --dry-run --json
cp stdout whole.json
exits 0 vlm-quantize tiny --calib all.calib --method gptq --dry-run --json --tokens 600
json stdout 'd["work_bytes"] < 0.6 * json.load(open("whole.json"))["work_bytes"]'

# Interrupted, and resumed with the same budget alone.
exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 32 -o demo.calib -q
quantize_demo() { # options…
    vlm-quantize "$model" --calib demo.calib -o d.vlmp --method gptq "$@"
}
exits 0 quantize_demo --tokens 800
mv d.vlmp whole.vlmp
interrupted 'd.vlmp*' vlm-quantize "$model" --calib demo.calib -o d.vlmp --method gptq --tokens 800
refuses 4 "d.vlmp.journal: belongs to another run, 'tokens' differs" quantize_demo --tokens 900 --resume
refuses 4 "belongs to another run, 'tokens' differs" quantize_demo --resume
refuses 4 "belongs to another run, 'seed' differs" quantize_demo --tokens 800 --seed 2 --resume
exits 0 quantize_demo --tokens 800 --resume
same whole.vlmp d.vlmp
