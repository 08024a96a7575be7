#!/usr/bin/env python3
"""Makes tests/golden/text: small tokenizers of every form, what the `tokenizers` package makes of hard
strings, and what transformers renders from chat templates.

Usage: scripts/golden-text.py [OUTPUT-FOLDER]   (needs tokenizers, transformers and jinja2)
"""
import json
import os
import random
import sys
from datetime import datetime

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils
from transformers.utils.chat_template_utils import _compile_jinja_template

import templatepieces
import templates
from textcases import ALPHABETS, WORDS, strings

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../tests/golden/text")
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def corpus():
    rng = random.Random(1)
    for _ in range(2000):
        yield " ".join(rng.choice(WORDS) for _ in range(8)) + rng.choice(["\n", "\n\n", ".  ", "", " 123 2024"])
    for alphabet in ALPHABETS:
        yield "".join(rng.choice(alphabet) for _ in range(60))


def trained(pre, size, **kw):
    """A BPE tokenizer; alphabet: what the trainer starts from."""
    tok = Tokenizer(models.BPE(**kw.get("model", {})))
    tok.pre_tokenizer = pre
    alphabet = pre_tokenizers.ByteLevel.alphabet() if kw.get("bytes", True) else []
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=alphabet,
                                                          special_tokens=kw.get("special", ["<unk>", "<s>", "</s>", "<image>"])))
    return tok


def template(tok, first=("<s>",), last=()):
    ids = [(t, tok.token_to_id(t)) for t in (*first, *last)]
    return processors.TemplateProcessing(single=" ".join([*first, "$A", *last]), pair="$A $B", special_tokens=ids)


def byte_level(pre, size=500, **kw):
    tok = trained(pre, size, **kw)
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = template(tok)
    return tok


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def sentence_piece(pre, decoder, byte_tokens=range(256), size=700):
    special = ["<unk>", "<s>", "</s>", "<image>"] + [f"<0x{b:02X}>" for b in byte_tokens]
    tok = trained(pre_tokenizers.Metaspace(), size, bytes=False, special=special)
    data = json.loads(tok.to_str())
    data["added_tokens"] = data["added_tokens"][:4]  # byte tokens are ordinary entries
    data["model"].update(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    # Some characters of the corpus fall back to bytes.
    rare = {c for c in data["model"]["vocab"] if len(c) == 1 and ord(c) > 0x2600}
    data["model"]["merges"] = [m for m in data["model"]["merges"] if not rare & set("".join(m))]
    tok = Tokenizer.from_str(json.dumps(drop(data, rare)))
    tok.pre_tokenizer = pre
    tok.decoder = decoder
    tok.post_processor = template(tok)
    return tok


def drop(data, tokens):
    """Takes entries out of the vocabulary, and closes the gaps in the ids."""
    keep = {"".join(m) for m in data["model"]["merges"]}
    vocab = [t for t in sorted(data["model"]["vocab"], key=data["model"]["vocab"].get)
             if t not in tokens and not (set(t) & set(tokens) and t not in keep)]
    data["model"]["vocab"] = {t: i for i, t in enumerate(vocab)}
    return data


FALLBACK = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])


def llama2():
    tok = sentence_piece(None, FALLBACK)
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tok


def llama3():
    tok = byte_level(split(LLAMA3), 600)
    data = json.loads(tok.to_str())
    data["model"]["ignore_merges"] = True
    del data["model"]["merges"][60::7]  # words that only the vocabulary knows
    data["post_processor"] = {"type": "Sequence", "processors": [json.loads(tok.to_str())["decoder"], data["post_processor"]]}
    known = data["model"]["vocab"]
    done = {t for t in known if len(t) == 1} | {"<unk>"}
    merges = []
    for a, b in data["model"]["merges"]:
        if a in done and b in done:
            merges.append([a, b])
            done.add(a + b)
    data["model"]["merges"] = merges
    return Tokenizer.from_str(json.dumps(data))


def qwen2():
    tok = byte_level(split(QWEN2), 600)
    tok.normalizer = normalizers.NFC()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return tok


def flags():
    tok = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), 400)
    tok.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace("ph", "f")])
    tok.add_special_tokens([AddedToken("<sep>", lstrip=True, rstrip=True, normalized=False, special=True)])
    tok.add_tokens([AddedToken("emoji", single_word=True, normalized=False), AddedToken("<l>", lstrip=True, normalized=False),
                    AddedToken("<r>", rstrip=True, normalized=False), AddedToken("phone", normalized=True),
                    AddedToken("fotograph", single_word=True, normalized=True), AddedToken("<imag", normalized=False),
                    AddedToken("e\u0301t\u00e9", normalized=True), AddedToken(" x", normalized=False, rstrip=True)])
    tok.post_processor = template(tok, ("<s>",), ("</s>",))
    return tok


