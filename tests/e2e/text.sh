#!/bin/bash
# Chat templates and tokenizers of a model folder, through the programs: constructs of Jinja, the date,
# a wrongly spelt end token, and tokenizers that make texts grow.
. "$(dirname "$0")/lib.sh"
cp -r "$model" m
chmod -R u+w m
printf '%s\n' '{"prompt": "Say a word.", "answers": ["a bell."]}' '{"prompt": "Another.", "answers": [" a cat "]}' >data.jsonl
evaluate() { vlm-eval m --data data.jsonl --metrics ppl --json "$@"; }
calibrate() { vlm-calibrate m --data data.jsonl -o out.calib --force --json "$@"; }

# --- templates: what the reference renders -------------------------------------------------------------
renders() { # TEMPLATE, TEXT
    printf '%s' "$1" >m/chat_template.jinja
    exits 0 vlm-run m --prompt Hi --print-prompt --max-new-tokens 1 --date 2024-07-26T09:05:00
    check "'$1' shows '$2'" grep -qxF -- "$2" stdout stderr
}
renders "{%- macro f(x, y='!') -%}[{{ x }}{{ y }}]{%- endmacro -%}{{ f(messages[0].role) }}" '[user!]'
renders '{% raw %}{{x}}{% endraw %}' '{{x}}'
renders "{{ ['b','C','a'] | sort | join }}{{ messages[0].role.title() }}" 'abCUser'
renders "{{ 'a{i:03d}'.format(i=3) }}{{ '%(n)s' | format(n='x') }}{{ none | selectattr('a') | list | length }}" 'a003x0'
renders "{{ strftime_now('%d %b %Y %H:%M') }}" '26 Jul 2024 09:05'

# --- the date: now for an answer, to be said for data and scores ---------------------------------------
exits 0 vlm-run m --prompt Hi --print-prompt --max-new-tokens 1
cat >m/chat_template.jinja <<'END'
{%- for m in messages -%}{{ m.role }} {{ strftime_now('%Y') }}: {% for c in m.content if c.type == 'text' %}{{ c.text }}{% endfor %}
{%- if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}assistant {{ strftime_now('%Y') }}: {% endif %}
END
refuses 4 'line 1: .*strftime_now.*--date' evaluate
refuses 4 'line 1: .*strftime_now.*--date' calibrate
exits 0 evaluate --date 2024-07-26
json stdout 'any("--date 2024-07-26" in note for note in d["results"][0]["notes"])'
exits 0 calibrate --date 2024-07-26
json stdout 'd["date"] == "2024-07-26"'
for date in 2024-02-30 2024-07 26.07.2024 2024-07-26T25:00:00 today ''; do
    refuses 2 '--date' evaluate --date "$date"
done

# --- an end token that the template spells wrongly is noted, counted, in both commands ------------------
template() { # what ends an answer, as an expression
    cat >m/chat_template.jinja <<END
{%- for m in messages -%}{{ m.role }}: {% for c in m.content if c.type == 'text' %}{{ c.text }}{% endfor %}
{%- if m.role == 'assistant' %}{{ $1 }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}assistant: {% endif %}
END
}
noted='any("between the answer and the end token of 2 samples" in note for note in d["results"][0]["notes"])'
for end in "'<\\\\s>'" "' .' ~ eos_token" "'<end>\\n'"; do
    template "$end"
    exits 0 evaluate
    json stdout "$noted"
    exits 0 calibrate
    json stdout 'd["text_before_end_token"] == 2'
done
for end in eos_token "' \\n' ~ eos_token" "''" "eos_token ~ '\\n\\n'"; do
    template "$end"
    exits 0 evaluate
    json stdout 'not any("end token" in note for note in d["results"][0]["notes"])'
    exits 0 calibrate
    json stdout 'd["text_before_end_token"] == 0'
done

# --- a tokenizer that would make gigabytes of a few bytes is refused with its rule ----------------------
change() { # Python over d, the tokenizer
    python3 - "$model/tokenizer.json" "$1" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
exec(sys.argv[2])
json.dump(d, open("m/tokenizer.json", "w"))
END
}
[ -n "${VLMP_SANITIZED-}" ] || ulimit -v 1000000
grow='{"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 50}'
change "d['normalizer'] = {'type': 'Sequence', 'normalizers': [$grow] * 8}"
refuses 4 'tokenizer.json: stage [1-8] of the normalizer makes more than' timeout 20 vlm-run m --prompt "$(printf 'e%.0s' {1..200})"
change "d['normalizer'] = {'type': 'Prepend', 'prepend': 'x' * 100000}"
refuses 4 'tokenizer.json: stage 1 of the normalizer makes more than' timeout 20 vlm-run m --prompt Hi
change "d['pre_tokenizer'] = {'type': 'Sequence', 'pretokenizers': [{'type': 'ByteLevel', 'add_prefix_space': False, 'use_regex': False}] * 15}"
refuses 4 'tokenizer.json: stage [0-9]+ of the pre-tokenizer makes more than' timeout 20 vlm-run m --prompt "$(printf 'é%.0s' {1..300})"
change "d['decoder'] = {'type': 'Sequence', 'decoders': [$grow] * 8}"
refuses 4 'tokenizer.json: stage [1-8] of the decoder makes more than' timeout 20 vlm-run m --prompt 'e e e' --max-new-tokens 100 -q
