#!/usr/bin/env python3
"""An exported pair of GGUF files against the packed file it was made from, by GGUF's specification.

    gguf_check.py PACKED FOLDER [TOLERANCE]

Every tensor that the packed model reads is in one of the files and none besides; values are the packed file's:
exactly, or (TOLERANCE) within this part of the largest of their row. Exit 0: all of that.
"""
import re
import struct
import sys

from export_check import Linear, read
import json

TYPES = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 8: ("Q8_0", 32, 34),
         30: ("BF16", 1, 2)}
SCALARS = {4: "I", 5: "i", 6: "f", 7: "?"}
NAMES = [("text.layers.N.", "blk.N.", {"attn_norm": "attn_norm", "attn.q": "attn_q", "attn.k": "attn_k",
                                       "attn.v": "attn_v", "attn.o": "attn_output", "mlp_norm": "ffn_norm",
                                       "mlp.gate": "ffn_gate", "mlp.up": "ffn_up", "mlp.down": "ffn_down"}),
         ("vision.layers.N.", "v.blk.N.", {"norm1": "ln1", "norm2": "ln2", "attn.q": "attn_q", "attn.k": "attn_k",
                                           "attn.v": "attn_v", "attn.o": "attn_out", "mlp.fc1": "ffn_up",
                                           "mlp.fc2": "ffn_down", "mlp.gate": "ffn_gate", "mlp.up": "ffn_up",
                                           "mlp.down": "ffn_down"}),
         ("", "", {"text.embed": "token_embd", "text.norm": "output_norm", "text.head": "output",
                   "vision.embed": "v.patch_embd", "vision.class": "v.class_embd",
                   "vision.position": "v.position_embd", "vision.pre_norm": "v.pre_ln", "vision.post_norm": "v.post_ln",
                   "projector.0": "mm.0",
                   "projector.1": "mm.2", "newline": "model.image_newline"})]


class Reader:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        self.at = 0

    def take(self, form):
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self):
        length = self.take("Q")
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind != 9:
            return self.take(SCALARS[kind])
        inner, count = self.take("I"), self.take("Q")
        return [self.value(inner) for _ in range(count)]


