#!/usr/bin/env python3
"""Makes a LLaVA folder with a deep text model of random weights around the demo model's tower.

    make_deep.py DEMO_MODEL TARGET LAYERS HIDDEN INTERMEDIATE

Every layer has the same random BF16 weights, of magnitude 2^-7 to 2^-5 (about 1/sqrt(HIDDEN), so that
activations stay finite at any depth); tokenizer, templates, vision tower and vocabulary are the demo's.
"""
import json
import os
import random
import shutil
import struct
import sys

HEAD_DIM = 64
random_bytes = random.Random(1).randbytes


def weights(count, exponent=0x3c):
    """BF16 numbers of either sign. The exponent's upper bits: 0x3c for 2^-7 to 2^-5, 0x3d for 2^-5 to
    2^-3."""
    signed = bytes(exponent if byte < 128 else exponent + 0x80 for byte in range(256))
    out = bytearray(2 * count)
    out[0::2] = random_bytes(count)
    out[1::2] = random_bytes(count).translate(signed)
    return bytes(out)


def copy_folder(source, target):
    """All but weights and configuration, which is returned."""
    os.mkdir(target)
    for name in os.listdir(source):
        if name not in ("model.safetensors", "config.json"):
            shutil.copyfile(os.path.join(source, name), os.path.join(target, name))
    with open(os.path.join(source, "config.json"), encoding="utf-8") as file:
        return json.load(file)


def write_model(target, config, tensors):
    """tensors: name, shape and BF16 bytes of each."""
    with open(os.path.join(target, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    header, at = {}, 0
    for name, shape, data in tensors:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(target, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors:
            file.write(data)


def ones(count):
    return struct.pack("<H", 0x3f80) * count


def text_tensors(layers, hidden, intermediate, vocabulary):
    yield "language_model.model.embed_tokens.weight", [vocabulary, hidden], weights(vocabulary * hidden)
    yield "language_model.lm_head.weight", [vocabulary, hidden], weights(vocabulary * hidden)
    yield "language_model.model.norm.weight", [hidden], ones(hidden)
    yield "multi_modal_projector.linear_2.weight", [hidden, hidden], weights(hidden * hidden)
    yield "multi_modal_projector.linear_2.bias", [hidden], weights(hidden)
    block = [("input_layernorm", [hidden]), ("post_attention_layernorm", [hidden])]
    block += [("self_attn.%s_proj" % part, [hidden, hidden]) for part in "qkvo"]
    block += [("mlp.gate_proj", [intermediate, hidden]), ("mlp.up_proj", [intermediate, hidden]),
              ("mlp.down_proj", [hidden, intermediate])]
    data = {}
    for part, shape in block:
        data[part] = ones(hidden) if len(shape) == 1 else weights(shape[0] * shape[1])
    for layer in range(layers):
        for part, shape in block:
            yield "language_model.model.layers.%d.%s.weight" % (layer, part), shape, data[part]


def main():
    source, target = sys.argv[1:3]
    layers, hidden, intermediate = map(int, sys.argv[3:])
    config = copy_folder(source, target)
    text = config["text_config"]
    text.update(hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
                num_attention_heads=hidden // HEAD_DIM, num_key_value_heads=hidden // HEAD_DIM)

    with open(os.path.join(source, "model.safetensors"), "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        demo, start = json.loads(file.read(length)), 8 + length
        tensors = []
        for name in sorted(demo):
            if name.startswith("vision_tower."):
                begin, end = demo[name]["data_offsets"]
                file.seek(start + begin)
                tensors.append((name, demo[name]["shape"], file.read(end - begin)))
        width = demo["multi_modal_projector.linear_1.weight"]["shape"][1]
    tensors.append(("multi_modal_projector.linear_1.weight", [hidden, width], weights(hidden * width)))
    tensors.append(("multi_modal_projector.linear_1.bias", [hidden], weights(hidden)))
    tensors += text_tensors(layers, hidden, intermediate, text["vocab_size"])
    write_model(target, config, tensors)


if __name__ == "__main__":
    main()
