#!/usr/bin/env python3
"""Writes tests/golden/export: packed files as the reference packers and safetensors' own writer lay them out.

    scripts/golden-export.py [FOLDER]

compressed-tensors.safetensors is tests/golden/packed/tiny.vlmp; floats.vlmp, gptq.vlmp and awq.vlmp are made
here, from formats/FORMAT.md alone, and become the file of the same name (compressed-tensors 0.20, GPTQModel 7.7,
safetensors 0.8, torch).
"""
import hashlib
import json
import os
import struct
import sys

import torch
from compressed_tensors.compressors.mxfp4.base import MXFP4PackedCompressor
from compressed_tensors.compressors.naive_quantized.base import FloatQuantizationCompressor
from compressed_tensors.compressors.nvfp4.base import NVFP4PackedCompressor
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
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


def write_packed(path, linears, parts, features):
    """parts: name → (type, shape, bytes), in order of computation."""
    sizes = {"U8": 1, "F16": 2, "F32": 4, "F8_E4M3": 1, "F8_E8M0": 1}
    order = [n for n in parts if len(parts[n][2]) % 64 == 0]
    order += sorted((n for n in parts if n not in order), key=lambda n: (-sizes[parts[n][0]], n))

    def sha(data):
        return hashlib.sha256(data).hexdigest()

    table = {n: {"source": "language_model.model.layers.0.mlp.%s_proj.weight" % n.split(".")[4],
                 "sha256": sha(parts[n][2])} for n in order}
    lines = sorted("%s %s %s %s\n" % (n, parts[n][0], ",".join(map(str, parts[n][1])), table[n]["sha256"])
                   for n in order)

    def header(own_hash):
        root, at = {"__metadata__": {
            "format": "pt", "vlmp.version": "1", "vlmp.requires": json.dumps(features), "vlmp.header": own_hash,
            "vlmp.digest": sha("".join(lines).encode()), "vlmp.config": '{"model_type":"llava"}',
            "vlmp.linears": json.dumps(linears), "vlmp.tensors": json.dumps(table)}}, 0
        for n in order:
            root[n] = {"dtype": parts[n][0], "shape": parts[n][1], "data_offsets": [at, at + len(parts[n][2])]}
            at += len(parts[n][2])
        body = json.dumps(root, separators=(",", ":")).encode()
        body += b" " * (-(8 + len(body)) % 64)
        return struct.pack("<Q", len(body)) + body

    with open(path, "wb") as file:
        file.write(header(sha(header("0" * 64))) + b"".join(parts[n][2] for n in order))


def raw(tensor):
    return bytes(tensor.contiguous().view(torch.uint8).flatten().tolist())


def name_of(index):
    return "text.layers.0.mlp." + ("gate", "up", "down")[index]


