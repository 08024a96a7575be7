#!/usr/bin/env python3
"""Compares our renderings with transformers' on the pieces of templatepieces.py and on random templates. A
template must come out equal, or be refused; what only we refuse is counted.

scripts/parity-templates.py BUILD-FOLDER [COUNT [SEED]]   (needs transformers and jinja2)
"""
import random
import struct
import subprocess
import sys
from datetime import datetime

from transformers.utils import chat_template_utils

import templatepieces

VALUES = ["1", "0", "-3", "2.5", "true", "none", "nothing", "''", "'aB c'", "' x\\n'", "'é-Ü 12'", "'a,b,,c'", "[]", "[3, 1, 2]", "['b', 'A', 'a']",
          "[[1, 2], [3]]", "(1, 'x')", "{'b': 2, 'a': [1]}", "messages", "messages[0]", "messages[1].content", "messages[0].content[1].text", "range(4)",
          "[{'k': 'b', 'n': 1}, {'k': 'A', 'n': 2}, {'k': 'a'}]", "'%s|%d'", "'{}-{0}'", "[none, 'x', 1.5]", "{}", "eos_token", "'12'", "'3.5'"]
FILTERS = ["abs", "batch(2)", "batch(2, 'f')", "capitalize", "center(7)", "count", "default('d')", "default('d', true)", "dictsort", "dictsort(by='value')", "first",
           "float", "format(1, 2)", "format('x')", "groupby('k')", "indent", "indent(2, true)", "int", "int(7)", "items", "join", "join('-')", "join(', ', attribute='k')",
           "last", "length", "list", "lower", "map('upper')", "map('string')", "map('length')", "map('first')", "map(attribute='k')", "map(attribute='type')", "map(attribute=0)",
           "map(attribute='k', default='z')", "max", "min", "reject('string')", "reject", "rejectattr('k')", "rejectattr('n', 'defined')", "replace('a', 'xx')", "replace(1, 2)", "replace('', '.')",
           "reverse", "round", "round(1)", "select", "select('number')", "select('gt', 1)", "selectattr('k', 'equalto', 'b')", "selectattr('n')", "slice(2)", "slice(2, 0)",
           "sort", "sort(reverse=true)", "sort(attribute='k')", "sort(case_sensitive=true)", "string", "sum", "sum(attribute='n')", "title", "tojson", "tojson(indent=1)",
           "trim", "trim('a')", "truncate(5, true, '~', 0)", "unique", "unique(attribute='k')", "upper", "wordcount"]
