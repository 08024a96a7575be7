#!/usr/bin/env python3
"""Compares our tokenizer with the `tokenizers` package on random and adversarial strings.

scripts/parity-text.py BUILD-FOLDER TOKENIZER.JSON [COUNT [SEED]]
"""
import random
import struct
import subprocess
import sys
import time

from tokenizers import Tokenizer

from textcases import strings


def read(data, at, size):
    (n,) = struct.unpack_from("<I", data, at)
    at += 4
    return data[at:at + n * size], at + n * size


def run(build, path, texts, special):
    feed = b"".join(struct.pack("<I", len(b)) + b for b in (s.encode() for s in texts))
    started = time.time()
    out = subprocess.run([f"{build}/tests/parity/tokenize", path, str(special)], input=feed,
                         stdout=subprocess.PIPE, check=True).stdout
    seconds = time.time() - started
    results, at = [], 0
    while at < len(out):
        ids, at = read(out, at, 4)
        whole, at = read(out, at, 1)
        clean, at = read(out, at, 1)
        results.append((list(struct.unpack(f"<{len(ids) // 4}i", ids)), whole.decode(), clean.decode()))
    return results, seconds


def main():
    build, path = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 100000
    rng = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 0)
    reference = Tokenizer.from_file(path)
    texts = strings(rng, count, reference)
    bad = 0
    for special in (0, 1):
        share = texts if special == 0 else texts[:count // 10]
        results, seconds = run(build, path, share, special)
        assert len(results) == len(share)
        for text, (ids, whole, clean) in zip(share, results):
            want = reference.encode(text, add_special_tokens=bool(special)).ids
            if (ids != want or whole != reference.decode(want, skip_special_tokens=False)
                    or clean != reference.decode(want, skip_special_tokens=True)):
                bad += 1
                if bad <= 5:
                    print(repr(text), "\n want", want, repr(reference.decode(want, skip_special_tokens=False)),
                          "\n got ", ids, repr(whole), repr(clean))
        print(f"{path}: {len(share)} strings, special {special}: {bad} differ, {seconds:.2f} s")
    for name, text in (("prose", "".join(texts)[:1000000]), ("letters", "ab" * 500000), ("spaces", " " * 1000000)):
        (result,), seconds = run(build, path, [text], 0)
        started = time.time()
        want = reference.encode(text, add_special_tokens=False).ids
        print(f"{name}: 1 M characters: {seconds:.2f} s with loading, reference {time.time() - started:.2f} s,"
              f" equal: {result[0] == want}")
        bad += result[0] != want
    sys.exit(bad > 0)


main()
