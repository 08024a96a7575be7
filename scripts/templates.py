"""Chat templates for golden-text.py: the forms that vision-language models use, and small pieces that
try one rule of the language each."""

EMOJI = """{%- for m in messages -%}
{%- if m['role'] == 'user' -%}USER: {% for c in m['content'] if c['type'] == 'image' %}<image>
{% endfor %}{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] + ' ' }}{% endfor %}
{%- elif m['role'] == 'assistant' -%}ASSISTANT: {% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] + eos_token }}{% endfor %}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}ASSISTANT:{%- endif -%}"""

SMOL = ("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% for c in m['content'] if c['type'] == 'image' %}<image>\\n{% endfor %}"
        "{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")

VICUNA = """{% for message in messages %}
  {% if message['role'] == 'system' %}
{{ message['content'][0]['text'] }} {% elif message.role == "user" %}USER: {# pictures come first #}
{% for item in message.content %}{% if item.type == 'image' %}<image>{{ "\n" }}{% endif %}{% endfor %}
{% for item in message.content | selectattr('type', 'equalto', 'text') %}{% generation %}{{ item.text }}{% endgeneration %}{% endfor %} {% else %}
ASSISTANT: {{ message.content | selectattr('type', 'eq', 'text') | map(attribute='text') | join('') }}{{ eos_token }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}ASSISTANT:{% endif %}"""

MISTRAL = """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' }}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }}{% endfor %}{{ ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'][0]['text'] + eos_token }}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}
"""

CHATML = """{%- if messages[0]['role'] == 'system' -%}
    {%- set system_message = messages[0].content[0].text -%}
    {%- set messages = messages[1:] -%}
{%- else -%}
    {%- set system_message = 'Answer the questions.' -%}
{%- endif -%}
{{ '<|im_start|>system\n' ~ system_message ~ '<|im_end|>' }}
{%- for message in messages -%}
    {{- '<|im_start|>' ~ message.role ~ '\n' -}}
    {%- set ns = namespace(seen=0) -%}
    {%- for part in message.content if part.type == 'image' -%}
        {%- set ns.seen = ns.seen + 1 -%}
        {{- '<image>\n' -}}
    {%- endfor -%}
    {%- for part in message.content if part is mapping and part.type == 'text' and 'text' in part -%}
        {{- part.text | trim -}}
    {%- endfor -%}
    {{- '<|im_end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt is defined and add_generation_prompt -%}
    {{- '<|im_start|>assistant\n' -}}
{%- endif -%}
"""

LLAMA3 = """{% set loop_messages = messages %}{% for message in loop_messages %}
{%- if not loop.first %}{{ '' }}{% endif %}
{%- set content %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>

{% for part in message['content'] %}{{ '<image>\n' if part['type'] == 'image' else part['text'] | trim }}{% endfor %}<|eot_id|>{% endset %}
{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}
{{- content }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% else %}{{ eos_token }}{% endif %}
"""

