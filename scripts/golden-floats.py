#!/usr/bin/env python3
"""Writes tests/golden/floats/vectors.safetensors: what torch and compressed-tensors make of values, scales and
weights as E4M3, E2M1 and E8M0. Needs torch 2.15, compressed-tensors 0.20 and safetensors."""
import sys

import torch
from compressed_tensors.compressors.mx_utils import compress_mx_scale, decompress_mx_scale
from compressed_tensors.compressors.naive_quantized.base import FloatQuantizationCompressor
from compressed_tensors.compressors.nvfp4.base import NVFP4PackedCompressor
from compressed_tensors.compressors.nvfp4.helpers import pack_fp4_to_uint8, unpack_fp4_from_uint8
from compressed_tensors.compressors.mxfp4.base import MXFP4PackedCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.quant_args import FP4_E2M1_DATA
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from compressed_tensors.quantization.utils.mxfp_utils import generate_mx_scales
from safetensors.torch import save_file

torch.manual_seed(1)
N, K = 144, 256  # a whole block of 128 outputs and a part of one
out = {}


def e4m3(x):
    """Codes; torch has no saturation of its own, and both zeros are one here."""
    codes = x.clamp(-448, 448).to(torch.float8_e4m3fn).view(torch.uint8)
    return torch.where(codes == 0x80, torch.zeros_like(codes), codes)


def positive_zeros(packed):
    """E2M1 codes, two a byte, with 0 in place of -0."""
    low, high = packed & 15, packed >> 4
    return torch.where(low == 8, 0, low) | torch.where(high == 8, 0, high) << 4


def inputs(values):
    """Values, the middles between neighbours, what lies beside these, and numbers at random."""
    values = values[values.isfinite()].unique()
    middles = (values[1:] + values[:-1]) / 2
    around = torch.cat([middles, middles.nextafter(middles * 0 + 1e9), middles.nextafter(middles * 0 - 1e9)])
    spread = torch.randn(500) * torch.exp2(torch.empty(500).uniform_(-12, 10))
    edges = torch.tensor([1e-30, -1e-30, 5.5, 7.0, 8.0, 447.9, 449, 464, 480, 1e30, -1e30])
    x = torch.cat([values, around, spread, edges])
    return x[: x.numel() // 2 * 2].float()


every = torch.arange(256, dtype=torch.uint8)
out["e4m3.values"] = every.view(torch.float8_e4m3fn).float()
out["e4m3.inputs"] = inputs(out["e4m3.values"])
out["e4m3.codes"] = e4m3(out["e4m3.inputs"])

pairs = torch.arange(16, dtype=torch.uint8).reshape(8, 2)
out["e2m1.values"] = unpack_fp4_from_uint8(pairs[:, 0] | pairs[:, 1] << 4, 1, 16).float().flatten()
x = inputs(out["e2m1.values"])
out["e2m1.inputs"] = x
out["e2m1.codes"] = positive_zeros(pack_fp4_to_uint8(FP4_E2M1_DATA.cast_to_fp4(x.clamp(-6, 6)).reshape(1, -1))).flatten()

exponents = torch.arange(103, 245, dtype=torch.uint8)  # 2^-24, our least scale, and up
out["e8m0.codes"] = exponents
out["e8m0.values"] = decompress_mx_scale(exponents).float()
powers = torch.exp2(torch.arange(-20, 100).float())
amax = torch.cat([powers * m for m in (1, 1.25, 1.5, 1.7499999, 1.75, 1.7500001, 1.99)])
out["e8m0.amax"] = amax
out["e8m0.scales"] = generate_mx_scales(amax).to(torch.uint8)

# Largest weight 2688/2^13: the global scale of the whole matrix is a power of two.
w = (torch.randn(N, K) * torch.exp2(torch.randn(N, 1))).half().float()
w = (w / w.abs().max() * 0.328125).half().float()
assert w.abs().max() == 0.328125
out["weight"] = w.half()


def scheme(**args):
    return QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(type="float", symmetric=True, **args))


def qparams(scheme, amax, global_scale=None):
    return calculate_qparams(-amax, amax, scheme.weights, global_scale=global_scale)[0]


s = scheme(num_bits=8, strategy="channel")
scale = qparams(s, w.abs().amax(1, keepdim=True))
coded = FloatQuantizationCompressor.compress({"weight": w, "weight_scale": scale}, s)["weight"]
out["fp8.scales"], out["fp8.codes"] = scale.float(), e4m3(coded.float())

s = scheme(num_bits=8, strategy="block", block_structure=[128, 128])
padded = torch.zeros(256, K)
padded[:N] = w
scale = qparams(s, padded.reshape(2, 128, K // 128, 128).abs().amax((1, 3)))
coded = FloatQuantizationCompressor.compress({"weight": w, "weight_scale": scale}, s)["weight"]
out["block.scales"], out["block.codes"] = scale.float(), e4m3(coded.float())

s = scheme(num_bits=4, strategy="group", group_size=32, scale_dtype=torch.uint8, zp_dtype=torch.uint8)
scale = decompress_mx_scale(generate_mx_scales(w.reshape(N, -1, 32).abs().amax(2)).to(torch.uint8)).float()
coded = MXFP4PackedCompressor.compress({"weight": w, "weight_scale": scale}, s)
out["mxfp4.codes"] = positive_zeros(coded["weight_packed"])
out["mxfp4.scales"] = compress_mx_scale(scale, torch.uint8)

s = scheme(num_bits=4, strategy="tensor_group", group_size=16, scale_dtype=torch.float8_e4m3fn,
           zp_dtype=torch.float8_e4m3fn)
divisor = generate_gparam(w.min(), w.max())
scale = qparams(s, w.reshape(N, -1, 16).abs().amax(2), divisor)
coded = NVFP4PackedCompressor.compress(
    {"weight": w, "weight_scale": scale, "weight_global_scale": divisor}, s)
out["nvfp4.codes"] = positive_zeros(coded["weight_packed"])
out["nvfp4.scales"] = coded["weight_scale"].view(torch.uint8)
out["nvfp4.global"] = 1 / divisor.reshape(1)
assert out["nvfp4.global"].item() == 2.0**-13, out["nvfp4.global"]

save_file({k: v.contiguous() for k, v in out.items()},
          sys.argv[1] if len(sys.argv) > 1 else "tests/golden/floats/vectors.safetensors", {"format": "pt"})
