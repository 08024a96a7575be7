#!/usr/bin/env python3
"""Folders whose tokenizer is SentencePiece's tokenizer.model alone, and the ids that transformers makes of hard strings.

  scripts/golden-sentencepiece.py [OUTPUT-FOLDER]            makes tests/golden/text/sentencepiece
  scripts/golden-sentencepiece.py compare BUILD [COUNT [SEED]]  compares a build with transformers and SentencePiece

(needs sentencepiece, protobuf, transformers.) The reference is what transformers reads such a folder of a LLaVA with; where
every stretch between added tokens gets its own space (legacy), it must also be what SentencePiece itself says of each."""
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

import sentencepiece
import transformers
from transformers import AutoTokenizer, LlamaTokenizer

from textcases import ALPHABETS, FIXED, WORDS, one

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/golden/text")


def corpus():
    rng = random.Random(1)
    for _ in range(3000):
        yield "  ".join(rng.choice(WORDS) for _ in range(3)) + " " + " ".join(rng.choice(WORDS) for _ in range(6)) + rng.choice(["", ".   x", "\t-"])
    for alphabet in ALPHABETS:
        yield "".join(rng.choice(alphabet) for _ in range(60))


def train(path, **settings):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=open(path, "wb"), model_type="bpe", normalization_rule_name="identity",
        remove_extra_whitespaces=False, character_coverage=0.98, allow_whitespace_only_pieces=True, minloglevel=2, num_threads=1,
        hard_vocab_limit=False, **settings)


def flags(content, **kw):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True, **kw}


def token(content):
    return {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


LLAMA = dict(vocab_size=620, byte_fallback=True, split_digits=True)
# name: the trainer's settings, files beside the model
FOLDERS = {
    # As liuhaotian/llava-v1.5's.
    "vicuna": (LLAMA, {
        "tokenizer_config.json": {"add_bos_token": True, "add_eos_token": False, "bos_token": token("<s>"), "eos_token": token("</s>"),
                                  "unk_token": token("<unk>"), "legacy": False, "model_max_length": 2048, "pad_token": None,
                                  "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer"},
        "special_tokens_map.json": {"bos_token": flags("<s>"), "eos_token": flags("</s>"), "pad_token": "<unk>",
                                    "unk_token": flags("<unk>")}}),
    # As the first LLaVAs': nothing but names and ids. (What transformers 5 forgets is said: that Llama's class begins with
    # <s>, and, under its own key, which of the added tokens are special.)
    "legacy": ({**LLAMA, "vocab_size": 400}, {
        "tokenizer_config.json": {"add_bos_token": True},
        "added_tokens.json": {"<im_patch>": 400, "<im_start>": 401, "plain": 402},
        "special_tokens_map.json": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
                                    "extra_special_tokens": ["<im_start>", "<im_patch>"]}}),
    # Every token with its flags; a reserved piece has got a name; no space in front, no bytes, an end behind.
    "renamed": (dict(vocab_size=400, byte_fallback=False, add_dummy_prefix=False, user_defined_symbols=["<reserved>"]), {
        "tokenizer_config.json": {
            "add_bos_token": False, "add_eos_token": True, "bos_token": "<s>", "eos_token": "<|im_end|>", "unk_token": "<unk>",
            "tokenizer_class": "LlamaTokenizer", "legacy": True,
            "added_tokens_decoder": {"0": flags("<unk>"), "1": flags("<s>"), "3": flags("<|im_end|>"),
                                     "400": flags("<image>", lstrip=True, rstrip=True), "401": flags("word", special=False, single_word=True)}}}),
}


def make(out):
    for name, (settings, files) in FOLDERS.items():
        folder = os.path.join(out, name)
        os.makedirs(folder)
        train(os.path.join(folder, "tokenizer.model"), **settings)
        for file, value in files.items():
            write(os.path.join(folder, file), value)