METHODS = ["strip()", "split()", "split(',')", "rsplit('-', 1)", "title()", "upper()", "lower()", "find('b')", "count('a')", "replace('a', '_')", "startswith('a')",
           "endswith(('c', '2'))", "splitlines()", "partition(' ')", "zfill(6)", "ljust(5)", "format(1, 'y')", "isdigit()", "isupper()", "join(['p', 'q'])", "get('a')",
           "items()", "keys()", "values()", "index(1)", "capitalize()", "removeprefix('a')", "role", "content", "a", "k", "length"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "iterable", "sequence", "true", "odd", "even", "lower", "upper",
         "callable", "in [1, 'x', none]", "eq 1", "divisibleby 2", "gt 0", "sameas none"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", "in", "not in", "and", "or"]
SUBSCRIPTS = ["[0]", "[-1]", "[1:]", "[::-1]", "[:2]", "['a']", "[5]", "['k']", "[::2]", "[-2:]"]


def expression(rng, depth):
    if depth == 0:
        return rng.choice(VALUES)
    inner = expression(rng, depth - 1)
    kind = rng.randrange(10)
    if kind < 4:
        return f"{inner} | {rng.choice(FILTERS)}"
    if kind < 5:
        return f"({inner}){rng.choice(SUBSCRIPTS)}"
    if kind < 6:
        return f"({inner}).{rng.choice(METHODS)}"
    if kind < 7:
        return f"({inner}) is {'not ' if rng.random() < 0.2 else ''}{rng.choice(TESTS)}"
    if kind < 9:
        return f"({inner}) {rng.choice(OPERATORS)} ({expression(rng, depth - 1)})"
    return f"({inner}) if ({expression(rng, depth - 1)}) else ({rng.choice(VALUES)})"


def space(rng):
    return rng.choice(["", "", " ", "\n", "  \n", "\n  ", "\t"])


def sign(rng):
    return rng.choice(["", "", "", "-", "+"])


def tag(rng, text):
    return f"{space(rng)}{{%{sign(rng)} {text} {sign(rng)}%}}{space(rng)}"


def template(rng, depth):
    e = expression(rng, rng.randrange(3))
    kind = rng.randrange(12 if depth > 0 else 3)
    if kind < 2:
        return f"{space(rng)}{{{{{rng.choice(['', '', '-'])} {e} {rng.choice(['', '', '-'])}}}}}{space(rng)}"
    if kind == 2:
        return rng.choice(["text", " a\n", "\n\n", "{# c #}", "{#- c -#}", " {% raw %} {{ x }}\n {% endraw %}\n"])
    inner = "".join(template(rng, depth - 1) for _ in range(rng.randrange(1, 4)))
    blocks = [(f"if {e}", "endif"), (f"for x in {e}", "endfor"), (f"for x in {e} if x is defined", "endfor"), ("filter upper", "endfilter"), (f"with y = {e}", "endwith"),
              ("set z", "endset"), ("set z | trim", "endset"), ("macro f(p, q=1)", "endmacro"), ("call(v) g(1)", "endcall"), ("generation", "endgeneration")]
    start, end = rng.choice(blocks)
    uses = rng.choice(["", "{{ x }}", "{{ loop.index }}{{ loop.last }}", "{{ z }}", "{{ f('a') }}", "{{ y }}", "{{ v }}", "{{ p }}{{ q }}"])
    middle = tag(rng, "else") + "e" if start.startswith(("if", "for")) and rng.random() < 0.3 else ""
    after = rng.choice(["", "{{ z }}", "{{ f(2, q=3) }}", "{{ x }}"])
    return tag(rng, start) + uses + inner + middle + tag(rng, end) + after


def random_template(rng):
    head = "{% macro g(w) %}<{{ caller(w) }}>{% endmacro %}" if rng.random() < 0.3 else ""
    return head + "".join(template(rng, 2) for _ in range(rng.randrange(1, 4)))


class FixedDate(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 9, 5)


def reference(source):
    """None: refused."""
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "A Cat É."}]}]
    try:
        return chat_template_utils._compile_jinja_template(source).render(
            messages=messages, tools=None, documents=None, add_generation_prompt=True, bos_token="<s>", eos_token="</s>")
    except Exception:
        return None


def ours(build, sources):
    feed = b"".join(struct.pack("<I", len(b)) + b for b in (s.encode() for s in sources))
    out = subprocess.run([f"{build}/tests/parity/render"], input=feed, stdout=subprocess.PIPE, check=True).stdout
    at = 0
    while at < len(out):
        status, length = struct.unpack_from("<II", out, at)
        yield status, out[at + 8:at + 8 + length].decode()
        at += 8 + length


def main():
    chat_template_utils.datetime = FixedDate
    build = sys.argv[1]
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    sources = templatepieces.ALL + [random_template(rng) for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 5000)]
    equal = both = only = wrong = 0
    for source, (status, text) in zip(sources, ours(build, sources), strict=True):
        want = reference(source)
        if status != 0:
            both, only = both + (want is None), only + (want is not None)
        elif text == want:
            equal += 1
        else:
            wrong += 1
            print(f"{source!r}\n  gives {text!r}\n  not   {want!r}")
    print(f"{len(sources)} templates: {equal} equal, {both} refused by both, {only} refused here only, {wrong} wrong")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
