#!/bin/bash
# Killed at random calls that change a file, and resumed again and again until done: the bytes of an
# unbroken run, whatever method, recipe and options. Between two runs the activations that were kept at
# block borders are damaged or removed now and then. VLMP_KILL_HOOK: the library of kill_hook.c.
#
# VLMP_ROUNDS (1): how often each case is worn down; VLMP_CASES: an extended regular expression that
# picks some; VLMP_MODEL: a model folder in place of a tiny one.
. "$(dirname "$0")/lib.sh"
: "${VLMP_KILL_HOOK:?is the library that kills}"

tiny=${VLMP_MODEL-tiny}
[ -n "${VLMP_MODEL-}" ] || python3 "$VLMP_ROOT/tests/e2e/make_tiny.py" "$model" tiny
exits 0 vlm-calibrate "$tiny" --data "$calib_data" --samples 16 -o c.calib -q

# Recipes: the flat dictionary and rules, each method in each component, kept linears between.
cat >flat.json <<'END'
{"vision_encoder": "awq_4bit", "projection": "gptq_4bit", "llm_layers_0_0": "int8_dynamic",
 "llm_layers_1_end": "gptq_4bit", "embeddings": "int8", "lm_head": "awq_4bit"}
END
cat >floats.json <<'END'
{"vision_encoder": "gptq_fp8", "projection": "gptq_nvfp4", "llm_layers_0_0": "gptq_fp8",
 "llm_layers_1_end": "gptq_nvfp4", "embeddings": "rtn_fp8", "lm_head": "gptq_mxfp4"}
END
for method in rtn gptq awq awq+gptq; do
    scheme="{\"method\": \"$method\", \"bits\": 4, \"group\": 32"
    cat >rules-$method.json <<END
{"version": 1, "rules": [
  {"match": "text.layers.1.mlp.down", "scheme": null},
  {"match": "text.layers.0.attn.v", "scheme": {"method": "gptq", "bits": 8, "group": "channel"}},
  {"match": "text.embed", "scheme": $scheme}},
  {"match": "projector.*", "scheme": $scheme, "activations": "int8"}},
  {"match": "vision.layers.*", "scheme": $scheme, "symmetric": false}},
  {"match": "default", "scheme": $scheme, "symmetric": false, "activations": "int8"}}]}
END
done

draw() { # LIMIT: into $drawn, 1 … LIMIT, the same numbers every time
    seed=$(((seed * 1103515245 + 12345) & 0x7fffffff))
    drawn=$((seed / 65536 % $1 + 1))
}

spoil() { # Something happens to the activations kept, as often as not.
    draw 4
    case $drawn in
    1) rm -f k.vlmp.border-$((kills % 2)) ;;
    2) for file in k.vlmp.border-*; do
        [ ! -e "$file" ] || printf 'damaged' | dd of="$file" bs=1 seek=999 conv=notrunc status=none
    done ;;
    esac
}

total=0 resumed=0
wear_down() { # options…
    local kills=0 tries=0 status
    rm -f k.vlmp*
    while :; do
        draw $((160 + 10 * tries)) # every try may come further, so that there is an end
        tries=$((tries + 1)) status=0
        VLMP_KILL_AT=$drawn LD_PRELOAD=$VLMP_KILL_HOOK vlm-quantize "$tiny" --calib c.calib -o k.vlmp \
            --threads 1 --resume "$@" 2>log || status=$?
        ! grep -q 'going on behind' log || resumed=$((resumed + 1))
        [ "$status" = 137 ] || break
        kills=$((kills + 1))
        spoil
    done 2>/dev/null # the shell tells of every kill
    [ "$status" = 0 ] || tail -3 log
    check "status $status after $kills kills: $*" test "$status" = 0
    same whole.vlmp k.vlmp
    check "left over: $* $(echo k.vlmp*)" test "$(echo k.vlmp*)" = "k.vlmp k.vlmp.run.json"
    total=$((total + kills))
    echo "$kills kills: $*"
}

seed=1
wear() { # options…
    [[ "$*" =~ ${VLMP_CASES-} ]] || return 0
    exits 0 vlm-quantize "$tiny" --calib c.calib -o whole.vlmp --force -q "$@"
    for ((round = 0; round < ${VLMP_ROUNDS-1}; round++)); do
        wear_down "$@"
    done
}

for sequential in "" --no-sequential; do
    for method in rtn gptq awq awq+gptq; do
        wear --method $method $sequential
        wear --method $method --asymmetric --group 32 $sequential
        wear --method $method --bits 3 --group 32 $sequential
        wear --method $method --bits 8 --group channel --activations int8 $sequential
        wear --recipe rules-$method.json $sequential
    done
    for method in gptq awq+gptq; do
        wear --method $method --target weights $sequential
    done
    for codes in fp8 mxfp4 nvfp4; do
        wear --method gptq --codes $codes $sequential
    done
    wear --method rtn --codes nvfp4 $sequential
    wear --recipe floats.json $sequential
    wear --method int8 $sequential
    wear --recipe @w4 $sequential
    wear --recipe @seed $sequential
    wear --recipe flat.json $sequential
done
# What rounding costs, killed and measured again until done: the table of an unbroken run.
mkdir work
exits 0 vlm-eval "$tiny" --sensitivity c.calib -q
mv c.calib.sensitivity.json whole.json
tries=0 status=137
while [ "$status" = 137 ]; do
    draw $((400 + 40 * tries))
    tries=$((tries + 1)) status=0
    TMPDIR=$PWD/work VLMP_KILL_AT=$drawn LD_PRELOAD=$VLMP_KILL_HOOK vlm-eval "$tiny" \
        --sensitivity c.calib --threads 1 2>log >stdout || status=$?
done 2>/dev/null
[ "$status" = 0 ] || tail -3 log
check "status $status after $tries runs" test "$status" = 0 -a "$tries" -ge 4
check "the last went on" grep -q 'going on from what an earlier run has measured' log
same whole.json c.calib.sensitivity.json
check "left over: $(ls work)" test -z "$(ls work)"
echo "$((tries - 1)) kills: --sensitivity"

echo "$total kills; activations of a block border were read $resumed times"
check "$total runs were killed" test "$total" -ge 60
check "activations were read $resumed times" test "$resumed" -ge 20