def write(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def reference(folder):
    """The tokenizer, and SentencePiece."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        write(os.path.join(copy, "config.json"), {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]})
        tok = AutoTokenizer.from_pretrained(copy)
    return tok, sentencepiece.SentencePieceProcessor(model_file=os.path.join(folder, "tokenizer.model"))


def legacy(name):
    return FOLDERS[name][1].get("tokenizer_config.json", {}).get("legacy", True)


def by_pieces(tok, sp, text):
    """What SentencePiece makes of the stretches between added tokens; None where flags take spaces away."""
    added = tok.added_tokens_decoder
    if any(t.lstrip or t.rstrip or t.single_word for t in added.values()):
        return None
    names = {t.content: i for i, t in added.items()}
    pattern = "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True))
    ids = []
    for part in re.split(f"({pattern})", text):
        ids += [names[part]] if part in names else sp.encode(part) if part else []
    return ids


def texts_of(tok, count, seed):
    rng = random.Random(seed)
    special = [t.content for t in tok.added_tokens_decoder.values()]
    return (FIXED + [one(rng, special) for _ in range(count)])[:count]


def check_sentencepiece(name, tok, sp, texts):
    """How many texts the reference and SentencePiece were asked for, and on how many they disagree."""
    asked, differ = 0, []
    names = [t.content for t in tok.added_tokens_decoder.values()]
    for text in texts:
        # Not legacy, only the first stretch is as SentencePiece's, unless it begins with a space.
        if not legacy(name) and (text[:1] in (" ", "▁") or any(n in text for n in names)):
            continue
        want = by_pieces(tok, sp, text)
        if want is None:
            continue
        asked += 1
        if tok.encode(text, add_special_tokens=False) != want:
            differ.append(text)
    return asked, differ


def golden(out):
    make(out)
    with open(os.path.join(GOLDEN, "strings.json"), encoding="utf-8") as file:
        texts = json.load(file)
    for name in FOLDERS:
        tok, sp = reference(os.path.join(out, name))
        print(name, type(tok).__name__, "transformers", transformers.__version__, "sentencepiece", sentencepiece.__version__,
              check_sentencepiece(name, tok, sp, texts + texts_of(tok, 20000, 3)))
        rows = []
        for text in texts:
            plain, whole = tok.encode(text, add_special_tokens=False), tok.encode(text)
            rows.append({"ids": plain, "special": whole, "text": tok.decode(whole), "clean": tok.decode(whole, skip_special_tokens=True)})
            if rows[-1]["clean"] == text:
                del rows[-1]["clean"]
        write(os.path.join(out, name, "cases.json"), rows)


def ours(build, folder, texts, special):
    feed = b"".join(struct.pack("<I", len(b)) + b for b in (s.encode() for s in texts))
    out = subprocess.run([f"{build}/tests/parity/tokenize", folder, str(special)], input=feed, stdout=subprocess.PIPE, check=True).stdout
    at = 0

    def read(size):
        nonlocal at
        (n,) = struct.unpack_from("<I", out, at)
        at += 4 + n * size
        return out[at - n * size:at]
    for _ in texts:
        ids = read(4)
        yield list(struct.unpack(f"<{len(ids) // 4}i", ids)), read(1).decode(), read(1).decode()


def compare(build, count=20000, seed=7):
    bad = 0
    for name in FOLDERS:
        folder = os.path.join(GOLDEN, "sentencepiece", name)
        tok, sp = reference(folder)
        texts = texts_of(tok, count, seed)
        asked, differ = check_sentencepiece(name, tok, sp, texts)
        bad += len(differ)
        print(f"{name}: transformers and SentencePiece differ on {len(differ)} of {asked} texts")
        if not legacy(name):
            own = LlamaTokenizer.from_pretrained(folder)
            differ = [t for t in texts if own.encode(t) != tok.encode(t)]
            bad += len(differ)
            print(f"{name}: transformers and Llama's own class differ on {len(differ)} of {count} texts")
        for special in (0, 1):
            wrong = [t for t, (ids, whole, clean) in zip(texts, ours(build, folder, texts, special))
                     if (ids, whole, clean) != (want := tok.encode(t, add_special_tokens=bool(special)), tok.decode(want),
                                                tok.decode(want, skip_special_tokens=True))]
            bad += len(wrong)
            print(f"{name}: ours and transformers differ on {len(wrong)} of {count} texts, special {special}", *map(repr, wrong[:3]))
    sys.exit(bad > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["compare"]:
        compare(sys.argv[2], *map(int, sys.argv[3:]))
    golden(sys.argv[1] if len(sys.argv) > 1 else os.path.join(GOLDEN, "sentencepiece"))