QWEN_VL = """{% set image_count = namespace(value=0) %}{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}<|im_end|>
{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}<image>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

SMOLVLM = """<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>
{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""

ONE = [("user", 1, "What is this?")]
TWO = [("user", 2, "  Left or right?\n"), ("assistant", 0, "Left.")]
LONG = [("system", 0, "Be brief."), ("user", 0, "Hi ▁ <x>"), ("assistant", 0, " Yes "), ("user", 1, "É ß?")]
CHATS = [ONE, TWO, LONG, [("assistant", 0, "first")], [("user", 3, None)], [("user", 0, "")]]

PROMPTS = [(1, "What is this?", "A red heart."), (0, "Say a word.", " b"), (2, "Compare them:", "x</s>y"), (1, "Hi", None), (0, "", ""),
           (1, "naïve 日本 café", "l'été 12345\n")]

# [role, parts] a turn; None: a picture stands there. The last turn is the answer that is asked for.
CONVERSATIONS = [
    [["user", [None, "What is this?"]], ["assistant", ["A red heart."]], ["user", ["What else?"]], ["assistant", ["Nothing."]]],
    [["user", ["Hi"]], ["assistant", ["Hello there."]], ["user", [None, "And this?"]], ["assistant", [" a bell\n"]],
     ["user", ["Compare it ", None, " with the first."]], ["assistant", ["x"]]],
    [["system", ["Be brief."]], ["user", ["l'été 12345?"]], ["assistant", ["naïve 日本  "]], ["user", ["Why"]], ["assistant", ["a</s>b"]]],
]

# Each is rendered with ONE, TWO and LONG.
PIECES = [
    # white space
    "a\n  {% if true %}  \n  b\n  {% endif %}\nc\n", "a\n  {%+ if true %}b{%+ endif +%}\nc", "a {%- if true -%} b {%- endif -%} c",
    "  {{ 1 }}  \n  {{- 2 -}}  \n x", "x\n\n", "x\r\ny\rz", "{# c #}\n  {# d -#}\n y {#- e #} z", "\t{% set a = 1 %}\t\n\t{{ a }}\n\t{# n #}\n", " {% if true %}\n {% endif %}\n ",
    "{% if true %} x\n {% endif %} y", "a{{ 'b' }}\n{% if false %}c{% endif %}\n\nd", "\u00a0{% if true %}\u3000x{%- endif %}", "{{ 1 }}\n  {% set b = 2 %}  {{ b }}",
    "{% set a = 1 -%}\n\n  {% set b = 2 %}{{ a ~ b }}", "{{ '{{' }} {{ '%}' }} { % }} {", "{{'}}'}}{{ {'a': {'b': 1}}['a']['b'] }}", "{#- a {% b #}x", "{#+ a +#}\nx",
    # strings
    r"{{ 'a\nb\t\'\"\\ \x41\u00e9\U0001F600 \101 \q \
z' }}", "{{ \"it's\" 'a' \"b\" }}", "\\n{{ '\\\\n' }}\\t", "{{ 'ab' + \"cd\" ~ 1 ~ none ~ true ~ nothing }}",
    # values
    "{{ none }}{{ None }}{{ True }}{{ false }}{{ 12 }}{{ -3 }}{{ +4 }}{{ 1_000 }}", "{{ undefined_name }}|{{ messages[9] }}|{{ messages[0].nothing }}",
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 * 3 + 4 - 1 }} {{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ - 2 * 3 }} {{ true + 1 }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ 'a' <= 'a' }} {{ 2 >= 3 }} {{ 1 == 1 }} {{ 1 != 1 }} {{ 'a' == 1 }} {{ true == 1 }} {{ [1, 'a'] == [1, 'a'] }}",
    "{{ 'b' in 'abc' }} {{ 'x' not in 'abc' }} {{ 1 in [1, 2] }} {{ 'type' in messages[0].content[0] }} {{ 'a' in ('a', 'b') }} {{ 'a' in nothing }} {{ '' in '' }}",
    "{{ not true or true }} {{ not (true and false) }} {{ 1 and 2 }} {{ 0 or 'x' }} {{ '' or none }} {{ not '' }} {{ [] and 1 == 1 or 3 }}",
    "{{ 'a' if true else 'b' }}{{ 'a' if false }}{{ 'a' if false else 'b' if false else 'c' }}", "{{ {'a': 1, 'b': [2, 3]}.b[1] }}{{ {'a': 1}['a'] }}{{ [1, 2,][1] }}{{ (1, 2)[0] }}{{ (3) }}",
    "{{ messages[-1].role }}{{ messages[-9] }}{{ 'añb'[1] }}{{ 'añb'[-1] }}{{ 'añb'[5] }}{{ messages.0.role }}{{ messages[0]['role'] }}",
    "{{ 'abcdef'[1:3] }}{{ 'abcdef'[:2] }}{{ 'abcdef'[-2:] }}{{ 'abcdef'[::-1] }}{{ 'abcdef'[::2] }}{{ 'abcdef'[4:1:-1] }}{{ 'abc'[-9:9] }}{{ 'ñé'[1:] }}{{ 'abc'[3:1] }}{{ 'abcdef'[:-1] }}{{ 'abc'[2::-5] }}",
    "{% for m in messages[1:] %}{{ m.role }},{% endfor %}{% for m in messages[::-1] %}{{ m.role }};{% endfor %}{{ (messages[:1] + messages[1:]) | length }}",
    # statements
    "{% for i in range(5) if i % 2 == 0 %}{{ i }}:{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.index0 }} {% else %}none{% endfor %}",
    "{% for i in [] %}x{% else %}empty{% endfor %}{% for i in nothing %}x{% else %}empty{% endfor %}{% for c in 'añ' %}{{ c }}.{% endfor %}{% for k in {'x': 1, 'y': 2} %}{{ k }}{% endfor %}",
    "{% for k, v in {'x': 1, 'y': 2}.items() %}{{ k }}={{ v }} {% endfor %}{% for (a, b) in [(1, 2), [3, 4]] %}{{ a + b }} {% endfor %}{% for k, v in {'a': 1} | items %}{{ k ~ v }}{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 5 %}{{ x }}{% endfor %}{{ x }}", "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% set ns = namespace(a=1, b='x') %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{% set ns.c = 4 %}{{ ns.c }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = (1, 2) %}{{ c[1] }}{% set d = 1, 2 %}{{ d | length }}", "{% set x %}a{{ 1 }}\n{% endset %}[{{ x }}]{{ x | length }}",
    "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in range(2) %}{% for j in range(2) %}{{ loop.index }}{% if j == 1 %}{% break %}{% endif %}{% endfor %}{{ loop.index }}{% endfor %}", "{% for i in range(3) %}{{ loop.previtem }}{{ loop.nextitem }}|{% endfor %}",
    "{% if nothing %}a{% elif none %}b{% elif '' %}c{% elif 1 %}d{% else %}e{% endif %}", "{% generation %}x{% set y = 1 %}{% endgeneration %}{{ y }}", "{{ range(3, 8, 2) | join('-') }}{{ range(5, 0, -2) | join }}",
    "{{ dict(a=1, b=2).b }}{{ {'a': 1}.get('a') }}{{ {'a': 1}.get('b') }}{{ {'a': 1}.get('b', 3) }}{{ {'a': 1, 'b': 2}.keys() | join(',') }}{{ {'a': 1}.values() | list | first }}",
    # filters, tests, methods
    "{{ ' a b\n' | trim }}|{{ 'xaxx' | trim('x') }}|{{ 'aÉß' | lower }}{{ 'aé' | upper }}{{ 'heLLO wORLD' | capitalize }}{{ '' | capitalize }}{{ 12 | upper }}", "{{ 'abc' | length }}{{ [1, 2] | count }}{{ 'ñé' | length }}{{ {} | length }}{{ nothing | length }}",
    "{{ nothing | default('d') }}{{ '' | default('d') }}{{ '' | default('d', true) }}{{ none | d('x') }}{{ none | default('x', boolean=true) }}{{ nothing | default }}|", "{{ [1, 2, 3] | first }}{{ [1, 2, 3] | last }}{{ 'abc' | first }}{{ 'abc' | last }}{{ [] | first }}|",
    "{{ [1, 'a', none] | join(', ') }}{{ 'abc' | join('.') }}{{ [] | join }}|{{ messages | map(attribute='role') | join(' ') }}", "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | rejectattr('role', '==', 'user') | list | length }}{{ messages | selectattr('role') | list | length }}{{ messages | selectattr('name', 'defined') | list | length }}{{ messages | selectattr('role', 'in', ['user', 'system']) | list | length }}",
    "{{ [1, 'a\"\\n\u00e9\u0001', none, true, {'k': [], 'l': {}}] | tojson }}{{ 'x</s>' | tojson }}{{ messages | tojson }}", "{{ 'a-b-c' | replace('-', '+') }}{{ 'aaa'.replace('aa', 'b') }}{{ 12 | string }}{{ 'x' | safe }}{{ 'abc' | reverse }}{{ [1, 2] | reverse | join }}{{ 'ab' | list | join('/') }}",
    "{{ x is defined }}{{ messages is defined }}{{ x is undefined }}{{ x is not defined }}{{ none is none }}{{ '' is string }}{{ 1 is string }}{{ {} is mapping }}{{ [] is mapping }}{{ [] is iterable }}{{ 1 is iterable }}{{ 'a' is iterable }}{{ x is iterable }}{{ [] is sequence }}{{ {} is sequence }}{{ none is iterable }}",
    "{{ 1 is number }}{{ true is number }}{{ 1 is integer }}{{ true is integer }}{{ true is boolean }}{{ 1 is boolean }}{{ true is true }}{{ 1 is true }}{{ false is false }}{{ 3 is odd }}{{ 3 is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ 1 is eq 1 }}{{ 1 is ne(1) }}{{ 'a' is in 'abc' }}{{ 2 is gt 1 }}{{ 2 is le 1 }}",
    "{{ not x is defined }}{{ x is defined and x }}{{ messages[0].role is defined and messages[0].role == 'user' }}{{ 'a' ~ 'b' is string }}{{ -1 | string }}{{ 1 + 2 | string | length }}{{ ('a' ~ 'b') | upper }}",
    "{{ ' ab '.strip() }}|{{ ' ab '.lstrip() }}|{{ ' ab '.rstrip() }}|{{ 'xxaxx'.strip('x') }}{{ 'ABC'.lower() }}{{ 'abc'.upper() }}{{ 'aBC'.capitalize() }}{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}",
    "{{ 'a,b,,c'.split(',') | join('|') }}{{ ' a  b c '.split() | join('|') }}{{ 'a b c'.split(' ', 1) | join('|') }}{{ ''.split(',') | length }}{{ ''.split() | length }}{{ 'a</t>b'.split('</t>')[-1] }}{{ ' a  b  c '.split(none, 1) | join('|') }}{{ 'abc'.split('') }}",
    "{{ 'x' if messages | length > 1 else 'y' }}{{ messages[0].content | selectattr('type', 'equalto', 'text') | map(attribute='text') | first | trim }}", "{{ (messages | last).role }}{{ (messages[0]['content'] | first)['type'] }}{{ [[1, 2], [3]][0] | last }}", "{{ strftime_now is defined }}{{ tools is none }}{{ tools }}{{ documents is defined }}",
    # refusals
    "{{ nothing.a }}", "{{ nothing['a'] }}", "{{ 'a' + 1 }}", "{{ 'a' + nothing }}", "{{ 1 // 0 }}", "{{ [1] + 'a' }}", "{% for i in none %}{% endfor %}", "{% for i in 3 %}{% endfor %}", "{{ raise_exception('no: ' + messages[0].role) }}", "{{ nothing() }}", "{{ 1 in 2 }}", "{{ 'a' < 1 }}",
    "{% if %}{% endif %}", "{% if true %}", "{% endif %}", "{{ 1 + }}", "{{ (1 }}", "{{ 'a }}", "{% set = 1 %}", "{% for in x %}{% endfor %}", "{% break %}", "{{ 1 2 }}", "{# never closed", "{{ a ? b }}", "{% unknown %}", "{{ 'a' | nofilter }}", "{{ 1 is notest }}", "{{ 'a'.nomethod() }}", "{% set messages.x = 1 %}", "{% set a, b = [1] %}", "{% for a, b in [[1, 2, 3]] %}{% endfor %}", "{{ 1 is in 2 }}", "{{ [1, }}", "{{ {'a' 1} }}", "{% else %}", "{% for x in [1] %}{% endif %}", "{{ none | length }}", "{{ 'a'[::0] }}", "{{ range(1000000) | length }}",
]


def chat_templates():
    return [(t, CHATS) for t in (EMOJI, SMOL, VICUNA, MISTRAL, CHATML, LLAMA3, QWEN_VL, SMOLVLM)]


def all_templates():
    return chat_templates() + [(t, [ONE, TWO, LONG][:1 if "messages" not in t else 3]) for t in PIECES]
