#!/usr/bin/env python3
"""Writes tiny.vlmp, floats.vlmp and three.vlmp from formats/FORMAT.md alone (no code of the program).

    scripts/golden-packed.py [FOLDER]      (default: tests/golden/packed)
"""
import hashlib
import json
import os
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

# Codes that stand for floats, of each kind; what the values are is in tests/unit/test_packed.c.
A, M = "model.language_model.layers.0.self_attn.", "model.language_model.layers.0.mlp."
floats = [
    ("text.layers.0.attn.o.codes", "U8", [2, 256],
     pack([[sign + 0x30 + k % 16 for k in range(256)] for sign in (0, 0x80)], 8), A + "o_proj.weight", False),
    ("text.layers.0.attn.q.scales", "F32", [2, 1], single([0.5, 2]), A + "q_proj.weight", False),
    ("text.layers.0.attn.o.scales", "F32", [1, 2], single([0.5, 4]), A + "o_proj.weight", False),
    ("text.layers.0.mlp.up.global", "F32", [1, 1], single([0.25]), M + "up_proj.weight", False),
    ("text.layers.0.attn.q.codes", "U8", [2, 6], bytes.fromhex("38b87e013c00" "4044c40807fe"), A + "q_proj.weight",
     False),
    ("text.layers.0.mlp.gate.codes", "U8", [2, 16],
     pack([[k % 16 for k in range(32)], [15 - k % 16 for k in range(32)]], 4), M + "gate_proj.weight", False),
    ("text.layers.0.mlp.gate.scales", "F8_E8M0", [2, 1], bytes([128, 124]), M + "gate_proj.weight", False),
    ("text.layers.0.mlp.up.codes", "U8", [1, 16], pack([[k % 8 for k in range(32)]], 4), M + "up_proj.weight", False),
    ("text.layers.0.mlp.up.scales", "F8_E4M3", [1, 2], bytes([0x38, 0x40]), M + "up_proj.weight", False),
]
floats[1:4] = sorted(floats[1:4], key=lambda t: t[0])
float_linears = {
    "text.layers.0.attn.q": {"shape": [2, 6], "codes": "fp8", "bits": 8, "group": 0},
    "text.layers.0.attn.o": {"shape": [2, 256], "codes": "fp8", "bits": 8, "group": 128},
    "text.layers.0.mlp.gate": {"shape": [2, 32], "codes": "mxfp4", "bits": 4, "group": 32},
    "text.layers.0.mlp.up": {"shape": [1, 32], "codes": "nvfp4", "bits": 4, "group": 16},
}
for scheme in float_linears.values():
    scheme.update(symmetric=True, activations="float")

# Codes of 3 bits: two bits of each in one plane, the third in another; zeros have 4 bits.
codes = [[0, 1, 2, 3, 4, 5], [7, 7, 7, 0, 0, 4]]
three = [
    ("text.layers.0.attn.q.scales", "F16", [2, 3], half([1, 0.5, 2, 0.25, 1, 1]), A + "q_proj.weight", False),
    ("text.layers.0.attn.q.codes1", "U8", [2, 1], pack([[u >> 2 for u in row] for row in codes], 1),
     A + "q_proj.weight", False),
    ("text.layers.0.attn.q.codes2", "U8", [2, 2], pack([[u & 3 for u in row] for row in codes], 2),
     A + "q_proj.weight", False),
    ("text.layers.0.attn.q.zeros", "U8", [2, 2], pack([[1, 2, 3], [4, 0, 7]], 4), A + "q_proj.weight", False),
]
three_linears = {"text.layers.0.attn.q": {"shape": [2, 6], "bits": 3, "group": 2, "symmetric": False,
                                          "activations": "float"}}


def header(own_hash, tensors, linears, features):
    def text(value):
        return json.dumps(value, separators=(",", ":"))

    lines = sorted("%s %s %s %s\n" % (n, d, ",".join(map(str, s)), sha(b)) for n, d, s, b, _, _ in tensors
                   if not n.startswith("file/"))
    table = {}
    for name, _, _, data, source, unused in tensors:
        entry = {} if source is None else {"source": source}
        entry["sha256"] = sha(data)
        if unused:
            entry["unused"] = True
        table[name] = entry
    root = {"__metadata__": {
        "format": "pt", "vlmp.version": "1", "vlmp.requires": text(features),
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


def write(name, *contents):
    folder = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/packed"
    sealed = header(sha(header("0" * 64, *contents)), *contents)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(sealed + b"".join(t[3] for t in contents[0]))


write("tiny.vlmp", tensors, linears, ["codes-4", "codes-8", "zeros", "activations-int8"])
write("three.vlmp", three, three_linears, ["codes-3", "zeros"])
write("floats.vlmp", floats, float_linears, ["codes-fp8", "codes-mxfp4", "codes-nvfp4"])
