#!/usr/bin/env python3
"""The reference implementation's output of every stage for the first samples of a data set, as test_stages
reads them: sampleN.safetensors with input_ids, pixel_values, stage.NAME and logits.

  python3 scripts/golden-stages.py MODEL data.jsonl OUT [--samples 3]     (needs torch, transformers, safetensors)

FP32 weights, eager attention, the PIL image processor, the answer included, no cache."""
import argparse
import json
import os

import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoProcessor, LlavaForConditionalGeneration

STAGES = ("patch_embedding", "pre_layrnorm", "multi_modal_projector", "language_model.norm")


def conversation(processor, record):
    user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": record["prompt"]}]}
    answer = {"role": "assistant", "content": [{"type": "text", "text": record["answers"][0]}]}
    prompt = processor.apply_chat_template([user], add_generation_prompt=True)
    text = processor.apply_chat_template([user, answer])
    eos = processor.tokenizer.eos_token
    end = text.rfind(eos)
    text = text[: end + len(eos)] if end >= len(prompt) else text.rstrip() + eos
    bos = processor.tokenizer.bos_token
    return text, not (bos and text.startswith(bos))


def watch(model):
    """Hooks on the stages; returns them and the dictionary that they fill."""
    seen, hooks = {}, []

    def keep(name):
        def hook(module, inputs, output):
            seen["stage." + name] = (output[0] if isinstance(output, tuple) else output).detach()[0].clone()

        return hook

    for name, module in model.named_modules():
        block = "layers" in name and name.rsplit(".", 1)[-1].isdigit()
        if block or name.endswith(STAGES):
            hooks.append(module.register_forward_hook(keep(name)))
    return hooks, seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--samples", type=int, default=3)
    args = parser.parse_args()
    processor = AutoProcessor.from_pretrained(args.model, backend="pil")
    model = LlavaForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    os.makedirs(args.out, exist_ok=True)
    with open(args.data) as lines:
        records = [json.loads(line) for line in lines][: args.samples]
    for index, record in enumerate(records):
        picture = Image.open(os.path.join(os.path.dirname(args.data), record["image"])).convert("RGB")
        text, special = conversation(processor, record)
        inputs = processor(images=picture, text=text, return_tensors="pt", add_special_tokens=special)
        hooks, tensors = watch(model)
        with torch.no_grad():
            wanted = {k: inputs[k] for k in ("input_ids", "attention_mask", "pixel_values")}
            tensors["logits"] = model(**wanted).logits[0]
        for hook in hooks:
            hook.remove()
        tensors["input_ids"] = inputs["input_ids"][0].int()
        tensors["pixel_values"] = inputs["pixel_values"][0]
        path = os.path.join(args.out, f"sample{index}.safetensors")
        save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"answer": record["answers"][0]})


main()
