#!/usr/bin/env python3
"""Writes a LLaVA-NeXT folder with the shapes of llava-v1.6-vicuna-13b (26.7 GB) and weights without meaning, for
measuring memory and time. Tokenizer and processor are those of tests/golden/models/next-llama. With --headers the shards
end behind their headers, which is all that vlm-plan reads.

  python3 scripts/make-13b.py FOLDER [--layers 40] [--vision-layers 24] [--headers]     (needs numpy but for headers)"""
import argparse
import json
import math
import os
import shutil
import struct
import sys

if "--headers" not in sys.argv:
    import numpy as np

HIDDEN, MLP, HEADS, VOCAB = 5120, 13824, 40, 32064
VISION, VISION_MLP, VISION_HEADS, IMAGE, PATCH = 1024, 4096, 16, 336, 14
SHARD = 5_000_000_000  # bytes
NOISE = 1 << 24  # elements; a prime step through them makes neighbouring tensors differ
TINY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/golden/models/next-llama")


def tensors(layers, vision_layers):
    v = "vision_tower.vision_model."
    yield v + "embeddings.class_embedding", [VISION]
    yield v + "embeddings.patch_embedding.weight", [VISION, 3, PATCH, PATCH]
    yield v + "embeddings.position_embedding.weight", [(IMAGE // PATCH) ** 2 + 1, VISION]

    def both(name, *shape):
        yield name + ".weight", list(shape)
        yield name + ".bias", [shape[0]]

    yield from both(v + "pre_layrnorm", VISION)
    for i in range(vision_layers):
        layer = f"{v}encoder.layers.{i}."
        yield from both(layer + "layer_norm1", VISION)
        for part in ("q", "k", "v", "out"):
            yield from both(f"{layer}self_attn.{part}_proj", VISION, VISION)
        yield from both(layer + "layer_norm2", VISION)
        yield from both(layer + "mlp.fc1", VISION_MLP, VISION)
        yield from both(layer + "mlp.fc2", VISION, VISION_MLP)
    yield from both(v + "post_layernorm", VISION)
    yield from both("multi_modal_projector.linear_1", HIDDEN, VISION)
    yield from both("multi_modal_projector.linear_2", HIDDEN, HIDDEN)
    yield "image_newline", [HIDDEN]
    t = "language_model.model."
    yield t + "embed_tokens.weight", [VOCAB, HIDDEN]
    for i in range(layers):
        layer = f"{t}layers.{i}."
        yield layer + "input_layernorm.weight", [HIDDEN]
        for part in "qkvo":
            yield f"{layer}self_attn.{part}_proj.weight", [HIDDEN, HIDDEN]
        yield layer + "post_attention_layernorm.weight", [HIDDEN]
        yield layer + "mlp.gate_proj.weight", [MLP, HIDDEN]
        yield layer + "mlp.up_proj.weight", [MLP, HIDDEN]
        yield layer + "mlp.down_proj.weight", [HIDDEN, MLP]
    yield t + "norm.weight", [HIDDEN]
    yield "language_model.lm_head.weight", [VOCAB, HIDDEN]


def shards(all_tensors):
    shard, size = [], 0
    for name, shape in all_tensors:
        count = math.prod(shape)
        if shard and size + 2 * count > SHARD:
            yield shard
            shard, size = [], 0
        shard.append((name, shape, count))
        size += 2 * count
    yield shard


def bf16(values):
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def write_shard(path, shard, noise, position):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, count in shard:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + 2 * count]}
        at += 2 * count
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb", buffering=0) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, _, count in shard if noise is not None else []:
            if "norm" in name and name.endswith("weight"):
                file.write(bf16(np.ones(count)).tobytes())
                continue
            while count > 0:
                piece = min(count, NOISE - position)
                file.write(memoryview(noise[position:position + piece]).cast("B"))
                position = (position + piece) % NOISE
                count -= piece
            position = (position + 1_000_003) % NOISE
    return position


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--vision-layers", type=int, default=24)
    parser.add_argument("--headers", action="store_true")
    args = parser.parse_args()
    os.makedirs(args.folder)
    noise = None if args.headers else bf16(np.random.default_rng(1).standard_normal(NOISE, dtype=np.float32) * np.float32(0.02))
    parts = list(shards(tensors(args.layers, args.vision_layers)))
    position, where = 0, {}
    for i, shard in enumerate(parts):
        name = f"model-{i + 1:05d}-of-{len(parts):05d}.safetensors"
        position = write_shard(os.path.join(args.folder, name), shard, noise, position)
        where.update({tensor: name for tensor, _, _ in shard})
    total = sum(2 * count for shard in parts for _, _, count in shard)

    def put(name, value):
        with open(os.path.join(args.folder, name), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)

    def tiny(name):
        with open(os.path.join(TINY, name), encoding="utf-8") as file:
            return json.load(file)

    put("model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
    for name in "tokenizer.json", "tokenizer_config.json", "chat_template.jinja":
        shutil.copy(os.path.join(TINY, name), args.folder)
    grid = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    put("config.json", {
        "architectures": ["LlavaNextForConditionalGeneration"], "model_type": "llava_next", "image_token_index": 3,
        "image_grid_pinpoints": grid, "torch_dtype": "bfloat16",
        "text_config": {"model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": MLP, "num_attention_heads": HEADS,
                        "num_key_value_heads": HEADS, "num_hidden_layers": args.layers, "rms_norm_eps": 1e-5,
                        "max_position_embeddings": 4096, "vocab_size": VOCAB},
        "vision_config": {"model_type": "clip_vision_model", "hidden_size": VISION, "intermediate_size": VISION_MLP,
                          "num_attention_heads": VISION_HEADS, "num_hidden_layers": args.vision_layers, "image_size": IMAGE,
                          "patch_size": PATCH}})
    processor = tiny("processor_config.json")
    processor["patch_size"] = PATCH
    processor["image_processor"].update(image_grid_pinpoints=grid, size={"shortest_edge": IMAGE},
                                        crop_size={"height": IMAGE, "width": IMAGE})
    put("processor_config.json", processor)
    print(f"{args.folder}: {len(where)} tensors, {total} bytes in {len(parts)} files")


main()
