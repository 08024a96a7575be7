#!/usr/bin/env python3
"""Makes a folder of an architecture that no family reads, with random weights and no tokenizer.

    make_other.py TARGET [LONGER_NAME]

A decoder with fused projections and experts, a tower, a projector, a table, an audio encoder, a bias: names
as such checkpoints have them. LONGER_NAME: that of one more matrix.
"""
import os
import sys

import make_deep

LAYER = "model.layers.%d."
TOWER = "model.vision_embed_tokens.img_processor.vision_model."
SHAPES = [("lm_head.weight", 256, 64), ("model.embed_tokens.weight", 256, 64), ("model.norm.weight", 64)]
for layer in range(12):
    SHAPES += [(LAYER % layer + name, *shape) for name, *shape in (
        ("self_attn.qkv_proj.weight", 192, 64), ("self_attn.qkv_proj.bias", 192), ("self_attn.o_proj.weight", 64, 64),
        ("mlp.gate.weight", 64, 64), ("mlp.experts.0.w1.weight", 96, 64), ("mlp.experts.1.w1.weight", 96, 64),
        ("mlp.fused_experts.weight", 2, 64, 96), ("input_layernorm.weight", 64))]
SHAPES += [(TOWER + "encoder.layers.0.mlp.fc1.weight", 128, 64),
           (TOWER + "embeddings.patch_embedding.weight", 64, 3, 14, 14),
           (TOWER + "embeddings.position_embedding.weight", 64, 64),
           ("model.vision_embed_tokens.img_projection.0.weight", 64, 64),
           ("model.vision_embed_tokens.img_projection.1.weight", 8, 64),
           ("audio_encoder.layers.0.fc1.weight", 64, 64), ("model.logit_scale", 64, 64)]


def count(shape):
    total = 1
    for size in shape:
        total *= size
    return total


target = sys.argv[1]
os.mkdir(target)
shapes = SHAPES + [(name, 64, 64) for name in sys.argv[2:]]
make_deep.write_model(target, {"model_type": "phi3_v", "architectures": ["Phi3VForCausalLM"], "hidden_size": 64},
                      [(name, shape, make_deep.weights(count(shape), 0x3d)) for name, *shape in shapes])
