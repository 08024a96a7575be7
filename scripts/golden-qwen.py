#!/usr/bin/env python3
"""Adds folders of the Qwen-VL families to tests/golden/models, as golden-models.py makes those of the LLaVA line; that
one runs first, and makes pictures and questions.

  python3 scripts/golden-qwen.py tests/golden/models     (needs torch, torchvision, transformers, tokenizers and Pillow)

Pictures have any size: i.pixels are those of one picture after the other, [3][height][width] each."""
import importlib
import os
import shutil
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import normalizers, processors
from transformers import (PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration,
                          Qwen2_5_VLProcessor, Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLProcessor,
                          Qwen2VLVideoProcessor, Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor,
                          Qwen3VLVideoProcessor)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
models = importlib.import_module("golden-models")
text, templates, OUT = models.text, models.templates, models.OUT

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
           "<|video_pad|>"]
LIMITS = dict(min_pixels=600, max_pixels=3600)


def tokenizer():
    tok = text.trained(text.split(text.QWEN2), 340, special=SPECIAL)
    tok.decoder = text.decoders.ByteLevel()
    tok.normalizer = normalizers.NFC()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return PreTrainedTokenizerFast(tokenizer_object=tok, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                   extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"})


def shared(vocab, sections, **kw):
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections}
    return dict(vocab_size=vocab, hidden_size=48, intermediate_size=37, num_hidden_layers=3, num_attention_heads=6,
                num_key_value_heads=2, max_position_embeddings=2048, rope_parameters=rope, pad_token_id=0, bos_token_id=0,
                eos_token_id=2, **kw)


def qwen2_5_vl(vocab, ids):
    tower = dict(depth=3, hidden_size=32, intermediate_size=37, num_heads=2, patch_size=4, window_size=26, out_hidden_size=48,
                 fullatt_block_indexes=[1])
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(
        vision_config=tower, text_config=shared(vocab, [1, 2, 1]), **ids))


def qwen2_vl(vocab, ids):
    tower = dict(depth=2, embed_dim=24, hidden_size=48, mlp_ratio=2, num_heads=3, patch_size=4, hidden_act="quick_gelu")
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(
        vision_config=tower, text_config=shared(vocab, [2, 1, 1], tie_word_embeddings=True), tie_word_embeddings=True, **ids))


def qwen3_vl(vocab, ids):
    tower = dict(depth=3, hidden_size=32, intermediate_size=37, num_heads=2, patch_size=4, out_hidden_size=48,
                 num_position_embeddings=25, deepstack_visual_indexes=[0, 2])
    inner = shared(vocab, [3, 2, 2], head_dim=16)
    inner["rope_parameters"]["mrope_interleaved"] = True
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(vision_config=tower, text_config=inner, **ids))


# name: model, processor, stored type
MODELS = {"qwen2.5-vl": (qwen2_5_vl, Qwen2_5_VLProcessor, torch.bfloat16),
          "qwen2-vl": (qwen2_vl, Qwen2VLProcessor, torch.float32),
          "qwen3-vl": (qwen3_vl, Qwen3VLProcessor, torch.bfloat16)}


CLASSES = {"qwen2.5-vl": Qwen2_5_VLForConditionalGeneration, "qwen2-vl": Qwen2VLForConditionalGeneration,
           "qwen3-vl": Qwen3VLForConditionalGeneration}


