#!/bin/bash
# What the environment does to the programs: little address space, files that are cut while they are in
# use, outputs that are not plain files, names made to deceive.
# shellcheck disable=SC1091 source=tests/e2e/lib.sh
. "${VLMP_ROOT:?}/tests/e2e/lib.sh"

no_parts() { check "no temporary file is left" test -z "$(find . -name '*.vlmp-part')"; }

# --- little address space: the right sentence, and soon; OpenBLAS would try for ever ----------------
if [ -z "${VLMP_SANITIZED-}" ]; then
    for kib in 30000 60000 120000 250000; do
        for command in "vlm-run $model --prompt x" "vlm-calibrate $model --data $calib_data -o o.calib" \
            "vlm-quantize $model --method rtn -o o.vlmp" "vlm-eval $model --data $eval_data --samples 1"; do
            refuses 1 'out of memory: ' timeout 20 \
                bash -c "ulimit -v $kib; exec $command --threads 2"
        done
    done
    no_parts
fi

# --- inputs that are cut while they are in use ------------------------------------------------------
# The preloaded library cuts each file to its first bytes once it is mapped, so that a header is read.
cut_to() { # BYTES COMMAND…
    local bytes=$1
    shift
    VLMP_FAULT=cut:$bytes:cut LD_PRELOAD=$VLMP_INJECT "$@"
}
if [ -z "${VLMP_SANITIZED-}" ]; then
    exits 0 vlm-quantize "$model" --method rtn -o good.vlmp -q
    for command in "vlm-run cut --prompt x" "vlm-eval cut --data $eval_data --samples 2 --metrics ppl" \
        "vlm-calibrate cut --data $calib_data --samples 2 -o o.calib" \
        "vlm-quantize cut --method rtn -o o.vlmp" "vlm-inspect cut --verify" \
        "vlm-eval cut.vlmp --data $eval_data --samples 2 --metrics ppl" \
        "vlm-eval $model --data $eval_data --samples 2 --metrics ppl --reference cut --save-reference o.ref"; do
        rm -rf cut cut.vlmp
        cp -r "$model" cut
        cp good.vlmp cut.vlmp
        # shellcheck disable=SC2086 # words
        refuses 1 '/cut(/[a-z._]*|\.vlmp): cannot be read any more' cut_to 65536 $command --threads 2
        no_parts
        check "no output" test ! -e o.calib -a ! -e o.vlmp -a ! -e o.ref
        rm -f o.vlmp.journal
    done
    # Less than a page: zeros, and no signal.
    rm -rf cut
    cp -r "$model" cut
    bytes=$(($(stat -c %s cut/model.safetensors) - 2))
    for command in "vlm-run cut --prompt x" "vlm-quantize cut --method rtn -o o.vlmp" \
        "vlm-calibrate cut --data $calib_data --samples 2 -o o.calib"; do
        cp "$model"/* cut
        # shellcheck disable=SC2086 # words
        refuses 1 'cut/model.safetensors: became shorter' cut_to $bytes $command --threads 2
        check "no output, and no journal to go on from" test ! -e o.vlmp -a ! -e o.vlmp.journal -a ! -e o.calib
    done
fi

# --- a picture behind a link that leads out, when the system does not tell where it leads ------------
if [ -z "${VLMP_SANITIZED-}" ]; then
    mkdir pictures
    cp "$(find "$VLMP_ROOT/demo/eval/images" -name '*.png' | head -1)" outside.png
    ln -s ../outside.png pictures/out.png
    echo '{"prompt": "p", "image": "out.png", "answers": ["a"]}' >pictures/data.jsonl
    leads_out="vlm-calibrate $model --data pictures/data.jsonl -o o.calib --samples 1 -q"
    # shellcheck disable=SC2086 # words
    refuses 4 'leaves the folder through a link' env VLMP_FAULT=io:0:fail VLMP_FAULT_LOG="$PWD/calls" \
        LD_PRELOAD="$VLMP_INJECT" $leads_out
    check "links are resolved" grep -q '^realpath ' calls
    for call in $(grep -n '^realpath ' calls | cut -d: -f1); do
        # shellcheck disable=SC2086 # words
        refuses 1 'Input/output error' env VLMP_FAULT=io:$call:fail LD_PRELOAD="$VLMP_INJECT" $leads_out
    done
fi

# --- outputs that are not plain files ---------------------------------------------------------------
echo keep >victim
ln -s victim link
mkfifo fifo
mkdir folder
outputs() { # PATH PATTERN STATUS
    refuses "$3" "$2" vlm-calibrate "$model" --data "$calib_data" --samples 2 -o "$1" --force
    refuses "$3" "$2" vlm-quantize "$model" --method rtn -o "$1" --force
    for option in save-reference report junit summary; do
        refuses "$3" "$2" vlm-eval "$model" --data "$eval_data" --samples 1 --metrics ppl \
            --reference "$model" --$option "$1" --force
    done
}
outputs link 'link: is a link' 2
outputs fifo 'fifo: is a device' 2
outputs folder 'folder: is a folder' 2
outputs /dev/null '/dev/null: is a device' 2
outputs /dev/stdout '/dev/stdout: is a link' 2
outputs nowhere/out 'nowhere/out: .*No such file' 1
# The kernel's folders take none of ours; the reason is mkdir's.
refuses 1 'work folder: (Operation not permitted|Permission denied|Read-only)' \
    vlm-quantize "$model" --method rtn -o o.vlmp --work /sys/vlmpack-work
check "a link is not followed" grep -qx keep victim
check "a FIFO stays" test -p fifo
check "a device stays" test -c /dev/null
for name in o.calib.vlmp-part o.vlmp.vlmp-part o.vlmp.journal; do ln -s ../victim $name; done
refuses 1 'o.calib.vlmp-part: is a link' \
    vlm-calibrate "$model" --data "$calib_data" --samples 2 -o o.calib
refuses 1 'o.vlmp.journal: is a link' vlm-quantize "$model" --method rtn -o o.vlmp --force
rm o.vlmp.journal
refuses 1 'o.vlmp.vlmp-part: is a link' vlm-quantize "$model" --method rtn -o o.vlmp
check "no output" test ! -e o.calib -a ! -e o.vlmp
rm -f -- *.vlmp-part *.journal

# --- two runs to one name ---------------------------------------------------------------------------
for force in "" --force; do
    rm -f two.calib
    : >results
    for run in 1 2; do
        { # shellcheck disable=SC2086 # no word, or one
            vlm-calibrate "$model" --data "$calib_data" --samples 64 -o two.calib --seed $run $force \
                -q 2>two.$run && echo $run >>results
        } &
    done
    wait
    check "one of two runs succeeds" test "$(wc -l <results)" = 1
    check "the other says why" grep -qE 'another run is writing it|exists' two.1 two.2
    exits 0 vlm-inspect two.calib
done
no_parts

# --- names made to deceive --------------------------------------------------------------------------
escape=$'\e]0;title\a\e[31m'
clean() { # FILE…
    check "$1 holds no control characters" bash -c "! LC_ALL=C grep -q '[^[:print:][:space:]]' <(
        tr -d '\200-\377' <\"\$1\")" - "$1"
}
refuses 4 'x1b' vlm-run "model$escape" --prompt x
clean stderr
refuses 2 'x1b' vlm-run "$model" "--$escape"
clean stderr
cp -r "$model" "m$escape"
exits 0 vlm-inspect "m$escape"
clean stdout
exits 0 vlm-eval "m$escape" --data "$eval_data" --samples 1 --metrics ppl --report o.html --junit o.xml \
    --summary o.md
for file in stdout stderr o.html o.xml o.md; do clean $file; done
check "JUnit is XML" python3 -c 'import xml.dom.minidom as x; x.parse("o.xml")'
mkdir 'm<script>|`x`'
cp -r "$model"/* 'm<script>|`x`'
exits 0 vlm-eval 'm<script>|`x`' --data "$eval_data" --samples 1 --metrics ppl --summary o.md --report \
    o.html --junit o.xml --force
check "the report stands alone" python3 "$VLMP_ROOT/tests/e2e/report_check.py" o.html 'm<script>|`x`'
for file in o.html o.xml o.md; do check "$file: no tag" bash -c "! grep -q '<script' $file"; done
check "a row of the table has its columns" test "$(grep -c '^| m&lt;' o.md)" = 1
printf '{"prompt": "x", "image": "%s", "answers": ["y"]}\n' 'no\u001b[31m\u202e.png' >names.jsonl
refuses 4 'u202e' vlm-calibrate "$model" --data names.jsonl -o o.calib
clean stderr
mkdir odd
for name in sound "$escape"; do cp "$VLMP_ROOT/demo/calib/images/0000.png" "odd/$name.png"; done
truncate -s -12 "odd/$escape.png"
exits 0 vlm-calibrate "$model" --data odd -o o.calib
check "a damaged picture is named" grep -q 'damaged but readable.*x1b' stderr
clean stderr
rm o.calib
printf '{"default": "%s"}\n' 'a\u001b[2J' >recipe.json
refuses 4 'x1b' vlm-quantize "$model" --recipe recipe.json -o o.vlmp
clean stderr
printf 'text' >"m$escape"/$'notes\n.txt'
refuses 4 'notes.x0a.txt: .*control character' vlm-quantize "m$escape" --method rtn -o o.vlmp
clean stderr
check "no output" test ! -e o.vlmp
