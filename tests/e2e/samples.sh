#!/bin/bash
# Samples: conversations, broken records, links, stand-in answers, samples that white space changed,
# and an interrupted answer.
. "$(dirname "$0")/lib.sh"
images=$VLMP_ROOT/demo/eval/images
mkdir data
cp "$images"/000[0-4].png data/
turn() { printf '{"from": "%s", "value": "%s"}' "$1" "$2"; }
evaluate() { vlm-eval "$model" --metrics ppl --json "$@"; }

# --- conversations: every answer is scored, pictures stay in their turns -----------------------------
cat >data/one.json <<END
[{"image": "0000.png", "conversations": [$(turn human '<image>\nWhat do you see?'), $(turn gpt 'a bell.')]}]
END
cat >data/two.json <<END
[{"image": "0000.png", "conversations": [$(turn human '<image>\nWhat do you see?'), $(turn gpt 'a bell.'),
  $(turn human 'What else?'), $(turn gpt 'a cat on a mat.')]}]
END
cat >data/late.json <<END
[{"image": "0000.png", "conversations": [$(turn human 'What do you see?'), $(turn gpt 'a bell.'),
  $(turn human '<image>\nWhat else?'), $(turn gpt 'a cat on a mat.')]}]
END
cat >data/plain.jsonl <<'END'
{"image": "0000.png", "prompt": "What do you see?", "answers": ["a bell."]}
END
for name in one two late; do
    exits 0 evaluate --data data/$name.json
    mv stdout $name.out
done
exits 0 evaluate --data data/plain.jsonl
tokens() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["results"][0][sys.argv[2]])' "$1" "$2"; }
check "one exchange is a plain sample" test "$(tokens one.out ppl)" = "$(tokens stdout ppl)"
json two.out "d['results'][0]['tokens'] > $(tokens one.out tokens)"
check "a late picture has the same answers" test "$(tokens two.out tokens)" = "$(tokens late.out tokens)"
check "and other scores" test "$(tokens two.out ppl)" != "$(tokens late.out ppl)"
exits 0 vlm-eval "$model" --data data/two.json --metrics bleu,cider --json
json stdout 'any("several answers" in note for note in d["results"][0]["notes"])'
exits 0 vlm-calibrate "$model" --data data/two.json -o two.calib --json
json stdout "d['answer_tokens'] == $(tokens two.out tokens)"

# --- broken records: refused with their place, let through and listed by both commands ----------------
good='{"image": "0001.png", "prompt": "What do you see?", "answers": ["a cat"]}'
broken_jsonl() { printf '%s\n\n%s\n%s\n' "$good" "$1" "${good/0001/0002}" >data/broken.jsonl; }
both() { # PATTERN, data, its options…
    local pattern=$1 file=$2
    shift 2
    refuses 4 "$pattern.*--skip-broken" vlm-calibrate "$model" --data "$file" "$@" -o out.calib
    refuses 4 "$pattern.*--skip-broken" evaluate --data "$file" "$@"
    check "no model in the message" test -z "$(grep 'demo/model' stderr)"
    check "no audit is promised" test -z "$(grep 'audit' stderr)"
    exits 0 vlm-calibrate "$model" --data "$file" "$@" -o out.calib --json --skip-broken 1
    json stdout 'd["broken"] == 1 and d["chosen"] == 2 and len(d["left_out"]) == 1'
    exits 0 evaluate --data "$file" "$@" --skip-broken 1
    json stdout 'len(d["left_out"]) == 1 and d["results"][0]["samples"] == 2'
    json stdout 'any("--skip-broken" in note for note in d["results"][0]["notes"])'
    rm -f out.calib
}
while IFS='|' read -r pattern record; do
    broken_jsonl "$record"
    both "data/broken.jsonl:3.*$pattern" data/broken.jsonl
done <<'END'
0003x.png: no such file|{"image": "0003x.png", "prompt": "a", "answers": ["b"]}
placeholder|{"image": "0003.png", "prompt": "a", "answers": ["see <image> here"]}
answer is empty|{"image": "0003.png", "prompt": "a", "answers": [" "]}
not valid JSON|{"image": "0003.png", "prompt"
a URL|{"image": "https://example.org/a.png", "prompt": "a", "answers": ["b"]}
a data URI|{"image": "data:image/png;base64,iVBORw0KGgo=", "prompt": "a", "answers": ["b"]}
END
{
    printf '['
    for i in 1 2; do
        printf '{"image": "000%s.png", "conversations": [%s, %s]},' $i "$(turn human '<image>\nWhat?')" "$(turn gpt 'a')"
    done
    printf '{"image": "0003.png", "conversations": [%s, %s]}]' "$(turn human '<image>')" "$(turn gpt 'a')"
} >data/broken.json
both 'data/broken.json: entry 3.*no text' data/broken.json
coco() { # annotations
    printf '{"images": [{"id": 1, "file_name": "0001.png"}, {"id": 2, "file_name": "0002.png"}%s], "annotations": [
      {"image_id": 1, "caption": "a"}, {"image_id": 2, "caption": "b"}, %s]}' "$2" "$1" >data/coco.json
}
coco '{"image_id": 9, "caption": "c"}' ''
both 'data/coco.json: annotations, entry 3.*no picture' data/coco.json --image-root data
coco '{"image_id": 3, "caption": ""}' ', {"id": 3, "file_name": "0003.png"}'
both "data/coco.json: annotations, entry 3: 'caption' is empty" data/coco.json --image-root data
echo x >data/0009.png
mkdir folder
cp data/0001.png data/0002.png data/0009.png folder
exits 4 vlm-calibrate "$model" --data folder -o out.calib
check "the folder's picture is named" grep -q 'folder/0009.png.*--skip-broken' stderr

