#!/usr/bin/env python3
"""Writes tests/golden/gguf/golden.json with ggml's own Python package (PyPI: gguf 0.19, numpy).

    scripts/golden-gguf.py tests/golden/gguf/golden.json

"codes": rows of a packed linear and the block bytes that hold the same values; "floats": rows that gguf
quantizes itself; "blocks": blocks of every type that is read, their bytes drawn, and the F32 values (as bytes) that
gguf makes of them; "file": a whole small file of gguf's writer; "imatrix": another, with the keys and tensors of
llama.cpp's tools/imatrix, sums of squares of activations that are drawn here.
"""
import json
import os
import sys
import tempfile

import gguf
import numpy as np

TYPES = gguf.GGMLQuantizationType
rng = np.random.default_rng(7)


def blocks_of(kind, codes, scales, zeros, group):
    """Block bytes of a row by the layout; gguf's decoder must give (u − z)·s back."""
    out = b""
    for first in range(0, len(codes), 32):
        u, s, z = codes[first:first + 32], scales[first // group], zeros[first // group]
        out += np.float16(s).tobytes()
        if kind == "Q4_1":
            out += np.float16(-s * z).tobytes()
        if kind == "Q8_0":
            out += (u - 128).astype(np.int8).tobytes()
        else:
            out += (u[:16] | u[16:] << 4).astype(np.uint8).tobytes()
    values = gguf.quants.dequantize(np.frombuffer(out, np.uint8), getattr(TYPES, kind))
    want = np.array([(int(codes[i]) - int(zeros[i // group])) * np.float32(scales[i // group])
                     for i in range(len(codes))], np.float32)
    assert (values == want).all()
    return out.hex()


def codes_case(kind, k, group):
    bits = 8 if kind == "Q8_0" else 4
    codes = rng.integers(1 if bits == 8 else 0, 1 << bits, k)
    # Few bits of scale, so that scale × zero is a half precision number too.
    scales = [float(s) / 256 for s in rng.integers(1, 100, k // group)]
    zeros = [int(z) for z in rng.integers(0, 16, k // group)] if kind == "Q4_1" else \
        [1 << bits - 1] * (k // group)
    case = {"type": kind, "group": group, "codes": codes.tolist(), "scales": scales,
            "bytes": blocks_of(kind, codes, scales, zeros, group)}
    if kind == "Q4_1":
        case["zeros"] = zeros
    return case


def floats_case(kind, k):
    x = rng.standard_normal(k).astype(np.float32)
    if kind == "Q8_0":
        data = gguf.quants.quantize(x[None], TYPES.Q8_0).tobytes()
    elif kind == "F16":
        data = x.astype(np.float16).tobytes()
    else:
        data = gguf.quants.quantize(x[None], TYPES.BF16).tobytes()
    return {"type": kind, "x": [float(v) for v in x], "bytes": data.hex()}


def whole_file():
    path = os.path.join(tempfile.mkdtemp(), "t.gguf")
    w = gguf.GGUFWriter(path, "llama")
    w.add_uint32("a.count", 7)
    w.add_float32("a.eps", 1e-5)
    w.add_bool("a.on", True)
    w.add_string("a.name", "zwölf")
    w.add_array("a.numbers", [-1, 2, 3])
    w.add_array("a.reals", [0.5, -2.0])
    w.add_array("a.words", ["x", "", "Ġy"])
    w.add_tensor("m", np.arange(6, dtype=np.float32).reshape(3, 2))
    w.add_tensor("v", np.arange(5, dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    with open(path, "rb") as file:
        return file.read().hex()


def importance():
    path = os.path.join(tempfile.mkdtemp(), "t.gguf")
    w = gguf.GGUFWriter(path, "")
    w.add_type("imatrix")
    w.add_array("imatrix.datasets", ["pictures.calib"])
    w.add_uint32("imatrix.chunk_count", 1)
    w.add_uint32("imatrix.chunk_size", 40)
    sites = []
    for site, name, width in (("attn.q", "attn_q", 6), ("mlp.down", "ffn_down", 9)):
        x = rng.standard_normal((40, width)).astype(np.float32)
        square = (x.astype(np.float64) ** 2).sum(0).astype(np.float32)
        w.add_tensor("blk.3.%s.weight.in_sum2" % name, square[None])
        w.add_tensor("blk.3.%s.weight.counts" % name, np.array([[len(x)]], np.float32))
        sites.append({"linear": "text.layers.3." + site, "tokens": len(x), "square": [float(v) for v in square]})
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    with open(path, "rb") as file:
        return {"sites": sites, "bytes": file.read().hex()}


# Where the half-precision numbers of a block lie.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0], "IQ4_XS": [0],
          "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def blocks_case(kind, halves):
    inputs, size = gguf.GGML_QUANT_SIZES[getattr(TYPES, kind)]
    blocks = rng.integers(0, 256, (256 // inputs, size)).astype(np.uint8)
    for at in halves:
        numbers = (rng.standard_normal(len(blocks)) / 64).astype(np.float16)
        blocks[:, at:at + 2] = numbers.view(np.uint8).reshape(-1, 2)
    values = gguf.quants.dequantize(blocks.reshape(-1), getattr(TYPES, kind)).astype(np.float32)
    return {"type": kind, "bytes": blocks.tobytes().hex(), "values": values.tobytes().hex()}


golden = {
    "codes": [codes_case(kind, k, group) for kind in ("Q4_0", "Q4_1", "Q8_0")
              for k, group in ((32, 32), (128, 64), (256, 128), (96, 96))],
    "floats": [floats_case(kind, 96) for kind in ("Q8_0", "F16", "BF16")],
    "file": whole_file(),
    "imatrix": importance(),
    "blocks": [blocks_case(kind, halves) for kind, halves in HALVES.items()],
}
with open(sys.argv[1], "w") as out:
    json.dump(golden, out, indent=None, separators=(",", ":"))
    out.write("\n")
