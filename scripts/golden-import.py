#!/usr/bin/env python3
"""Writes tests/golden/import/: small folders as other tools lay them out, and the weights that their own code makes of
them (compressed-tensors 0.19, safetensors 0.8, gguf 0.19, torch, on the CPU).

    scripts/golden-import.py [FOLDER]

FORMAT/config.json and FORMAT/model.safetensors are the folder; FORMAT.safetensors has the F32 weight of each linear
under its name in the folder. gguf/ is a pair of files by ggml's own writer under its own names, with blocks of every type
that is read, and the configuration of their model; gguf.json has the SHA-256 of the F32 values that ggml's own decoder
makes of each tensor, rows in the order of the model, under its name in transformers.
"""
import hashlib
import json
import os
import sys

import gguf
import numpy as np
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


GGUF_CONFIG = {
    **CONFIG,
    "text_config": {"model_type": "llama", "hidden_size": 256, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 8,
                    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 32, "rope_theta": 10000.0},
    "vision_config": {**CONFIG["vision_config"], "intermediate_size": 64},
}
# Name, shape, type.
GGUF_TEXT = [
    ("model.embed_tokens.weight", (32, 256), "Q4_K"), ("model.norm.weight", (256,), "F32"),
    ("model.layers.0.input_layernorm.weight", (256,), "F32"),
    ("model.layers.0.self_attn.q_proj.weight", (32, 256), "Q4_0"),
    ("model.layers.0.self_attn.k_proj.weight", (16, 256), "Q3_K"),
    ("model.layers.0.self_attn.v_proj.weight", (16, 256), "Q6_K"),
    ("model.layers.0.self_attn.o_proj.weight", (256, 32), "Q8_0"),
    ("model.layers.0.post_attention_layernorm.weight", (256,), "F32"),
    ("model.layers.0.mlp.gate_proj.weight", (32, 256), "Q4_1"), ("model.layers.0.mlp.up_proj.weight", (32, 256), "Q5_K"),
    ("model.layers.0.mlp.down_proj.weight", (256, 32), "Q5_0"), ("lm_head.weight", (32, 256), "IQ4_XS"),
]
GGUF_TOWER = [
    ("embeddings.class_embedding", (32,), "F32"), ("embeddings.patch_embedding.weight", (32, 3, 8, 8), "F16"),
    # llama.cpp's quantizer of towers takes this matrix for a linear.
    ("embeddings.position_embedding.weight", (5, 32), "Q8_0"), ("pre_layrnorm.weight", (32,), "F32"),
    ("pre_layrnorm.bias", (32,), "F32"), ("encoder.layers.0.layer_norm1.weight", (32,), "F32"),
    ("encoder.layers.0.layer_norm1.bias", (32,), "F32"),
    ("encoder.layers.0.self_attn.q_proj.weight", (32, 32), "Q8_0"),
    ("encoder.layers.0.self_attn.q_proj.bias", (32,), "F32"),
    ("encoder.layers.0.self_attn.k_proj.weight", (32, 32), "BF16"),
    ("encoder.layers.0.self_attn.k_proj.bias", (32,), "F32"),
    ("encoder.layers.0.self_attn.v_proj.weight", (32, 32), "F16"),
    ("encoder.layers.0.self_attn.v_proj.bias", (32,), "F32"),
    ("encoder.layers.0.self_attn.out_proj.weight", (32, 32), "Q4_1"),
    ("encoder.layers.0.self_attn.out_proj.bias", (32,), "F32"),
    ("encoder.layers.0.layer_norm2.weight", (32,), "F32"), ("encoder.layers.0.layer_norm2.bias", (32,), "F32"),
    ("encoder.layers.0.mlp.fc1.weight", (64, 32), "Q5_1"), ("encoder.layers.0.mlp.fc1.bias", (64,), "F32"),
    ("encoder.layers.0.mlp.fc2.weight", (32, 64), "IQ4_NL"), ("encoder.layers.0.mlp.fc2.bias", (32,), "F32"),
]
PROJECTOR = [("multi_modal_projector.linear_1.weight", (256, 32), "Q8_0"),
             ("multi_modal_projector.linear_1.bias", (256,), "F32"),
             ("multi_modal_projector.linear_2.weight", (256, 256), "Q2_K"),
             ("multi_modal_projector.linear_2.bias", (256,), "F32")]