# --- too long, and nothing left -----------------------------------------------------------------------
printf '%s\n' "$good" >data/good.jsonl
exits 0 evaluate --data data/good.jsonl
ppl=$(tokens stdout ppl)
python3 -c 'import json
print(json.dumps({"prompt": "long " * 4000, "answers": ["x"]}))' >>data/good.jsonl
exits 0 evaluate --data data/good.jsonl
json stdout 'len(d["left_out"]) == 1 and "good.jsonl:2" in d["left_out"][0]["reason"]'
json stdout "d['results'][0]['samples'] == 1 and d['results'][0]['ppl'] == $ppl"
exits 0 vlm-calibrate "$model" --data data/good.jsonl -o long.calib --json
json stdout 'd["too_long"] == 1'
refuses 4 'no usable sample.*max-tokens 8' vlm-calibrate "$model" --data data/plain.jsonl -o out.calib --max-tokens 8
check "no audit is promised" test -z "$(grep 'audit' stderr)"

# --- noise that is none ---------------------------------------------------------------------------------
python3 "$VLMP_ROOT/tests/e2e/bad_files.py" noise-png - data/noise.png
echo '{"image": "noise.png", "prompt": "a", "answers": ["b"]}' >data/noise.jsonl
refuses 4 'noise.jsonl:1: .*noise.png: .*--keep-noise' vlm-calibrate "$model" --data data/noise.jsonl -o out.calib
exits 0 vlm-calibrate "$model" --data data/noise.jsonl -o noise.calib --keep-noise -q

# --- a hub cache of data sets -----------------------------------------------------------------------------
hub=hub/datasets--org--name
mkdir -p $hub/blobs $hub/snapshots/abc/images
cp data/0001.png $hub/blobs/f00d
ln -s ../../../blobs/f00d $hub/snapshots/abc/images/0001.png
printf '%s\n' "${good/0001/images\/0001}" >$hub/blobs/beef
ln -s ../../blobs/beef $hub/snapshots/abc/data.jsonl
exits 0 evaluate --data $hub/snapshots/abc/data.jsonl
exits 0 vlm-calibrate "$model" --data $hub/snapshots/abc/images -o hub.calib -q
mv $hub/blobs/f00d elsewhere.png
ln -s ../../../elsewhere.png $hub/blobs/f00d
refuses 4 'data.jsonl:1: .*images/0001.png.*leaves the folder' evaluate --data $hub/snapshots/abc/data.jsonl

# --- a saved reference carries the answers that stood in -----------------------------------------------------
cp -r "$images" stand && rm stand/00[1-9]* stand/0[1-9]* # ten pictures, no answers
exits 0 vlm-quantize "$model" --method rtn -o rtn.vlmp -q
exits 0 vlm-eval rtn.vlmp --reference "$model" --save-reference saved.ref --data stand --metrics kl --json
mv stdout direct.out
exits 0 vlm-eval rtn.vlmp --reference saved.ref --data stand --metrics kl --json
json stdout "d['results'][0]['kl']['mean'] == $(python3 -c 'import json; print(json.load(open("direct.out"))["results"][0]["kl"]["mean"])')"

# --- samples of the calibration that white space changed --------------------------------------------------------
exits 0 vlm-quantize "$model" --method gptq --calib two.calib -o gptq.vlmp -q
refuses 4 'two.json: entry 1: .*--allow-overlap' vlm-eval gptq.vlmp --data data/two.json --metrics ppl
for words in 'What  else' Whatelse $'What\u00a0else' $'What\u3000else'; do
    sed "s/What else/$words/" data/two.json >data/changed.json
    exits 0 vlm-eval gptq.vlmp --data data/changed.json --metrics ppl --json
    json stdout 'any("white space" in note and "changed.json: entry 1" in note for note in d["results"][0]["notes"])'
done
sed 's/What else/Anything else/' data/two.json >data/other.json
exits 0 vlm-eval gptq.vlmp --data data/other.json --metrics ppl --json
json stdout 'not any("white space" in note for note in d["results"][0]["notes"])'
for words in ' a cat' acat $'a\u2009cat'; do
    printf '%s\n%s\n' "$good" "${good/a cat/$words}" >data/twice.jsonl
    exits 0 vlm-calibrate "$model" --data data/twice.jsonl -o twice.calib --json --force
    json stdout 'd["differ_in_white_space"] == 1 and d["chosen"] == 2'
done

# --- an interrupted answer -----------------------------------------------------------------------------------------
cat >interrupt.py <<'END'
"""interrupt.py SIGNAL COMMAND...: sends the signal ever later, until it meets the command at work."""
import json
import signal
import subprocess
import sys
import time

number = getattr(signal, sys.argv[1])
for delay in range(2, 200):
    process = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(delay / 200)
    process.send_signal(number)
    out, err = process.communicate()
    if process.returncode == 0 or not out:  # done before, or not yet at work
        continue
    answer = json.loads(out)
    good = answer["interrupted"] and process.returncode == 128 + number and b"interrupted" in err
    sys.exit(0 if good else 1)
sys.exit(2)
END
for name in SIGINT SIGTERM; do
    check "$name" python3 interrupt.py $name vlm-run "$model" --prompt "Describe the picture." --image data/0001.png \
        --temperature 50 --max-new-tokens 300 --json
done
exits 0 vlm-run "$model" --prompt "Describe the picture." --image data/0001.png --json
json stdout 'd["interrupted"] is False'
refuses 4 'URL' vlm-run "$model" --prompt x --image https://example.org/a.png
