#!/usr/bin/env python3
"""Writes tests/golden/export/compressed-tensors.safetensors: tests/golden/packed/tiny.vlmp as compressed-tensors'
own packer and safetensors' own writer lay it out (compressed-tensors 0.20, safetensors 0.8, torch).

    scripts/golden-export.py [FOLDER]
"""
import json
import os
import sys

import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from safetensors import safe_open
from safetensors.torch import save_file

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def read_packed(path):
    """Tensors, source names and schemes of a packed file; codes and zeros one a byte."""
    with safe_open(path, "pt") as file:
        meta = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    linears = json.loads(meta["vlmp.linears"])
    for name, linear in linears.items():
        inputs, group = linear["shape"][1], linear["group"] or linear["shape"][1]
        for part, count in ("codes", inputs), ("zeros", inputs // group):
            rows = tensors.get(name + "." + part)
            if rows is not None and linear["bits"] == 4:
                rows = torch.stack((rows & 15, rows >> 4), -1).reshape(rows.shape[0], -1)
                tensors[name + "." + part] = rows[:, :count]
    return tensors, {name: entry.get("source") for name, entry in json.loads(meta["vlmp.tensors"]).items()}, linears


def compressed_tensors(tensors, sources, linears):
    out = {}
    for name, tensor in tensors.items():
        stem, _, part = name.rpartition(".")
        if name.startswith("file/"):
            continue
        if stem not in linears or part == "bias":
            out[sources[name]] = tensor
            continue
        base, bits = sources[name].removesuffix(".weight"), linears[stem]["bits"]
        signed = (tensor.to(torch.int16) - (1 << (bits - 1))).to(torch.int8) if part != "scales" else None
        if part == "scales":
            out[base + ".weight_scale"] = tensor
        elif part == "zeros":
            out[base + ".weight_zero_point"] = pack_to_int32(signed, bits, packed_dim=0)
        elif linears[stem]["activations"] == "int8":
            out[base + ".weight"] = signed
        else:
            out[base + ".weight_packed"] = pack_to_int32(signed, bits)
            out[base + ".weight_shape"] = torch.tensor(linears[stem]["shape"])
    return {name: tensor.contiguous() for name, tensor in out.items()}


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "tests/golden/export")
    packed = read_packed(os.path.join(ROOT, "tests/golden/packed/tiny.vlmp"))
    save_file(compressed_tensors(*packed), os.path.join(folder, "compressed-tensors.safetensors"),
              metadata={"format": "pt"})


if __name__ == "__main__":
    main()
