#!/bin/bash
# The manual and the completions that the build makes of the tables of options: every example of a page is
# run, in the order of the work; pages render; completions parse and complete.
. "$(dirname "$0")/lib.sh"
: "${VLMP_MANUAL:?is the folder of the built pages}"

ln -s "$VLMP_ROOT/demo" demo
names() { grep -oE -- '--[a-z0-9-]+' | sort -u; }

for tool in vlm-calibrate vlm-quantize vlm-run vlm-eval vlm-inspect vlm-export vlm-plan vlm-doctor; do
    count=0
    exits 0 $tool --help
    cp stdout help
    while IFS= read -r line; do
        check "$tool: the manual lacks: $line" grep -qFx -- "$line" "$VLMP_MANUAL/$tool.1.scd"
        [[ $line != vlm-doctor* ]] || line="$line || true" # its status is about the machine
        exits 0 bash -c "$line" </dev/null
        count=$((count + 1))
    done < <(sed -n '/^examples:$/,$ s/^  //p' help)
    check "$tool has no example" test "$count" -ge 1
    check "$tool --help repeats itself" test -z "$(tr -s ' \n' ' ' <help |
        grep -oE '(may be repeated|may be given more than once|\(required\))[^.]{0,4}(may be|\(required\))')"
    check "$tool --help is wider than 100 columns" test -z "$(sed '/^examples:/,$d' help | grep -E '^.{101}')"

    # The same options stand in --help, on the page and in each completion.
    grep -oE '^  (-[a-z], |    )--[a-z0-9-]+' help | names >options
    check "$tool: $(wc -l <options) options" test "$(wc -l <options)" -ge 9
    sed 's/\\//g' "$VLMP_MANUAL/$tool.1.scd" | grep -oE '^(\*-.\*, )?\*--[a-z0-9-]+' | names >seen
    same options seen
    grep "compgen -W '--" "$VLMP_MANUAL/$tool" | names >seen
    same options seen
    grep -oE "^    '[^[]*" "$VLMP_MANUAL/_$tool" | names >seen
    same options seen
    grep -oE -- ' -l [a-z0-9-]+' "$VLMP_MANUAL/$tool.fish" | sed 's/ -l /--/' | names >seen
    same options seen

    check "bash cannot read the completion of $tool" bash -n "$VLMP_MANUAL/$tool"
    if command -v zsh >zsh; then check "zsh, $tool" zsh -n "$VLMP_MANUAL/_$tool"; fi
    if command -v fish >fish; then check "fish, $tool" fish -n "$VLMP_MANUAL/$tool.fish"; fi
    if [ -f "$VLMP_MANUAL/$tool.1" ] && command -v man >man; then
        exits 0 env MANWIDTH=100 man --warnings -l "$VLMP_MANUAL/$tool.1"
        check "man warns about $tool: $(head -1 stderr)" test ! -s stderr
        check "man page of $tool" grep -q 'EXIT STATUS' stdout
    fi
done

# completed TOOL WORD…: what bash offers for the last word.
completed() {
    bash -c '. "$1/$2"; shift; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); "_${1//-/_}" 2>error
        echo "${COMPREPLY[*]}"' - "$VLMP_MANUAL" "$@"
}
check "an option" test "$(completed vlm-quantize model --meth)" = --method
check "its values" test "$(completed vlm-quantize model --method a)" = "awq awq+gptq"
check "after =" test "$(completed vlm-quantize model --method = g)" = gptq
check "files are left to bash" test -z "$(completed vlm-quantize model -o g)"

# The build alone asks for the table; people are not told of it.
exits 0 vlm-run --dump-options
json stdout 'd["name"] == "vlm-run" and len(d["options"]) > 5'
check "not in --help" test -z "$(vlm-run --help | grep dump-options)"
refuses 2 'unknown option --dump-options' vlm-run model --dump-options

# Events on standard error stand alone there, and end with the status.
exits 0 vlm-quantize "$model" --method rtn -o events.vlmp --json-progress 2
python3 -c 'import json; print(json.dumps([json.loads(line) for line in open("stderr")]))' >events
json events 'd[0]["event"] == "begin" and d[-1]["event"] == "exit" and d[-1]["status"] == 0'
exits 4 vlm-run none --prompt x --json-progress 2
json stderr 'd["event"] == "exit" and d["status"] == 4 and "none" in d["error"]'
refuses 2 'descriptor 77 is not open' vlm-run "$model" --prompt x --json-progress 77
