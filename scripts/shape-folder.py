#!/usr/bin/env python3
"""A model folder with the names and shapes of a published model and no weights: a sparse file of zeros, for what reads
headers alone; or, with `random`, one stretch of random weights over and over, for what reads them.

  python3 scripts/shape-folder.py qwen2.5-vl-7b|qwen3-vl-8b|smolvlm-2.2b OUT [random]
                                                                    (needs torch, transformers and this tree)

Tokenizer, template and picture processor are those of the tiny model of the family (tests/golden/models)."""
import json
import os
import shutil
import struct
import sys

import torch
import transformers
from transformers import (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen3VLConfig,
                          Qwen3VLForConditionalGeneration, SmolVLMConfig, SmolVLMForConditionalGeneration)

TINY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/golden/models")


def rope(theta, sections, **kw):
    return {"rope_type": "default", "rope_theta": theta, "mrope_section": sections, **kw}


def qwen2_5_vl_7b():
    text = dict(hidden_size=3584, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4,
                intermediate_size=18944, vocab_size=152064, rms_norm_eps=1e-6, max_position_embeddings=128000,
                rope_parameters=rope(1e6, [16, 24, 24]))
    config = Qwen2_5_VLConfig(text_config=text, vision_config=dict(hidden_size=1280, out_hidden_size=3584))
    return config, Qwen2_5_VLForConditionalGeneration, "qwen2.5-vl"


def qwen3_vl_8b():
    text = dict(hidden_size=4096, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8,
                intermediate_size=12288, vocab_size=151936, max_position_embeddings=262144,
                rope_parameters=rope(5e6, [24, 20, 20], mrope_interleaved=True))
    config = Qwen3VLConfig(text_config=text, vision_config=dict(out_hidden_size=4096))
    return config, Qwen3VLForConditionalGeneration, "qwen3-vl"


def smolvlm_2_2b():
    text = dict(model_type="llama", hidden_size=2048, num_hidden_layers=24, num_attention_heads=32, num_key_value_heads=32,
                intermediate_size=8192, vocab_size=49280, max_position_embeddings=8192, rms_norm_eps=1e-5,
                rope_parameters={"rope_type": "default", "rope_theta": 273768.0})
    tower = dict(hidden_size=1152, num_hidden_layers=27, num_attention_heads=16, intermediate_size=4304, image_size=384, patch_size=14)
    config = SmolVLMConfig(text_config=text, vision_config=tower, scale_factor=3, image_token_id=3, tie_word_embeddings=False)
    return config, SmolVLMForConditionalGeneration, "smolvlm-llama"


MODELS = {"qwen2.5-vl-7b": qwen2_5_vl_7b, "qwen3-vl-8b": qwen3_vl_8b, "smolvlm-2.2b": smolvlm_2_2b}
STRETCH = 24999999  # numbers; of no shape's size, so that rows differ


def fill(file, numbers):
    block = (torch.randn(STRETCH, generator=torch.Generator().manual_seed(1)) * 0.02).to(torch.bfloat16)
    block = block.view(torch.int16).numpy().tobytes()
    for at in range(0, numbers, STRETCH):
        file.write(block[: 2 * min(STRETCH, numbers - at)])


def main():
    name, out = sys.argv[1:3]
    config, cls, tiny = MODELS[name]()
    print("transformers", transformers.__version__)
    os.makedirs(out)
    with torch.device("meta"):
        model = cls(config)
    header, end = {}, 0
    for tensor, value in model.state_dict().items():
        size = 2 * value.numel()
        header[tensor] = {"dtype": "BF16", "shape": list(value.shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(out, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if sys.argv[3:] == ["random"]:
            fill(file, end // 2)
        else:
            file.truncate(8 + len(text) + end)
    config.architectures = [cls.__name__]
    config.save_pretrained(out)
    for part in ("tokenizer.json", "tokenizer_config.json", "processor_config.json", "chat_template.jinja"):
        shutil.copy(os.path.join(TINY, tiny, part), out)
    print(f"{out}: {end / 1e9:.2f} GB")


main()