def read_gguf(path):
    """Keys; tensor name: (type, shape, bytes)."""
    r = Reader(path)
    assert r.data[:4] == b"GGUF" and (r.at, struct.unpack_from("<I", r.data, 4)) == (0, (3,))
    r.at = 8
    count, pairs = r.take("Q"), r.take("Q")
    keys = {}
    for _ in range(pairs):
        name = r.text()
        assert name not in keys
        keys[name] = r.value(r.take("I"))
    infos = []
    for _ in range(count):
        name, rank = r.text(), r.take("I")
        shape = [r.take("Q") for _ in range(rank)][::-1]
        infos.append((name, shape, r.take("I"), r.take("Q")))
    start, end, tensors = -(-r.at // 32) * 32, 0, {}
    for name, shape, kind, offset in infos:
        _, inputs, size = TYPES[kind]
        elements = 1
        for d in shape:
            elements *= d
        assert offset == end and shape[-1] % inputs == 0, name
        length = elements // inputs * size
        end = offset + -(-length // 32) * 32
        tensors[name] = (TYPES[kind][0], shape, r.data[start + offset:start + offset + length])
    assert start + end == len(r.data), "the file's size"
    return keys, tensors


def decode(kind, data):
    if kind == "F32":
        return struct.unpack("<%df" % (len(data) // 4), data)
    if kind == "F16":
        return struct.unpack("<%de" % (len(data) // 2), data)
    if kind == "BF16":
        return [struct.unpack("<f", b"\0\0" + data[i:i + 2])[0] for i in range(0, len(data), 2)]
    out, size = [], {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}[kind]
    for i in range(0, len(data), size):
        (d,) = struct.unpack_from("<e", data, i)
        if kind == "Q8_0":
            out += [d * q for q in struct.unpack_from("<32b", data, i + 2)]
            continue
        low = struct.unpack_from("<e", data, i + 2)[0] if kind == "Q4_1" else -8 * d
        codes = data[i + size - 16:i + size]
        out += [d * q + low for q in [c & 15 for c in codes] + [c >> 4 for c in codes]]
    return out


def single(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def packed_values(tensors, linears, name, shape):
    """Rows of the canonical tensor."""
    stem = name[:-len(".weight")] if name.endswith(".weight") else name
    if stem in linears:
        one = Linear(tensors, stem, linears[stem])
        return [[(one.codes[n][k] - one.zeros[n][k // one.group]) * one.scales[n][k // one.group]
                 for k in range(one.k)] for n in range(one.n)]
    kind, _, data = tensors[name]
    values, width = decode(kind, data), shape[-1]
    return [list(values[i:i + width]) for i in range(0, len(values), width)]


def bucket(i, side):
    return sum(single(k / side) <= single(i * single(1 / side)) for k in range(1, side))


def pieces_of(name, stem, tensors, config):
    """Of a canonical name: name in GGUF in its stead, or None, and what it takes of the rows."""
    shape = tensors[name][1] if name in tensors else None
    if stem.endswith(".attn.qkv"):
        return [(stem[:-3] + part, lambda rows, i=i: third(rows, i)) for i, part in enumerate("qkv")]
    if stem == "vision.embed" and shape is not None and len(shape) == 5:
        frames, run = shape[2:4]
        return [(stem, lambda rows, t=t: [r for i, r in enumerate(rows) if i // run % frames == t])
                for t in range(frames)]
    if stem == "vision.position" and config["model_type"] in ("idefics3", "smolvlm"):
        side = round(shape[0]**0.5)
        return [(stem, lambda rows: [rows[bucket(y, side) * side + bucket(x, side)]
                                     for y in range(side) for x in range(side)])]
    return [(stem, lambda rows: rows)]


def third(rows, i):
    if len(rows) > 1:
        return rows[i * len(rows) // 3:(i + 1) * len(rows) // 3]
    return [rows[0][i * len(rows[0]) // 3:(i + 1) * len(rows[0]) // 3]]


def canonical_names(tensors, meta):
    """Name in GGUF: canonical name and what is taken of its rows, for all that the model reads."""
    config = json.loads(meta["vlmp.config"])
    unused = {n for n, t in json.loads(meta["vlmp.tensors"]).items() if t.get("unused")}
    out = {}
    for name in tensors:
        if name.startswith("file/") or name in unused or name.endswith((".scales", ".zeros")):
            continue
        name = name[:-len(".codes")] + ".weight" if name.endswith(".codes") else name
        stem = re.sub(r"\.(weight|bias)$", "", name)
        number = re.search(r"\.layers\.(\d+)\.", stem)
        for i, (piece, take) in enumerate(pieces_of(name, stem, tensors, config)):
            pattern = re.sub(r"\.layers\.\d+\.", ".layers.N.", piece)
            found = [g.replace("N", number.group(1) if number else "") + t[pattern[len(c):]] for c, g, t in NAMES
                     if pattern.startswith(c) and pattern[len(c):] in t]
            assert len(found) == 1, name
            if stem == "projector.0" and config["model_type"] in ("idefics3", "smolvlm"):
                found = ["mm.model.fc"]
            out[found[0] + name[len(stem):] + (".1" if stem == "vision.embed" and i == 1 else "")] = name, take
    return out


def moved(rows, heads):
    """The two halves of a head's rows alternate."""
    dim = len(rows) // heads
    order = [h * dim + half * (dim // 2) + i for h in range(heads) for i in range(dim // 2) for half in (0, 1)]
    return [rows[i] for i in order]


def main(packed, folder, tolerance):
    tensors, meta = read(packed)
    linears = json.loads(meta["vlmp.linears"])
    keys, text = read_gguf(folder + "/model.gguf")
    tower_keys, tower = read_gguf(folder + "/mmproj-model.gguf")
    names, both = canonical_names(tensors, meta), {**text, **tower}
    factors = both.pop("rope_freqs.weight", None)
    assert set(names) == set(both), set(names) ^ set(both)
    assert tower_keys["general.architecture"] == "clip" and not set(text) & set(tower)
    arch = keys["general.architecture"]
    assert (factors is not None) == ("llama3" in json.dumps(json.loads(meta["vlmp.config"]))), "RoPE factors"
    assert len(keys["tokenizer.ggml.tokens"]) == len(keys["tokenizer.ggml.token_type"]) == \
        text["token_embd.weight"][1][0]
    for name, (canonical, take) in names.items():
        kind, shape, data = both[name]
        want = take(packed_values(tensors, linears, canonical, tensors.get(canonical, both[name])[1]))
        values = decode(kind, data)
        rows = [values[i:i + shape[-1]] for i in range(0, len(values), shape[-1])]
        part = re.search(r"^blk\.\d+\.attn_([qk])\.", name)
        if part and arch == "llama":
            heads = keys["llama.attention.head_count" + ("" if part.group(1) == "q" else "_kv")]
            want = moved(want, heads) if len(want) > 1 else [[r[0] for r in moved([[v] for v in want[0]], heads)]]
        for row, expected in zip(rows, want):
            expected = [single(v) for v in expected]
            bound = tolerance * max(abs(v) for v in expected)
            assert all(abs(single(a) - b) <= bound for a, b in zip(row, expected)), name
        assert len(rows) == len(want), name


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
