#!/usr/bin/env python3
"""Makes a LLaVA folder of a few hundred kilobytes with random weights, quantized within milliseconds.

    make_tiny.py DEMO_MODEL TARGET [WIDTH_OF_TEXT_MLP]

Tokenizer, templates and picture sizes are the demo's; 3 tower layers (the projector reads behind the
second) and 2 text blocks.
"""
import json
import os
import struct
import sys

import make_deep

VISION = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2)
TEXT = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2)


def sizes(demo, tiny):
    """From the demo's sizes of one stack to the tiny model's."""
    heads = demo["num_attention_heads"]
    kv_heads = demo.get("num_key_value_heads", heads)
    tiny_kv = tiny.get("num_key_value_heads", tiny["num_attention_heads"])
    head = tiny["hidden_size"] // tiny["num_attention_heads"]
    return {demo["hidden_size"]: tiny["hidden_size"],
            demo["intermediate_size"]: tiny["intermediate_size"],
            demo["hidden_size"] // heads * kv_heads: head * tiny_kv}


def main():
    source, target = sys.argv[1:3]
    if len(sys.argv) > 3:
        TEXT["intermediate_size"] = int(sys.argv[3])
    config = make_deep.copy_folder(source, target)
    vision, text = config["vision_config"], config["text_config"]
    vision_sizes, text_sizes = sizes(vision, VISION), sizes(text, TEXT)
    vision.update(VISION)
    text.update(TEXT)

    with open(os.path.join(source, "model.safetensors"), "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        demo = json.loads(file.read(length))
    tensors = []
    for name in sorted(demo):
        layer = name.split(".layers.")[1].split(".")[0] if ".layers." in name else "0"
        stack = VISION if "vision_tower" in name else TEXT
        if name == "__metadata__" or int(layer) >= stack["num_hidden_layers"]:
            continue
        own = vision_sizes if stack is VISION else text_sizes
        shape = [own.get(size, size) for size in demo[name]["shape"]]
        if "projector.linear_1" in name:
            shape[1:] = [vision_sizes[size] for size in demo[name]["shape"][1:]]
        count = 1
        for size in shape:
            count *= size
        tensors.append((name, shape, make_deep.weights(count, 0x3d)))
    make_deep.write_model(target, config, tensors)


if __name__ == "__main__":
    main()
