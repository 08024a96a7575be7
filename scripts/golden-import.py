#!/usr/bin/env python3
"""Writes tests/golden/import/: small folders as other tools lay them out, and the weights that their own code makes of
them (compressed-tensors 0.19, safetensors 0.8, torch, on the CPU).

    scripts/golden-import.py [FOLDER]

FORMAT/config.json and FORMAT/model.safetensors are the folder; FORMAT.safetensors has the F32 weight of each linear
under its name in the folder.
"""
import json
import os
import sys

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationScheme
from safetensors.torch import save_file

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
TEXT, TOWER = "language_model.model.layers.0.", "vision_tower.vision_model.encoder.layers.0."
CONFIG = {
    "model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "image_token_index": 4,
    "vision_feature_layer": -2, "torch_dtype": "bfloat16",
    "text_config": {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
                    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 32},
    "vision_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
                      "image_size": 16, "patch_size": 8},
}


def numbers(seed, shape, low, high):
    """Integers from low to high, the ends among them."""
    generator = torch.Generator().manual_seed(seed)
    out = torch.randint(low, high + 1, shape, generator=generator)
    out.view(-1)[0], out.view(-1)[-1] = low, high
    return out


def scales(seed, shape, dtype):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) * 0.02 + 0.001).to(dtype)


def args(bits, strategy, size=None, symmetric=True, kind="int", dynamic=False):
    return {"num_bits": bits, "type": kind, "symmetric": symmetric, "strategy": strategy, "group_size": size,
            "dynamic": dynamic}


INT8 = args(8, "token", dynamic=True)
BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32
# Name, outputs, inputs, format, weights, activations, type of the scales.
LINEARS = [
    (TEXT + "self_attn.q_proj", 64, 64, "pack-quantized", args(4, "group", 32), None, BF16),
    (TEXT + "self_attn.k_proj", 34, 64, "pack-quantized", args(4, "group", 16, False), None, BF16),
    (TEXT + "self_attn.v_proj", 33, 64, "pack-quantized", args(8, "group", 32, False), None, F16),
    (TEXT + "self_attn.o_proj", 64, 61, "pack-quantized", args(4, "channel"), None, F32),
    (TEXT + "mlp.gate_proj", 96, 64, "pack-quantized", args(8, "channel"), None, BF16),
    (TEXT + "mlp.up_proj", 9, 30, "pack-quantized", args(4, "channel", None, False), None, BF16),
    (TOWER + "mlp.fc1", 48, 32, "int-quantized", args(8, "channel"), INT8, BF16),
    (TOWER + "mlp.fc2", 32, 48, "int-quantized", args(8, "tensor"), None, F32),
    (TOWER + "self_attn.q_proj", 32, 32, "int-quantized", args(8, "channel", None, False), None, F16),
]


def integer_linear(seed, n, k, form, weights, scale_type):
    """Tensors of one linear, by the package's packer."""
    bits, low = weights["num_bits"], -(1 << (weights["num_bits"] - 1))
    rows = 1 if weights["strategy"] == "tensor" else n
    groups = k // weights["group_size"] if weights["group_size"] else 1
    codes = numbers(seed, (n, k), low, -low - 1).to(torch.int8)
    zeros = numbers(seed + 1, (rows, groups), low, -low - 1).to(torch.int8)
    out = {"weight_scale": scales(seed + 2, (rows, groups) if rows > 1 else (1,), scale_type)}
    if form == "pack-quantized":
        out["weight_packed"], out["weight_shape"] = pack_to_int32(codes, bits), torch.tensor([n, k])
        if not weights["symmetric"]:
            out["weight_zero_point"] = pack_to_int32(zeros, bits, packed_dim=0).contiguous()
    else:
        out["weight"] = codes
        if not weights["symmetric"]:
            out["weight_zero_point"] = zeros
    return out


def decompressed(state, scheme):
    """The package's weight, computed in F32."""
    state = {leaf: t.float() if leaf == "weight_scale" and t.element_size() > 1 else t for leaf, t in state.items()}
    compressor = BaseCompressor.get_value_from_registry(scheme.format)
    return compressor.decompress(state, scheme)["weight"].float().contiguous()


def compressed_tensors(folder):
    tensors, weights, groups = {}, {}, {}
    for i, (name, n, k, form, quantized, activations, scale_type) in enumerate(LINEARS):
        group = {"targets": [name], "weights": quantized, "input_activations": activations,
                 "output_activations": None, "format": form}
        scheme = QuantizationScheme.model_validate(group)
        state = integer_linear(10 * i + 1, n, k, form, quantized, scale_type)
        # What a linear of zeros, and tools that let scales be negative, leave behind.
        if name.endswith("self_attn.q_proj") and form == "pack-quantized":
            state["weight_scale"][1, 0], state["weight_scale"][2, 1] = 0, -state["weight_scale"][2, 1]
        tensors.update({name + "." + leaf: tensor for leaf, tensor in state.items()})
        weights[name] = decompressed(state, scheme)
        groups["group_%d" % i] = group
    tensors[TEXT + "input_layernorm.weight"] = scales(1000, (64,), BF16)
    quantization = {"quant_method": "compressed-tensors", "format": "mixed-precision", "config_groups": groups,
                    "quantization_status": "compressed", "ignore": ["lm_head"], "kv_cache_scheme": None,
                    "sparsity_config": {}, "transform_config": {}, "version": "0.19.0"}
    write(folder, "compressed-tensors", quantization, tensors, weights)


def write(folder, name, quantization, tensors, weights):
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    with open(os.path.join(folder, name, "config.json"), "w", encoding="utf-8") as file:
        json.dump({**CONFIG, "quantization_config": quantization}, file, indent=1, sort_keys=True)
        file.write("\n")
    save_file(tensors, os.path.join(folder, name, "model.safetensors"), metadata={"format": "pt"})
    save_file(weights, os.path.join(folder, name + ".safetensors"))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "tests/golden/import")
    compressed_tensors(folder)


if __name__ == "__main__":
    main()