def words(folder, layout, schemes, pack):
    """Packed linears with random codes, zeros of 0 among them, and what `pack` makes of each."""
    n, k, group = 32, 64, 32
    linears, parts, out = {}, {}, {}
    for index, (bits, symmetric) in enumerate(schemes):
        codes = torch.randint(1, 1 << bits, (n, k), dtype=torch.int64)
        zeros = torch.full((n, k // group), 1 << (bits - 1)) if symmetric else torch.arange(
            n * k // group).reshape(n, -1) * 5 % (1 << bits)
        scales = torch.exp2(-torch.randint(1, 9, (n, k // group)).float())
        name = name_of(index)
        linears[name] = {"shape": [n, k], "bits": bits, "group": group, "symmetric": symmetric, "activations": "float"}
        for part, values in ("codes", codes), ("zeros", zeros):
            if bits == 4:
                values = values[:, ::2] | values[:, 1::2] << 4
            if part == "codes" or not symmetric:
                parts[name + "." + part] = ("U8", list(values.shape), raw(values.to(torch.uint8)))
            if part == "codes":
                parts[name + ".scales"] = ("F16", list(scales.shape), raw(scales.half()))
        weight = torch.nn.Linear(k, n, bias=False)
        weight.weight.data = (codes - zeros.repeat_interleave(group, 1)) * scales.repeat_interleave(group, 1)
        base = "language_model.model.layers.0.mlp.%s_proj." % name.rpartition(".")[2]
        out.update({base + key: value for key, value in pack(weight, scales, zeros, bits, group, symmetric).items()})
    features = sorted({"codes-%d" % bits for bits, _ in schemes}) + ["zeros"]
    write_packed(os.path.join(folder, layout + ".vlmp"), linears, parts, features)
    save_file({key: value.contiguous() for key, value in out.items()},
              os.path.join(folder, layout + ".safetensors"), metadata={"format": "pt"})


def pack_gptq(linear, scales, zeros, bits, group, symmetric):
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization import QuantizeConfig
    from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module
    module = TorchLinear(bits=bits, group_size=group, sym=symmetric, desc_act=False, in_features=linear.in_features,
                         out_features=linear.out_features, bias=False)
    module.pack_original(linear, scales, zeros)
    convert_gptq_v2_to_v1_format_module(module, QuantizeConfig(bits=bits, group_size=group))
    return {part: getattr(module, part) for part in ("qweight", "qzeros", "scales", "g_idx")}


def pack_awq(linear, scales, zeros, bits, group, symmetric):
    from gptqmodel.nn_modules.qlinear.torch_awq import AwqTorchLinear
    module = AwqTorchLinear(bits=bits, group_size=group, sym=symmetric, desc_act=False, in_features=linear.in_features,
                            out_features=linear.out_features, bias=False)
    module.pack(linear, scales, zeros)
    return {part: getattr(module, part) for part in ("qweight", "qzeros", "scales")}


def floats(folder):
    """Each kind of codes that stand for floats; blocks on a linear that they cut."""
    linears, parts, out = {}, {}, {}

    def add(index, codes, shape, group, compressor, **args):
        name, (n, k) = name_of(index), shape
        four = codes != "fp8"
        scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(
            num_bits=4 if four else 8, type="float", symmetric=True, **args))
        weight = torch.randn(shape)
        rows, width = (-(-n // 128), 128) if group == 128 else (n, group or k)
        scale = torch.exp2(torch.randint(-6, 0, (rows, k // width)).float())
        state = {"weight": weight, "weight_scale": scale}
        linears[name] = {"shape": [n, k], "bits": 4 if four else 8, "group": group, "symmetric": True,
                         "activations": "float", "codes": codes}
        if codes == "nvfp4":
            state["weight_global_scale"] = torch.tensor([64.0])
        packed = compressor.compress(state, scheme)
        values = packed["weight_packed" if four else "weight"]
        values = values if four else values.to(torch.float8_e4m3fn).view(torch.uint8)
        # Both zeros are one here.
        low, high = values & 15, values >> 4
        values = (torch.where(low == 8, 0, low) | torch.where(high == 8, 0, high) << 4 if four
                  else torch.where(values == 128, 0, values))
        kind = {"fp8": "F32", "mxfp4": "F8_E8M0", "nvfp4": "F8_E4M3"}[codes]
        parts[name + ".codes"] = ("U8", list(values.shape), raw(values))
        parts[name + ".scales"] = (kind, list(scale.shape), raw(packed["weight_scale"]))
        if codes == "nvfp4":
            parts[name + ".global"] = ("F32", [1, 1], raw(1 / packed["weight_global_scale"]))
        packed["weight_packed" if four else "weight"] = values if four else values.view(torch.float8_e4m3fn)
        base = "language_model.model.layers.0.mlp.%s_proj." % name.rpartition(".")[2]
        out.update({base + key: value for key, value in packed.items()})

    def write(number, features):
        write_packed(os.path.join(folder, "floats%d.vlmp" % number), linears, parts, features)
        save_file({key: value.contiguous() for key, value in out.items()},
                  os.path.join(folder, "floats%d.safetensors" % number), metadata={"format": "pt"})
        for held in linears, parts, out:
            held.clear()

    add(0, "fp8", (32, 64), 0, FloatQuantizationCompressor, strategy="channel")
    add(1, "fp8", (144, 128), 128, FloatQuantizationCompressor, strategy="block", block_structure=[128, 128])
    write(8, ["codes-fp8"])
    add(0, "mxfp4", (32, 64), 32, MXFP4PackedCompressor, strategy="group", group_size=32, scale_dtype=torch.uint8,
        zp_dtype=torch.uint8)
    add(1, "nvfp4", (32, 64), 16, NVFP4PackedCompressor, strategy="tensor_group", group_size=16,
        scale_dtype=torch.float8_e4m3fn, zp_dtype=torch.float8_e4m3fn)
    write(4, ["codes-mxfp4", "codes-nvfp4"])


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "tests/golden/export")
    torch.manual_seed(1)
    packed = read_packed(os.path.join(ROOT, "tests/golden/packed/tiny.vlmp"))
    save_file(compressed_tensors(*packed), os.path.join(folder, "compressed-tensors.safetensors"),
              metadata={"format": "pt"})
    floats(folder)
    words(folder, "awq", [(4, False), (4, True)], pack_awq)
    words(folder, "gptq", [(4, False), (4, True), (8, False)], pack_gptq)


if __name__ == "__main__":
    main()
