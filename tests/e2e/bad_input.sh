#!/bin/bash
# Bad input: one clear message with place and hint, exit 4 (1 for a full disk), nothing half-written.
. "$(dirname "$0")/lib.sh"
bad() { python3 "$VLMP_ROOT/tests/e2e/bad_files.py" "$@"; }

# refused PATTERN COMMAND…: exit 4, and no file of the output's name is left, temporary or not.
refused() {
    local pattern=$1 left
    shift
    refuses 4 "$pattern" "$@"
    left=$(find . -name 'out.*' -o -name '.out*')
    if [ -n "$left" ]; then fail "left behind: $left"; else pass; fi
    rm -rf ./out.* ./.out*
}

# --- model folders: every command that reads weights refuses them -----------------------------------
k='layers.3.self_attn.k_proj.weight|text.layers.3.attn.k'
while read -r kind pattern; do
    bad "$kind" "$model" "$kind"
    refused "$kind/model.*($pattern)" vlm-quantize "$kind" --method rtn -o out.vlmp
    case $kind in
    overlap | transposed | nan)
        refused "$kind/model.*($pattern)" vlm-calibrate "$kind" --data "$calib_data" -o out.calib
        refused "$kind/model.*($pattern)" vlm-run "$kind" --prompt x
        refused "$kind/model.*($pattern)" vlm-eval "$kind" --data "$eval_data" --samples 2 --report out.html
        ;;
    esac
    rm -rf "./$kind"
done <<END
truncated-header byte
truncated-data byte
trailing byte
tiny byte
empty byte
length-huge byte|length
not-json header byte
pointer pointer|Git LFS
overlap byte.*overlaps
duplicate $k
past-end byte
overflow $k
transposed $k
length-differs $k
unknown-type Q9
missing spare|$k
nan ($k).*(NaN|nan|finite)
infinite ($k).*(inf|finite)
END
bad index-outside "$model" index-outside
refused 'index.json.*\.\./index-outside.safetensors' vlm-quantize index-outside --method rtn -o out.vlmp
bad index-missing "$model" index-missing
refused 'model-00001-of-00002.safetensors' vlm-quantize index-missing --method rtn -o out.vlmp
refused 'nowhere' vlm-quantize nowhere --method rtn -o out.vlmp
mkdir hollow
refused 'hollow.*config.json' vlm-quantize hollow --method rtn -o out.vlmp
cp -r "$model" config
sed -i 's/"num_hidden_layers": 6/"num_hidden_layers": -1/' config/config.json
refused 'config.json.*num_hidden_layers' vlm-quantize config --method rtn -o out.vlmp
cp "$model/config.json" config/config.json
sed -i 's/LlavaForConditionalGeneration/GptForCausalLM/; s/"llava"/"gpt"/' config/config.json
refused 'config.json.*gpt' vlm-quantize config --method rtn -o out.vlmp

# --- what other tools wrote: GGUF pairs, folders of LLaVA's own code -----------------------------------
exits 0 vlm-quantize "$model" --method rtn --group 64 -o pair.vlmp -q
exits 0 vlm-export pair.vlmp --format gguf -o pair
while IFS=: read -r kind file pattern; do
    cp -r pair "$kind"
    at=$kind/$file
    case $kind in
    cut) head -c 50000 pair/"$file" >"$at" ;;
    header) head -c 700 pair/"$file" >"$at" ;;
    hollow-file) : >"$at" ;;
    words) echo "version https://git-lfs.github.com/spec/v1" >"$at" ;;
    other) cp pair/model.gguf "$at" ;;
    absent) rm "$at" ;;
    folder) rm "$at" && mkdir "$at" ;;
    old) printf '\001' | dd of="$at" bs=1 seek=4 conv=notrunc status=none ;;
    many) printf '\377\377\377' | dd of="$at" bs=1 seek=8 conv=notrunc status=none ;;
    json) echo '{' >"$at" ;;
    esac
    refused "$kind/?$pattern" vlm-inspect "$kind"
    refused "$kind/?$pattern" vlm-run "$kind" --prompt x
    refused "$kind/?$pattern" vlm-export "$kind" --format gguf -o out.gguf
    rm -rf "./$kind"
done <<'END'
cut:mmproj-model.gguf:mmproj-model.gguf: tensor .*truncated
cut:model.gguf:model.gguf: tensor .*truncated
header:mmproj-model.gguf:mmproj-model.gguf: byte
hollow-file:mmproj-model.gguf:mmproj-model.gguf:
words:mmproj-model.gguf:mmproj-model.gguf: is no GGUF file
words:model.gguf:model.gguf: is no GGUF file
other:mmproj-model.gguf:mmproj-model.gguf: general.architecture is .llama., not .clip.
absent:mmproj-model.gguf:: 0 GGUF files with 'mmproj'
folder:mmproj-model.gguf:mmproj-model.gguf:
old:model.gguf:model.gguf: byte 4: GGUF version 1
many:model.gguf:model.gguf: byte 8:
json:config.json:config.json
END
python3 "$VLMP_ROOT/tests/e2e/make_original.py" "$VLMP_ROOT/tests/golden/models" originals
while IFS=% read -r change pattern; do
    cp -r originals/anyres originals/bad # beside its tower
    sed -i "$change" originals/bad/config.json
    refused "originals/bad.*($pattern)" vlm-quantize originals/bad --method rtn -o out.vlmp
    rm -rf ./originals/bad
