#!/usr/bin/env python3
"""A tiny model folder with sizes that every format can hold: hidden states of 128 values, random weights of F32.

  python3 scripts/wide-folder.py TINY OUT [SEED]     (TINY: one of tests/golden/models; needs torch and transformers)

For exports in the real consumers (parity-export.py, parity-llama.py). Tokenizer, template and processor are TINY's;
Qwen-VL's windows and limits of pictures are those that llama.cpp has fixed."""
import json
import os
import shutil
import sys

import torch
import transformers
from transformers import AutoConfig, AutoModelForImageTextToText

HIDDEN, INNER = 128, 256


def widen(config):
    text, tower = config.text_config, config.vision_config
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    text.hidden_size, text.intermediate_size = HIDDEN, INNER
    text.num_attention_heads, text.num_key_value_heads = HIDDEN // head, 2
    text.hidden_act = "silu"
    tower.intermediate_size = INNER
    if hasattr(tower, "embed_dim"):  # Qwen2-VL
        tower.embed_dim, tower.num_heads = HIDDEN, 4
    tower.hidden_size = HIDDEN
    if hasattr(tower, "out_hidden_size"):
        tower.out_hidden_size = HIDDEN
    if hasattr(tower, "window_size"):
        tower.window_size = 112
    config.dtype = torch.float32


def randomize(model, seed):
    """Outputs of about the size of the inputs, scores of a few units, so that pictures and places matter."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if p.ndim == 1:
            p.data.copy_(0.2 * noise + (0 if name.endswith("bias") else 1))
        elif "embed" in name and p.ndim == 2:
            p.data.copy_((0.3 if model.config.tie_word_embeddings else 0.7) * noise)  # the head, too
        else:
            fused = ("q_proj", "k_proj", "qkv.weight")
            p.data.copy_(noise * (1.5 if any(f in name for f in fused) else 1) / p[0].numel() ** 0.5)


def main():
    tiny, out = sys.argv[1:3]
    config = AutoConfig.from_pretrained(tiny)
    widen(config)
    model = AutoModelForImageTextToText.from_config(config)
    randomize(model, int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    model.tie_weights()
    model.float().save_pretrained(out)
    for name in os.listdir(tiny):
        if not name.endswith(".safetensors") and name != "config.json":
            shutil.copy(os.path.join(tiny, name), out)
    if hasattr(config.vision_config, "spatial_merge_size"):
        square = (config.vision_config.patch_size * config.vision_config.spatial_merge_size) ** 2
        with open(os.path.join(out, "processor_config.json"), encoding="utf-8") as file:
            processor = json.load(file)
        processor["image_processor"]["size"] = {"shortest_edge": 8 * square, "longest_edge": 4096 * square}
        with open(os.path.join(out, "processor_config.json"), "w", encoding="utf-8") as file:
            json.dump(processor, file, indent=2)
    print("transformers", transformers.__version__, out)


main()
