#!/usr/bin/env python3
"""Writes tests/golden/packed/tiny.vlmp from formats/FORMAT.md alone (no code of the program)."""
import hashlib
import json
import struct
import sys


def pack(rows, bits):
    """Codes of each row, low bits first, a row at a byte border."""
    out = b""
    for row in rows:
        value = 0
        for i, code in enumerate(row):
            value |= code << (bits * i)
        out += value.to_bytes((len(row) * bits + 7) // 8, "little")
    return out


def sha(data):
    return hashlib.sha256(data).hexdigest()


def half(values):
    return struct.pack("<%de" % len(values), *values)


def single(values):
    return struct.pack("<%df" % len(values), *values)


V, P, T = "vision_tower.vision_model.encoder.layers.0.self_attn.", "multi_modal_projector.", \
    "language_model.model.layers.0."
# name, type, shape, bytes, source name, unused; in order of computation, multiples of 64 first
tensors = [
    ("text.layers.0.mlp.up.codes", "U8", [8, 8], pack([[(r + 3 * k) % 16 for k in range(16)]
                                                      for r in range(8)], 4),
     T + "mlp.up_proj.weight", False),
    ("text.layers.0.mlp.up.scales", "F32", [8, 1], single([2.0**-r for r in range(8)]),
     T + "mlp.up_proj.weight", False),
    ("vision.class", "F32", [3], single([1, -2, 0.5]),
     "vision_tower.vision_model.embeddings.class_embedding", False),
    ("projector.0.weight", "BF16", [2, 3], bytes.fromhex("803f00c00000003f803e8040"),
     P + "linear_1.weight", False),
    ("vision.layers.0.attn.q.scales", "F16", [2, 3], half([1, 0.5, 2, 0.25, 1, 1]),
     V + "q_proj.weight", False),
    ("vision.post_norm.weight", "F16", [3], half([1, 1, 1]),
     "vision_tower.vision_model.post_layernorm.weight", True),
    ("projector.1.codes", "U8", [2, 3], pack([[128, 255, 1], [0, 64, 129]], 8),
     P + "linear_2.weight", False),
    ("vision.layers.0.attn.q.codes", "U8", [2, 3],
     pack([[0, 1, 2, 3, 4, 5], [15, 15, 15, 0, 0, 8]], 4), V + "q_proj.weight", False),
    ("vision.layers.0.attn.q.zeros", "U8", [2, 2], pack([[1, 2, 3], [8, 0, 15]], 4),
     V + "q_proj.weight", False),
    ("file/chat_template.jinja", "U8", [11], "{{ 'ä' }}\n".encode(), None, False),
    ("file/tokenizer.json", "U8", [2], b"{}", None, False),
]
# projector.1 is per channel: its scales are F32 [2, 1] and stand among the 4-byte tensors.
tensors.insert(2, ("projector.1.scales", "F32", [2, 1], single([0.5, 0.125]), P + "linear_2.weight",
                   False))
# text.layers.0.mlp.up.scales has 32 bytes, so only the codes come first; by name within a width.
tensors[1:4] = sorted(tensors[1:4], key=lambda t: t[0])

linears = {
    "vision.layers.0.attn.q": {"shape": [2, 6], "bits": 4, "group": 2, "symmetric": False,
                               "activations": "float"},
    "projector.1": {"shape": [2, 3], "bits": 8, "group": 0, "symmetric": True,
                    "activations": "int8"},
    "text.layers.0.mlp.up": {"shape": [8, 16], "bits": 4, "group": 0, "symmetric": True,
                             "activations": "float"},
}

lines = sorted("%s %s %s %s\n" % (n, d, ",".join(map(str, s)), sha(b)) for n, d, s, b, _, _ in tensors
               if not n.startswith("file/"))
table = {}
for name, _, _, data, source, unused in tensors:
    entry = {} if source is None else {"source": source}
    entry["sha256"] = sha(data)
    if unused:
        entry["unused"] = True
    table[name] = entry


def header(own_hash):
    def text(value):
        return json.dumps(value, separators=(",", ":"))

    root = {"__metadata__": {
        "format": "pt", "vlmp.version": "1",
        "vlmp.requires": text(["codes-4", "codes-8", "zeros", "activations-int8"]),
        "vlmp.header": own_hash, "vlmp.digest": sha("".join(lines).encode()),
        "vlmp.config": '{"model_type":"llava"}', "vlmp.linears": text(linears),
        "vlmp.tensors": text(table), "vlmp.recipe": text({"version": 1, "rules": []})}}
    at = 0
    for name, dtype, shape, data, _, _ in tensors:
        root[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    body = json.dumps(root, separators=(",", ":"), ensure_ascii=False).encode()
    body += b" " * (-(8 + len(body)) % 64)
    return struct.pack("<Q", len(body)) + body


with open(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/packed/tiny.vlmp", "wb") as file:
    file.write(header(sha(header("0" * 64))) + b"".join(t[3] for t in tensors))