done <<'END'
s/"mm_projector_type": "[^"]*"/"mm_projector_type": "resampler"/%resampler
s/"mm_vision_tower": "[^"]*"/"mm_vision_tower": "nowhere"/%nowhere
s/"hidden_size": [0-9]*/"hidden_size": 24/%shape
s/{/{"mm_hidden_size": "x",/%mm_hidden_size
END
while IFS=% read -r kind config pattern; do # SentencePiece's file in place of tokenizer.json
    cp -r originals/anyres originals/bad
    rm originals/bad/tokenizer.json
    echo "$config" >originals/bad/tokenizer_config.json
    bad "$kind" "$VLMP_ROOT/tests/golden/text/sentencepiece/legacy/tokenizer.model" originals/bad/tokenizer.model
    refused "originals/bad/$pattern" vlm-quantize originals/bad --method rtn -o out.vlmp
    refused "originals/bad/$pattern" vlm-run originals/bad --prompt x
    rm -rf ./originals/bad
done <<'END'
truncated-file%{}%tokenizer.model: byte .*: download it again
many-cuts%{}%tokenizer.model: its pieces are cut .*: download it again
many-cuts%{"add_prefix_space": false}%tokenizer_config.json: 'add_prefix_space' is false.*remove the key
END
mkdir originals/bad && cp originals/anyres/config.json originals/bad
refused 'originals/bad: ' vlm-quantize originals/bad --method rtn -o out.vlmp

# --- data: the line, the picture --------------------------------------------------------------------
mkdir data
cp "$VLMP_ROOT/demo/calib/images/0000.png" data/good.png
good='{"image": "good.png", "prompt": "Describe the picture.", "answers": ["a cat"]}'
with() { # second line of data.jsonl
    printf '%s\n%s\n%s\n' "$good" "$1" "$good" >data/data.jsonl
}
data_refused() { # PATTERN
    refused "$1" vlm-calibrate "$model" --data data/data.jsonl -o out.calib
    refused "$1" vlm-eval "$model" --data data/data.jsonl --metrics ppl --report out.html
}
sample() { with "{\"image\": \"$1\", \"prompt\": \"Describe the picture.\", \"answers\": [\"a cat\"]}"; }
with '{"image": "good.png", "prompt": "x"'
data_refused 'data.jsonl:2|data.jsonl.*line 2'
with '[1, 2]'
data_refused 'data.jsonl:2|data.jsonl.*line 2'
with '{"image": "good.png", "prompt": 3, "answers": ["x"]}'
data_refused 'data.jsonl:2.*prompt|data.jsonl.*line 2.*prompt'
for path in ../outside.png /etc/passwd data/../../x.png; do
    sample "$path"
    cp data/good.png outside.png
    data_refused "(data.jsonl:2|line 2).*$path|$path"
done
rm outside.png
ln -s /etc/passwd data/link.png
sample link.png
data_refused 'link.png'
sample absent.png
data_refused 'absent.png'
: >data/data.jsonl
data_refused 'data.jsonl.*(no|empty)'
refused 'none.jsonl' vlm-calibrate "$model" --data none.jsonl -o out.calib

jpeg=$(find "$VLMP_ROOT/demo/calib/images" -name '*.jpg' | sort | head -1)
bad corrupt-png data/good.png data/corrupt.png
bad truncated-file data/good.png data/short.png
bad huge-png - data/huge.png
bad huge-jpeg "$jpeg" data/huge.jpg
bad truncated-file "$jpeg" data/short.jpg
echo "no picture" >data/text.png
for picture in corrupt.png short.png huge.png huge.jpg short.jpg text.png; do
    sample $picture
    data_refused "data/$picture: "
    refused "data/$picture: " vlm-run "$model" --image data/$picture --prompt x
done
for picture in huge.png huge.jpg; do # refused by its header, before memory is asked for
    [ -z "${VLMP_SANITIZED-}" ] || break # whose shadow memory is larger than the limit
    refused "data/$picture: .*(100000|65500)" \
        bash -c "ulimit -v 1500000; exec vlm-run '$model' --image data/$picture --prompt x --threads 2"
done

# Noise makes useless statistics; --skip-broken lets so many through and lists each.
bad noise-png - data/noise.png
sample noise.png
refused 'data/noise.png: .*noise' vlm-calibrate "$model" --data data/data.jsonl -o out.calib
printf '%s\n' "$good" '{"image": "noise.png", "prompt": "a", "answers": ["b"]}' \
    '{"image": "short.jpg", "prompt": "a", "answers": ["b"]}' >data/data.jsonl
refused 'data/short.jpg' vlm-calibrate "$model" --data data/data.jsonl -o out.calib --skip-broken 1
exits 0 vlm-calibrate "$model" --data data/data.jsonl -o skipped.calib --skip-broken 2 --json
check "the audit lists noise.png" grep -q 'noise.png' stdout
check "the audit lists short.jpg" grep -q 'short.jpg' stdout
json stdout 'd["broken"] == 2 and d["chosen"] == 1'

# --- recipes and calibration files ------------------------------------------------------------------
exits 0 vlm-calibrate "$model" --data "$calib_data" --samples 8 -o c.calib -q
recipe_refused() { # PATTERN, recipe
    printf '%s\n' "$2" >recipe.json
    refused "recipe.json.*($1)" vlm-quantize "$model" --recipe recipe.json --calib c.calib -o out.vlmp
}
all='{"match": "*", "scheme": null}'
recipe_refused 'text.layer.\*.*match' \
    '{"version": 1, "rules": [{"match": "text.layer.*", "scheme": "int8"}, '"$all"']}'
recipe_refused 'llm_layers_7_9.*match' '{"llm_layers_7_9": "int8", "default": null}'
recipe_refused 'no rule|decide' '{"vision_encoder": "int8"}'
recipe_refused 'int9" .did you mean int8' '{"default": "int9"}'
recipe_refused "vison_encoder' .did you mean vision_encoder" '{"vison_encoder": "int8"}'
recipe_refused 'gptw .did you mean gptq' '{"default": {"method": "gptw"}}'
refused 'gptq_4bits.*did you mean gptq_4bit' vlm-quantize "$model" --recipe gptq_4bits --calib c.calib -o out.vlmp
recipe_refused 'colour' '{"version": 1, "colour": 1, "rules": ['"$all"']}'
recipe_refused 'version' '{"version": 2, "rules": ['"$all"']}'
recipe_refused 'byte|line' '{"default": "int8"'
bad other-model "$model" other-model
refused 'c.calib: .*another model' vlm-quantize other-model --method gptq --calib c.calib -o out.vlmp
head -c 100000 c.calib >short.calib
refused 'short.calib' vlm-quantize "$model" --method gptq --calib short.calib -o out.vlmp
refused 'data.jsonl' vlm-quantize "$model" --method gptq --calib "$calib_data" -o out.vlmp

# --- packed files -----------------------------------------------------------------------------------
exits 0 vlm-quantize "$model" --method gptq --calib c.calib -o good.vlmp -q
refused 'good.vlmp: already packed' vlm-quantize good.vlmp --method rtn -o out.vlmp
exits 0 vlm-inspect good.vlmp --verify
bad flip-codes good.vlmp codes.vlmp
refused "codes.vlmp.*text.layers.2.mlp.up.codes.*SHA-256" vlm-inspect codes.vlmp --verify
# hashes are checked beside the answer, which is not success before they are
refused "codes.vlmp.*text.layers.2.mlp.up.codes.*SHA-256" vlm-run codes.vlmp --prompt x --max-new-tokens 1
refused "codes.vlmp.*text.layers.2.mlp.up.codes.*SHA-256" \
    vlm-run codes.vlmp --prompt x --max-new-tokens 1 --json
check "no answer as JSON from a damaged file" test ! -s stdout
bad flip-metadata good.vlmp metadata.vlmp
refused "metadata.vlmp" vlm-inspect metadata.vlmp --verify
refused "metadata.vlmp" vlm-run metadata.vlmp --prompt x
bad truncated-file good.vlmp short.vlmp
refused "short.vlmp.*byte" vlm-run short.vlmp --prompt x
refused "short.vlmp.*byte" vlm-eval short.vlmp --data "$eval_data" --samples 2

# --- a full disk ------------------------------------------------------------------------------------
# A small file system where one can be mounted; a limit on the size of files elsewhere.
on_full_disk() { # command…
    rm -rf small && mkdir small
    if unshare -rm true 2>/dev/null; then
        unshare -rm bash -c 'mount -t tmpfs -o size=3m none small && "$@"; s=$?
            ls -A small >left; exit $s' - "$@"
    else
        bash -c 'trap "" XFSZ; ulimit -f 3000; "$@"; s=$?; ls -A small >left; exit $s' - "$@"
    fi
}
for method in rtn gptq; do
    refuses 1 'small/full.vlmp.*(No space left|too large)' on_full_disk \
        vlm-quantize "$model" --method $method --calib c.calib -o small/full.vlmp
    check "left is what --resume continues from" test -z "$(grep -vE '\.(journal|border-[01])$' left)"
done
refuses 1 'small/.*(No space left|too large)' on_full_disk \
    vlm-calibrate "$model" --data "$calib_data" --samples 200 -o small/full.calib
check "nothing is left" test ! -s left
exits 1 bash -c "vlm-eval '$model' --data '$eval_data' --samples 2 --metrics ppl --json >/dev/full"
check "a full standard output" grep -q 'standard output' stderr
exits 1 bash -c "vlm-quantize --help >/dev/full"