# Names of tools/mtmd/legacy-models, which the package's table lacks.
LEGACY = {"multi_modal_projector.linear_1": "mm.0", "multi_modal_projector.linear_2": "mm.2"}
# Where the half-precision numbers of a block lie.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0], "IQ4_XS": [0],
          "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def blocks(rng, name, shape, kind):
    """A tensor's rows as bytes, and their values."""
    number = getattr(gguf.GGMLQuantizationType, kind)
    if kind not in HALVES:
        rows = gguf.quants.quantize((rng.standard_normal(shape) / 16).astype(np.float32), number)
    else:
        inputs, size = gguf.GGML_QUANT_SIZES[number]
        rows = rng.integers(0, 256, (shape[0], shape[1] // inputs, size)).astype(np.uint8)
        for at in HALVES[kind]:
            halves = (rng.standard_normal(rows.shape[:2]) / 64).astype(np.float16)
            rows[..., at:at + 2] = halves[..., None].view(np.uint8)
        if "out_proj" in name:  # minima that are multiples of their scales, which are negative too
            steps = (rng.integers(-63, 64, rows.shape[:2]) / 256).astype(np.float16)
            rows[..., 0:2] = steps[..., None].view(np.uint8)
            rows[..., 2:4] = (-steps * rng.integers(0, 16, steps.shape).astype(np.float16))[..., None].view(np.uint8)
        rows = rows.reshape(shape[0], -1)
    return rows, gguf.quants.dequantize(rows, number).astype(np.float32).reshape(shape)


def permuted(rows, heads):
    """As llama.cpp's converter of Llama turns q and k."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def gguf_file(path, arch, keys, names, tensors, rng, prefix):
    w, expected = gguf.GGUFWriter(path, arch), {}
    if arch == "llama":
        w.add_custom_alignment(64)
    for key, value in keys.items():
        (w.add_float32 if isinstance(value, float) else w.add_string if isinstance(value, str) else w.add_uint32)(key, value)
    for name, shape, kind in tensors:
        outer = name if name.startswith("multi") else prefix + name
        rows, values = blocks(rng, name, shape, kind)
        expected[outer] = hashlib.sha256((values + np.float32(0)).tobytes()).hexdigest()  # no zero has a sign
        heads = {"q_proj": 4, "k_proj": 2}.get(name.split(".")[-2]) if arch == "llama" else None
        stem, _, leaf = outer.rpartition(".") if outer.endswith((".weight", ".bias")) else (outer, "", "")
        known = LEGACY.get(stem) or names.get_name(stem.replace("language_model.", "", 1) if arch == "llama" else stem)
        raw = getattr(gguf.GGMLQuantizationType, kind)
        w.add_tensor(known + ("." + leaf if leaf else ""), permuted(rows, heads) if heads else rows,
                     raw_dtype=raw if kind in HALVES or kind == "BF16" else None)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return expected


def gguf_pair(folder):
    rng = np.random.default_rng(5)
    out = os.path.join(folder, "gguf")
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "config.json"), "w", encoding="utf-8") as file:
        json.dump(GGUF_CONFIG, file, indent=1, sort_keys=True)
        file.write("\n")
    text, vision = GGUF_CONFIG["text_config"], GGUF_CONFIG["vision_config"]
    keys = {"general.type": "model", "llama.block_count": 1, "llama.embedding_length": text["hidden_size"],
            "llama.feed_forward_length": text["intermediate_size"], "llama.attention.head_count": 4,
            "llama.attention.head_count_kv": 2, "llama.attention.key_length": 8, "llama.rope.freq_base": 10000.0,
            "llama.attention.layer_norm_rms_epsilon": 1e-6}
    expected = gguf_file(os.path.join(out, "model.gguf"), "llama", keys,
                         gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 1), GGUF_TEXT, rng, "language_model.")
    keys = {"general.type": "mmproj", "clip.projector_type": "mlp", "clip.vision.image_size": vision["image_size"],
            "clip.vision.patch_size": vision["patch_size"], "clip.vision.embedding_length": vision["hidden_size"],
            "clip.vision.feed_forward_length": vision["intermediate_size"], "clip.vision.attention.head_count": 4,
            "clip.vision.attention.layer_norm_epsilon": 1e-5}
    expected.update(gguf_file(os.path.join(out, "mmproj-model.gguf"), "clip", keys,
                              gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, 2), GGUF_TOWER + PROJECTOR, rng,
                              "vision_tower.vision_model."))
    with open(os.path.join(folder, "gguf.json"), "w", encoding="utf-8") as file:
        json.dump(expected, file, indent=1)
        file.write("\n")


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
    gguf_pair(folder)


if __name__ == "__main__":
    main()