def unknown(fuse):
    # Byte tokens for ASCII only: other characters stay unknown.
    tok = sentence_piece(pre_tokenizers.Whitespace(), None, range(0x20, 0xC8))
    tok.model.fuse_unk = fuse
    return tok


def behaviors():
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            yield pre_tokenizers.Split("ab", behavior, invert)


def chopped():
    tok = trained(pre_tokenizers.Whitespace(), 200, bytes=False, model={"unk_token": "<unk>"})
    for pre in behaviors():
        copy = Tokenizer.from_str(tok.to_str())
        copy.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre])
        yield copy


def tokenizers():
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
    yield "gpt2", byte_level(gpt2)
    yield "qwen2", qwen2()
    yield "llama3", llama3()
    yield "digits", byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), gpt2]))
    yield "digit-runs", byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(False), gpt2]), 400)
    yield "flags", flags()
    yield "llama2", llama2()
    for scheme, cut in (("first", False), ("always", True), ("never", True)):
        meta = decoders.Metaspace(prepend_scheme=scheme, split=cut)
        yield f"metaspace-{scheme}", sentence_piece(pre_tokenizers.Metaspace(prepend_scheme=scheme, split=cut),
                                                    meta if scheme == "always" else
                                                    decoders.Sequence([decoders.ByteFallback(), meta]))
    yield "unknown-fused", unknown(True)
    yield "unknown-single", unknown(False)
    for i, tok in enumerate(chopped()):
        yield f"split-{i}", tok


def write(name, value):
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def cases(tok, texts):
    rows = []
    for text in texts:
        ids = tok.encode(text, add_special_tokens=True).ids
        plain = tok.encode(text, add_special_tokens=False).ids
        rows.append({"ids": plain, "special": ids, "text": tok.decode(ids, skip_special_tokens=False),
                     "clean": tok.decode(ids, skip_special_tokens=True)})
        if rows[-1]["clean"] == text:
            del rows[-1]["clean"]
    return rows


def golden_tokenizers():
    rng = random.Random(2)
    first = dict(tokenizers())
    texts = [t for t in strings(rng, 260, first["flags"]) if "\0" not in t]
    texts += ["photograph fotograph phone xphone phone.", "emoji emojis (emoji) émoji", "a <l> b <l><r> c <r>  d", " x  x y x",
              "<imag <image <image>", "e\u0301te\u0301 été", "  <sep>  <sep>\n", "abcabab abxab", "ababab cab a b ab", "xabab"]
    write("strings.json", texts)
    few = ["abcabab abxab", "ababab cab a b ab", "xabab", "ab", "a", " ab abab "]
    write("split-strings.json", few)
    for name, tok in first.items():
        data = json.loads(tok.to_str())
        if name in ("llama2", "gpt2"):  # merges are found in either spelling
            data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]
        write(f"{name}.tokenizer.json", data)
        write(f"{name}.cases.json", cases(Tokenizer.from_str(json.dumps(data)), few if name.startswith("split") else texts))
    return first


class FixedDate(datetime):
    """The day that the C test gives to strftime_now."""
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 9, 5)


chat_template_utils.datetime = FixedDate


def message(role, pictures, text):
    content = [{"type": "image"}] * pictures + ([{"type": "text", "text": text}] if text is not None else [])
    return {"role": role, "content": content}


def render(source, chat, variables, generate):
    compiled = _compile_jinja_template(source)
    messages = [message(*m) for m in chat]
    return compiled.render(messages=messages, tools=None, documents=None, add_generation_prompt=generate, **variables)


def golden_templates():
    rows = []
    variables = {"bos_token": "<s>", "eos_token": "</s>"}
    pieces = [(piece, [templates.TWO]) for piece in templatepieces.SUPPORTED]
    for source, chats in templates.all_templates() + pieces:
        row = {"template": source, "renders": []}
        for chat in chats:
            for generate in (True, False):
                try:
                    text = render(source, chat, variables, generate)
                except Exception as error:  # the template's own refusal included
                    text = None
                    print("refused:", repr(source[:60]), type(error).__name__, str(error)[:80])
                row["renders"].append({"chat": chat, "generate": generate, "text": text})
        rows.append(row)
    write("templates.json", rows)
    write("unsupported.json", templatepieces.UNSUPPORTED)