def randomize(model):
    """As for the others; in fused linears queries and keys are larger, and patches do not drown positions."""
    models.randomize(model)
    generator = torch.Generator().manual_seed(8)
    for name, p in model.named_parameters():
        if name.endswith("qkv.weight"):
            p.data[: 2 * p.shape[0] // 3] *= 1.5
        elif "patch_embed.proj.weight" in name:
            p.data.copy_(torch.randn(p.shape, generator=generator) / p[0].numel() ** 0.5)
        elif "embed_tokens" in name and model.config.tie_word_embeddings:
            p.data *= 0.5  # the head is the table
        elif name.endswith("ln_q.weight"):
            p.data.copy_(1 + 0.2 * torch.randn(p.shape, generator=generator))


def build(name, folder):
    make, processor_class, dtype = MODELS[name]
    tok = tokenizer()
    ids = {key + "_token_id": tok.convert_tokens_to_ids(f"<|{token}|>") for key, token in (
        ("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start"), ("vision_end", "vision_end"))}
    model = make(len(tok), ids)
    parts = dict(patch_size=4, merge_size=2, temporal_patch_size=2)
    template = templates.QWEN_VL.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    video = Qwen3VLVideoProcessor if name == "qwen3-vl" else Qwen2VLVideoProcessor
    processor = processor_class(Qwen2VLImageProcessorPil(**LIMITS, **parts), tok, video(**LIMITS, **parts),
                                chat_template=template)
    randomize(model)
    model.tie_weights()
    model.to(dtype).save_pretrained(folder)
    processor.save_pretrained(folder)
    return processor, template


def watch(model, stages):
    def hook(name, kind):
        def seen(module, args, kwargs, output=None):
            value = {"after": output, "rows": args[0] if args else kwargs.get("hidden_states"),
                     "embeds": kwargs.get("inputs_embeds")}[kind]
            stages[name] = models.thinned(value[0] if isinstance(value, tuple) else value)
        return seen
    tower, language = model.model.visual, model.model.language_model
    tower.blocks[0].register_forward_pre_hook(hook("vision.input", "rows"), with_kwargs=True)
    for i, block in enumerate(tower.blocks):
        block.register_forward_hook(hook(f"vision.{i}", "after"), with_kwargs=True)
    language.register_forward_pre_hook(hook("text.input", "embeds"), with_kwargs=True)
    for i, layer in enumerate(language.layers):
        layer.register_forward_hook(hook(f"text.{i}", "after"), with_kwargs=True)
    language.norm.register_forward_hook(hook("text.norm", "after"), with_kwargs=True)


def levels_of(inputs, processor):
    """The bytes of the resized pictures, out of their patches."""
    pictures = processor.image_processor
    patch, merge, frames = pictures.patch_size, pictures.merge_size, pictures.temporal_patch_size
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (pictures.image_mean, pictures.image_std))
    out, at = [], 0
    for _, rows, cols in inputs["image_grid_thw"].tolist():
        patches = inputs["pixel_values"][at: at + rows * cols].double()
        at += rows * cols
        patches = patches.reshape(rows // merge, cols // merge, merge, merge, 3, frames, patch, patch)[:, :, :, :, :, 0]
        image = patches.permute(4, 0, 2, 5, 1, 3, 6).reshape(3, rows * patch, cols * patch)
        levels = (image * std + mean) * 255
        assert (levels - levels.round()).abs().max() < 1e-3
        out.append(levels.round().to(torch.uint8).flatten())
    return torch.cat(out)


def answer(model, processor, template, question, stages):
    names, prompt, reply = question
    images = [models.open_picture(n) for n in names]
    before, whole = text.texts_of(template, {"eos_token": "<|im_end|>"}, len(images), prompt, reply)
    prefix, inputs = (processor(text=[t], images=images or None, return_tensors="pt") for t in (before, whole))
    ids, start = inputs["input_ids"][0].tolist(), len(prefix["input_ids"][0])
    assert ids[:start] == prefix["input_ids"][0].tolist()

    def losses(**other):
        model.model.rope_deltas = None
        with torch.no_grad():
            logits = model(**{**inputs, **other}).logits[0]
        scores = -torch.log_softmax(logits.double(), -1)
        return logits, torch.tensor([scores[t - 1, ids[t]] for t in range(start, len(ids))], dtype=torch.float32)

    if images:  # other pictures, places and windows must matter
        nll = losses()[1]
        positions = torch.arange(len(ids))[None, None].expand(3, 1, -1)
        assert (nll - losses(pixel_values=-inputs["pixel_values"])[1]).abs().mean() > 0.02
        assert (nll - losses(position_ids=positions)[1]).abs().mean() > 0.01
        if hasattr(model.model.visual, "deepstack_visual_indexes"):
            kept, model.model.visual.deepstack_visual_indexes = model.model.visual.deepstack_visual_indexes, []
            assert (nll - losses()[1]).abs().mean() > 0.02
            model.model.visual.deepstack_visual_indexes = kept
        if hasattr(model.model.visual, "fullatt_block_indexes"):
            kept, model.model.visual.fullatt_block_indexes = model.model.visual.fullatt_block_indexes, []
            assert (nll - losses()[1]).abs().mean() > 0.005
            model.model.visual.fullatt_block_indexes = kept
    stages.clear()
    logits, nll = losses()
    out = {"input_ids": torch.tensor(ids, dtype=torch.int32), "answer_from": torch.tensor([start], dtype=torch.int32),
           "nll": nll, "logits": models.thinned(logits), **stages}
    if images:
        out["pixels"] = levels_of(inputs, processor)
    return out


def old(name):
    """As transformers before 4.52 wrote it: names of the time, the text model's sizes at the top, RoPE in two members, limits
    of pictures by their old names."""
    folder = os.path.join(OUT, name + "-old")
    shutil.copytree(os.path.join(OUT, name), folder)
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    save_file({n.replace("model.visual.", "visual.").replace("model.language_model.", "model."): t for n, t in tensors.items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    config = models.read(folder, "config.json")
    inner = config.pop("text_config")
    kind = config["model_type"]
    config = {**inner, **config, "model_type": kind, "torch_dtype": config.pop("dtype")}
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = {**rope, "type": "mrope", "rope_type": "default"}
    config["vision_config"].pop("rope_parameters", None)
    config.pop("layer_types", None)
    models.write(folder, "config.json", config)
    pictures = models.read(folder, "processor_config.json")["image_processor"]
    pictures["image_processor_type"] = pictures["image_processor_type"].removesuffix("Pil")
    size = pictures.pop("size")
    pictures["min_pixels"], pictures["max_pixels"] = size["shortest_edge"], size["longest_edge"]
    models.write(folder, "preprocessor_config.json", pictures)
    os.remove(os.path.join(folder, "processor_config.json"))
    with open(os.path.join(folder, "chat_template.jinja"), encoding="utf-8") as file:
        models.write(folder, "chat_template.json", {"chat_template": file.read()})
    os.remove(os.path.join(folder, "chat_template.jinja"))


def old_qwen3(name):
    """As the folders of transformers 4.57, which the family came with: RoPE in two members, pictures, videos and the template
    in files of their own, processors that are not read here."""
    folder = os.path.join(OUT, name + "-old")
    shutil.copytree(os.path.join(OUT, name), folder)
    config = models.read(folder, "config.json")
    inner = config["text_config"]
    inner["dtype"] = config.pop("dtype")
    rope = inner.pop("rope_parameters")
    inner["rope_theta"], inner["rope_scaling"] = rope.pop("rope_theta"), rope
    config["vision_config"].pop("rope_parameters")
    models.write(folder, "config.json", config)
    processor = models.read(folder, "processor_config.json")
    for part, file in (("image_processor", "preprocessor_config.json"), ("video_processor", "video_preprocessor_config.json")):
        own = processor.pop(part)
        for key in [k for k in own if k.endswith("_processor_type")]:
            own[key] = own[key].removesuffix("Pil") + ("Fast" if part == "image_processor" else "")
        models.write(folder, file, own)
    audio = {"feature_extractor_type": "WhisperFeatureExtractor", "patch_size": 1, "image_mean": "none"}
    models.write(folder, "processor_config.json", {**processor, "audio_processor": audio, "video_processor": {"size": 0}})
    with open(os.path.join(folder, "chat_template.jinja"), encoding="utf-8") as file:
        models.write(folder, "chat_template.json", {"chat_template": file.read()})
    os.remove(os.path.join(folder, "chat_template.jinja"))


def main():
    torch.set_num_threads(1)
    print("transformers", transformers.__version__)
    for name in MODELS:
        folder = os.path.join(OUT, name)
        for stale in (folder, folder + "-old"):
            shutil.rmtree(stale, ignore_errors=True)
        processor, template = build(name, folder)
        cls = CLASSES[name]
        model = cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        stages, golden = {}, {}
        watch(model, stages)
        for i, question in enumerate(models.QUESTIONS):
            found = answer(model, processor, template, question, stages)
            golden.update({f"{i}.{k}": v for k, v in found.items()})
            nll = found["nll"]
            print(f"{name} {i}: {len(found['input_ids'])} ids, nll {nll.mean():.3f} ± {nll.std():.3f}")
        save_file(golden, os.path.join(OUT, name + ".safetensors"))
        (old_qwen3 if name == "qwen3-vl" else old)(name)


if __name__ == "__main__":
    main()
