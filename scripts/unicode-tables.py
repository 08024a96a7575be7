#!/usr/bin/env python3
"""Writes src/text/unicode/unicode_tables.c: the character classes of the reference tokenizer.

The classes are measured by running the `tokenizers` package over every code point, so that they carry
the Unicode version that it was built with. Usage: scripts/unicode-tables.py > src/text/unicode/unicode_tables.c
"""
import sys

import tokenizers
from tokenizers import Regex, normalizers
from tokenizers.pre_tokenizers import Digits, Split, Whitespace, WhitespaceSplit

POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
ALL = "".join(map(chr, POINTS))


def spans(pre_tokenizer):
    return [offsets for _, offsets in pre_tokenizer.pre_tokenize_str(ALL)]


def ranges(code_points):
    out = []
    for c in sorted(code_points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def covered(pieces):
    return {POINTS[i] for a, b in pieces for i in range(a, b)}


def matches(pattern):
    return covered(spans(Split(Regex(pattern), "removed", invert=True)))


def numeric():
    # Contiguous pieces alternate; the first starts at U+0000, which is no digit.
    return covered(spans(Digits(individual_digits=False))[1::2])


def word():
    # "a" joins with a word character into one piece; every group is apart by a space.
    text = "".join("a" + chr(c) + " " for c in POINTS)
    whole = {a for _, (a, b) in Whitespace().pre_tokenize_str(text) if b - a == 2}
    return {c for i, c in enumerate(POINTS) if 3 * i in whole}


def combining():
    # A mark changes places with U+0334 (class 1), or with U+0345 (class 240).
    nfd = normalizers.NFD().normalize_str
    marks = {c for c in POINTS if nfd(chr(c)) == chr(c) and (nfd("a" + chr(c) + "\u0334") != "a" + chr(c) + "\u0334"
                                                            or nfd("a\u0345" + chr(c)) != "a\u0345" + chr(c))}
    return marks | {c for c in POINTS if nfd(chr(c)) != chr(c) and ord(nfd(chr(c))[0]) in marks}


def decomposing():
    nfd = normalizers.NFD()
    return {c for c in POINTS if nfd.normalize_str(chr(c)) != chr(c)}


CLASSES = [
    ("letter", "\\p{L} of Oniguruma", lambda: matches(r"\p{L}+")),
    ("number", "\\p{N} of Oniguruma", lambda: matches(r"\p{N}+")),
    ("space", "\\s of Oniguruma", lambda: matches(r"\s+")),
    ("numeric", "is_numeric of Rust", numeric),
    ("white_space", "is_whitespace of Rust", lambda: set(POINTS) - covered(spans(WhitespaceSplit()))),
    ("word", "\\w of Rust's regex", word),
    ("combining", "what NFC moves", combining),
    ("decomposing", "what NFD takes apart", decomposing),
]


def main():
    print(f"/* Made by scripts/unicode-tables.py with tokenizers {tokenizers.__version__}; do not edit. */")
    print('#include "src/text/unicode/unicode.h"\n')
    print("/* clang-format off */")
    for name, what, measure in CLASSES:
        table = ranges(measure())
        print(f"/* {what} */")
        print(f"const uint32_t vlmp_unicode_{name}[][2] = {{")
        line = "   "
        for a, b in table:
            item = f" {{{a:#x},{b:#x}}},"
            if len(line) + len(item) > 100:
                print(line)
                line = "   "
            line += item
        print(line + "\n};")
        print(f"const size_t vlmp_unicode_{name}_count = {len(table)};\n")
        print(name, len(table), file=sys.stderr)


main()