def texts_of(source, variables, pictures, prompt, answer):
    p = render(source, [("user", pictures, prompt)], variables, True)
    if answer is None:
        return p, None
    t = render(source, [("user", pictures, prompt), ("assistant", 0, answer)], variables, False)
    if not t.startswith(p):
        t = p + answer
    eos = variables["eos_token"]
    end = t.rfind(eos)
    return p, t[:end + len(eos)] if end >= len(p) else t.rstrip() + eos


def golden_prompts(toks):
    rows = []
    image_tokens = [3, 5]
    for name in ("gpt2", "llama2", "qwen2", "metaspace-first"):
        fast = PreTrainedTokenizerFast(tokenizer_object=toks[name], bos_token="<s>", eos_token="</s>", unk_token="<unk>")
        for source, _ in templates.chat_templates():
            for pictures, prompt, answer in templates.PROMPTS:
                variables = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
                p, t = texts_of(source, variables, pictures, prompt, answer)
                special = not p.startswith("<s>")

                def ids(text):
                    found = iter(image_tokens)
                    for i in fast(text, add_special_tokens=special)["input_ids"]:
                        yield from [i] * (next(found) if i == fast.convert_tokens_to_ids("<image>") else 1)
                prefix = list(ids(p))
                whole = list(ids(t)) if t is not None else prefix
                start = 0
                while start < min(len(prefix), len(whole)) and prefix[start] == whole[start]:
                    start += 1
                rows.append({"tokenizer": name, "template": source, "pictures": pictures, "prompt": prompt, "answer": answer,
                             "text": t if t is not None else p, "ids": whole, "answer_start": start,
                             "moved": start < len(prefix)})
    write("prompts.json", rows)


def answers_of(source, variables, parts, ids):
    """The whole text, its ids and the tokens of each answer, by the rule of src/text/prompt.h: ids(text, special)."""
    def rendered(count, generate):
        messages = [{"role": role, "content": [{"type": "image"} if p is None else {"type": "text", "text": p} for p in content]}
                    for role, content in parts[:count]]
        return _compile_jinja_template(source).render(messages=messages, add_generation_prompt=generate, tools=None, documents=None,
                                                      **variables)
    eos, last = variables["eos_token"], len(parts) - 1
    prompt, text = rendered(last, True), rendered(last + 1, False)
    if not text.startswith(prompt):
        text = prompt + parts[last][1][0]
    end = text.rfind(eos)
    text = text[:end + len(eos)] if end >= len(prompt) else text.rstrip() + eos
    special = not prompt.startswith(variables["bos_token"])
    whole = ids(text, special)

    def border(start):
        own = ids(start, special)
        return next((i for i, (a, b) in enumerate(zip(own, whole)) if a != b), min(len(own), len(whole)))
    spans = []
    for turn, (role, _) in enumerate(parts[:last]):
        if role != "assistant":
            continue
        before, behind = rendered(turn, True), rendered(turn + 1, False)
        end = behind.rfind(eos)
        behind = behind[:end + len(eos)] if end >= len(before) else behind.rstrip()
        if not (behind.startswith(before) and text.startswith(behind)):
            return text, None, None
        spans.append([border(before), border(behind)])
    return text, whole, spans + [[border(prompt), len(whole)]]


def golden_conversations(toks):
    rows = []
    tokens = [3, 5]
    for name in ("gpt2", "llama2", "qwen2", "metaspace-first"):
        fast = PreTrainedTokenizerFast(tokenizer_object=toks[name], bos_token="<s>", eos_token="</s>", unk_token="<unk>")
        image = fast.convert_tokens_to_ids("<image>")
        for source, _ in templates.chat_templates():
            for parts in templates.CONVERSATIONS:
                variables = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
                row = {"tokenizer": name, "template": source, "turns": parts}
                try:
                    text, ids, spans = answers_of(source, variables, parts,
                                                  lambda t, special: fast(t, add_special_tokens=special)["input_ids"])
                except Exception as error:  # the template's own refusal
                    print("refused:", repr(source[:60]), type(error).__name__, str(error)[:80])
                    rows.append({**row, "text": None})
                    continue
                if ids is None or ids.count(image) != sum(p is None for _, content in parts for p in content):
                    rows.append({**row, "text": None})
                    continue
                starts, found = [], iter(tokens)
                whole = []
                for i in ids:
                    starts.append(len(whole))
                    whole += [i] * (next(found) if i == image else 1)
                starts.append(len(whole))
                rows.append({**row, "text": text, "ids": whole, "answers": [[starts[a], starts[b]] for a, b in spans]})
    write("conversations.json", rows)


def main():
    os.makedirs(OUT, exist_ok=True)
    toks = golden_tokenizers()
    golden_templates()
    golden_prompts(toks)
    golden_conversations(toks)


if __name__ == "__main__":
    main()
