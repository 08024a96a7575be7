#!/usr/bin/env python3
"""Makes tests/golden/models: a folder of a few kilobytes for each family and text model, with random
weights, as transformers 5 saves it; copies of some in the layouts of other versions; and what transformers
computes from them in F32 with eager attention and the PIL picture processor.

  python3 scripts/golden-models.py tests/golden/models     (needs torch, torchvision, transformers, num2words, tokenizers and Pillow)

MODEL.json holds the questions, MODEL.safetensors for question i:
  i.input_ids, i.answer_from, i.nll (of each answer token)
  i.pixels                            pixel_values of all tiles [tiles][3][side][side], base first, as the levels 0…255
  i.STAGE                             of each row r of the stage columns (5·r + c·(dim div 2)) mod dim, c = 0, 1
Stages: vision.input, vision.N (after block N), text.input (pictures in place), text.N, text.norm, logits."""
import importlib
import json
import os
import shutil
import sys

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from tokenizers import decoders, normalizers, pre_tokenizers, processors
import transformers
from transformers import (CLIPVisionConfig, Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor,
                          LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaNextConfig,
                          LlavaNextForConditionalGeneration, LlavaNextProcessor, LlavaOnevisionConfig,
                          LlavaOnevisionForConditionalGeneration, LlavaOnevisionProcessor,
                          LlavaOnevisionVideoProcessor, LlavaProcessor, MistralConfig, SiglipVisionConfig,
                          PreTrainedTokenizerFast, Qwen2Config, SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMProcessor,
                          SmolVLMVideoProcessor)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
text = importlib.import_module("golden-text")
import templates  # noqa: E402

OUT = sys.argv[1]
IMAGE = 3  # id of <image> in all the tokenizers


# --- tokenizers ---------------------------------------------------------------------------------


def sentence_piece():
    tok = text.sentence_piece(None, text.FALLBACK, size=430)
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tok


def metaspace():
    meta = text.pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return text.sentence_piece(meta, decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(
        prepend_scheme="first", split=False)]), size=430)


def llama3():
    return text.byte_level(text.split(text.LLAMA3), 340)


def qwen2():
    tok = text.byte_level(text.split(text.QWEN2), 340)
    tok.normalizer = normalizers.NFC()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return tok


def onevision():
    tok = qwen2()
    tok.add_special_tokens(["<video>"])
    return tok


MARKS = ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "<|im_start|>"]


def smollm2():
    """With marks of all tiles that the pictures below have."""
    pre = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok = text.byte_level(pre, 340)
    tok.post_processor = processors.ByteLevel(trim_offsets=True)
    tok.add_special_tokens(MARKS + [f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5)])
    return tok


def idefics3():
    """With marks of some tiles: the others are spelled."""
    tok = llama3()
    tok.add_special_tokens(MARKS[:3] + ["<row_1_col_1>", "<row_1_col_2>", "<row_2_col_1>"])
    return tok


# --- models -------------------------------------------------------------------------------------

LLAMA3_ROPE = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 256}


def shared(**kw):
    base = dict(hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                max_position_embeddings=2048, rms_norm_eps=1e-5, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    return {**base, **kw}


def theta(value):
    return {"rope_type": "default", "rope_theta": value}


# name: text class, text configuration, (image, patch), tokenizer, template, stored type, rest of the configuration
MODELS = {
    "llava-llama": (LlamaConfig, shared(hidden_act="gelu", attention_bias=True, mlp_bias=True), (30, 2), sentence_piece,
                    templates.VICUNA, torch.float32, {}),
    "llava-mistral": (MistralConfig, shared(head_dim=16, num_key_value_heads=1, sliding_window=5), (20, 4), metaspace,
                      templates.MISTRAL, torch.bfloat16,
                      dict(vision_feature_layer=[-2, -3], vision_feature_select_strategy="full")),
    "llava-qwen2": (Qwen2Config, shared(hidden_size=48, num_attention_heads=6, num_hidden_layers=3, use_sliding_window=True,
                                        sliding_window=7, tie_word_embeddings=True, rope_parameters=theta(1e6),
                                        layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
                    (30, 5), qwen2, templates.CHATML, torch.bfloat16, dict(tie_word_embeddings=True)),
    "next-llama": (LlamaConfig, shared(num_key_value_heads=4), (16, 2), sentence_piece, templates.VICUNA, torch.bfloat16, {}),
    "next-mistral": (MistralConfig, shared(sliding_window=None, rope_parameters=theta(1e6)), (12, 3), metaspace,
                     templates.MISTRAL, torch.float16, {}),
    "next-llama3": (LlamaConfig, shared(rope_parameters=LLAMA3_ROPE), (16, 3), llama3, templates.LLAMA3, torch.bfloat16, {}),
    "next-qwen2": (Qwen2Config, shared(hidden_size=48, num_attention_heads=6, rms_norm_eps=1e-6),
                   (12, 2), qwen2, templates.CHATML, torch.bfloat16, dict(vision_feature_layer=[1, -2])),
    "siglip-llama": (LlamaConfig, shared(), (20, 4), metaspace, templates.VICUNA, torch.bfloat16,
                     dict(vision_feature_layer=-1, vision_feature_select_strategy="full")),
    "onevision-qwen2": (Qwen2Config, shared(hidden_size=48, num_attention_heads=6, tie_word_embeddings=False), (12, 3),
                        onevision, templates.CHATML, torch.bfloat16, dict(vision_aspect_ratio="anyres_max_2")),
    "idefics3-llama3": (LlamaConfig, shared(rope_parameters=LLAMA3_ROPE, num_hidden_layers=3), (12, 3), idefics3,
                        "<s>" + templates.SMOLVLM.removeprefix("<|im_start|>"), torch.bfloat16, dict(scale_factor=2)),
    "smolvlm-llama": (LlamaConfig, shared(rope_parameters=theta(273768.0), tie_word_embeddings=True), (24, 4), smollm2,
                      templates.SMOLVLM, torch.float32, dict(scale_factor=3, tie_word_embeddings=True)),
}
NAMES = {"smolvlm": {"bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>"},
         "idefics3": {"bos_token": "<s>", "eos_token": "<end_of_utterance>"}}
CLASSES = {"llava": LlavaForConditionalGeneration, "siglip": LlavaForConditionalGeneration,
           "onevision": LlavaOnevisionForConditionalGeneration, "next": LlavaNextForConditionalGeneration,
           "idefics3": Idefics3ForConditionalGeneration, "smolvlm": SmolVLMForConditionalGeneration}


def family(name):
    return name.split("-")[0]


def special_names(name):
    return NAMES.get(family(name), {"bos_token": "<s>", "eos_token": "</s>"})


def randomize(model, table=0.7):
    """Weights that make scores, pictures and positions matter: outputs of about the size of the inputs, scores of a few
    units. table: size of embeddings."""
    generator = torch.Generator().manual_seed(7)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            value = 1 + 0.2 * noise
        elif name.endswith("bias"):
            value = 0.2 * noise
        elif "embed" in name or name.endswith(("newline", "lm_head.weight")):
            value = noise * (0.3 if "lm_head" in name else table)
        else:
            gain = 1.5 if "q_proj" in name or "k_proj" in name else 1.0
            value = gain * noise / p[0].numel() ** 0.5
        p.data.copy_(value)


def clip(image, patch, **rest):
    return dict(vision_config=CLIPVisionConfig(hidden_size=32, intermediate_size=37, num_hidden_layers=3,
                                               num_attention_heads=4, image_size=image, patch_size=patch,
                                               projection_dim=32),
                image_token_index=IMAGE, image_seq_length=(image // patch) ** 2, **rest)


def build_llava(name, tok, text_config):
    _, _, (image, patch), _, template, _, rest = MODELS[name]
    both = dict(text_config=text_config, **clip(image, patch, **rest))
    size = dict(size={"shortest_edge": image}, crop_size={"height": image, "width": image})
    counts = dict(tokenizer=tok, patch_size=patch, num_additional_image_tokens=1, chat_template=template,
                  vision_feature_select_strategy=rest.get("vision_feature_select_strategy", "default"))
    if family(name) == "llava":
        return LlavaConfig(**both), LlavaProcessor(CLIPImageProcessorPil(**size), **counts)
    grid = [[h * image, w * image] for h, w in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
    return (LlavaNextConfig(image_grid_pinpoints=grid, **both),
            LlavaNextProcessor(LlavaNextImageProcessorPil(image_grid_pinpoints=grid, **size), **counts))


def siglip(image, patch):
    return SiglipVisionConfig(hidden_size=32, intermediate_size=37, num_hidden_layers=3, num_attention_heads=4,
                              image_size=image, patch_size=patch, vision_use_head=False)


def build_siglip(name, tok, text_config):
    _, _, (image, patch), _, template, _, rest = MODELS[name]
    pictures = SiglipImageProcessorPil(size={"height": image, "width": image})
    counts = dict(tokenizer=tok, patch_size=patch, num_additional_image_tokens=0, chat_template=template,
                  vision_feature_select_strategy=rest["vision_feature_select_strategy"])
    return (LlavaConfig(vision_config=siglip(image, patch), text_config=text_config, image_token_index=IMAGE,
                        image_seq_length=(image // patch) ** 2, **rest), LlavaProcessor(pictures, **counts))


def build_onevision(name, tok, text_config):
    _, _, (image, patch), _, template, _, rest = MODELS[name]
    grid = [[h * image, w * image] for h in range(1, 4) for w in range(1, 4)]
    pictures = dict(image_grid_pinpoints=grid, size={"height": image, "width": image}, image_mean=[0.5] * 3,
                    image_std=[0.5] * 3)
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessorPil(**pictures), tok, LlavaOnevisionVideoProcessor(), chat_template=template,
        num_image_tokens=(image // patch) ** 2, vision_feature_select_strategy="full", **rest)
    return (LlavaOnevisionConfig(vision_config=siglip(image, patch), text_config=text_config, image_token_index=IMAGE,
                                 video_token_index=tok.convert_tokens_to_ids("<video>"), image_grid_pinpoints=grid, **rest), processor)


def build_idefics3(name, tok, text_config):
    _, _, (image, patch), _, template, _, rest = MODELS[name]
    vision = dict(hidden_size=32, intermediate_size=37, num_hidden_layers=3, num_attention_heads=4, image_size=image,
                  patch_size=patch)
    both = dict(vision_config=vision, text_config=text_config, image_token_id=IMAGE, **rest)
    size = dict(size={"longest_edge": 4 * image}, max_image_size={"longest_edge": image})
    counts = dict(tokenizer=tok, chat_template=template, image_seq_len=(image // patch // rest["scale_factor"]) ** 2)
    if family(name) == "idefics3":
        return Idefics3Config(**both), Idefics3Processor(Idefics3ImageProcessorPil(**size), **counts)
    video = SmolVLMVideoProcessor(**size)
    return SmolVLMConfig(**both), SmolVLMProcessor(SmolVLMImageProcessorPil(**size), video_processor=video, **counts)


BUILDERS = {"siglip": build_siglip, "onevision": build_onevision, "idefics3": build_idefics3,
            "smolvlm": build_idefics3}


def build(name, folder):
    cls, options, _, tokenizer, template, dtype, _ = MODELS[name]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer(), unk_token="<unk>", pad_token="<unk>",
                                   extra_special_tokens={"image_token": "<image>"}, **special_names(name))
    assert fast.convert_tokens_to_ids("<image>") == IMAGE
    make = BUILDERS.get(family(name), build_llava)
    options = {**options, "bos_token_id": fast.bos_token_id, "eos_token_id": fast.eos_token_id}
    config, processor = make(name, fast, cls(vocab_size=len(fast), **options))
    model = CLASSES[family(name)](config)
    randomize(model, 0.4 if family(name) == "smolvlm" else 0.7)  # its head is its table
    model.tie_weights()
    model.to(dtype).save_pretrained(folder)
    processor.save_pretrained(folder)
    return processor, template


# --- the layouts of other versions ---------------------------------------------------------------

# What stands before each part's own names.
LAYOUTS = {
    "A": dict(vision="vision_tower.vision_model.", projector="multi_modal_projector.", newline="image_newline",
              text="language_model.model.", head="language_model.lm_head."),
    "B": dict(vision="model.vision_tower.vision_model.", projector="model.multi_modal_projector.",
              newline="model.image_newline", text="model.language_model.", head="lm_head."),
    "C": dict(vision="model.vision_tower.", projector="model.multi_modal_projector.", newline="model.image_newline",
              text="model.language_model.", head="lm_head."),
    "D": dict(vision="vision_tower.", projector="multi_modal_projector.", newline="image_newline", text="language_model.",
              head="lm_head."),
    "E": dict(vision="model.vision_tower.vision_tower.vision_model.", projector="model.mm_projector.",
              newline="model.image_newline", text="model.", head="lm_head."),
}


def renamed(name, layout):
    prefixes = {prefixes[part]: part for prefixes in LAYOUTS.values() for part in prefixes}
    prefix = max((p for p in prefixes if name.startswith(p)), key=len)
    rest = name[len(prefix):]
    if layout == "E" and prefixes[prefix] == "projector":
        rest = rest.replace("linear_1", "0").replace("linear_2", "2")
    return LAYOUTS[layout][prefixes[prefix]] + rest


def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def write(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")


def old_configuration(folder):
    """transformers 4: RoPE in two members, the processor in a file of its own, the template in another."""
    config = read(folder, "config.json")
    config["torch_dtype"] = config.pop("dtype")
    rope = config["text_config"].pop("rope_parameters")
    config["text_config"]["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["text_config"]["rope_scaling"] = {"type": kind, **rope} if kind != "default" else None
    config["text_config"].pop("layer_types", None)
    write(folder, "config.json", config)
    processor = read(folder, "processor_config.json")
    pictures = processor.pop("image_processor")
    pictures["image_processor_type"] = pictures["image_processor_type"].removesuffix("Pil")
    write(folder, "preprocessor_config.json", pictures)
    write(folder, "processor_config.json", processor)
    with open(os.path.join(folder, "chat_template.jinja"), encoding="utf-8") as file:
        write(folder, "chat_template.json", {"chat_template": file.read()})
    os.remove(os.path.join(folder, "chat_template.jinja"))


def variant(model, layout, shards):
    source, folder = os.path.join(OUT, model), os.path.join(OUT, f"{model}-{layout}")
    shutil.copytree(source, folder)
    tensors = {renamed(n, layout): t for n, t in load_file(os.path.join(folder, "model.safetensors")).items()}
    if layout == "A":  # buffers that transformers 4 saved at times
        tensors["vision_tower.vision_model.embeddings.position_ids"] = torch.arange(4)[None]
        tensors["language_model.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    os.remove(os.path.join(folder, "model.safetensors"))
    names = sorted(tensors)
    where = {n: f"model-{i * shards // len(names) + 1:05d}-of-{shards:05d}.safetensors" for i, n in enumerate(names)}
    for file in set(where.values()):
        own = "model.safetensors" if shards == 1 else file
        save_file({n: tensors[n].contiguous() for n in names if where[n] == file}, os.path.join(folder, own),
                  metadata={"format": "pt"})
    if shards > 1:
        total = sum(t.numel() * t.element_size() for t in tensors.values())
        write(folder, "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
    if layout in "AE":
        old_configuration(folder)


# --- questions ----------------------------------------------------------------------------------


def picture(width, height, seed, mode="RGB"):
    y, x, c = np.indices((height, width, len(mode)))
    values = (x * (3 + seed) + 2 * y * (1 + c) + 50 * c + 40 * ((x // 9 + y // 7) % 2)) & 255
    return Image.fromarray(values.astype(np.uint8), mode)


def make_pictures():
    folder = os.path.join(OUT, "pictures")
    os.makedirs(folder)

    def put(image, name, **kw):
        image.save(os.path.join(folder, name), **kw)

    put(picture(1000, 90, 0), "wide.png", optimize=True)
    put(picture(50, 50, 1), "square.png")
    put(picture(37, 180, 2), "tall.png")
    put(picture(3, 400, 4), "thin.png")
    put(picture(400, 3, 5), "flat.png")
    put(picture(64, 40, 3, "RGBA"), "transparent.png")
    put(picture(60, 44, 5).quantize(12), "palette.png", transparency=2)
    exif = Image.Exif()
    exif[0x0112] = 6
    put(picture(90, 56, 6), "rotated.jpg", quality=90, exif=exif)


QUESTIONS = [
    (["wide.png"], "What is shown in this image?", "A cat left of 3 dogs."),
    (["square.png", "tall.png"], "日本語で? Опиши обе картинки.", "赤い猫 и синий ёж."),
    ([], "مرحبا कैसे हैं 你好 e\u0301té?", "Çok güzel, İstanbul! 😀"),
    (["transparent.png", "rotated.jpg", "palette.png"], "Compare these.", "Über 1,024 e\u0301l\u00e9ments\nin two lines"),
    (["thin.png", "flat.png"], "무엇이 보입니까?", "   선  "),
]
ALONE = (["square.png"], "How many?", "Two, I think.")  # a grid of as many rows as columns, for OneVision alone


def open_picture(name):
    """As transformers.image_utils.load_image. Through an array, because a palette's transparent colour survives the
    conversion as a note, and newer picture processors then paint that colour white."""
    image = ImageOps.exif_transpose(Image.open(os.path.join(OUT, "pictures", name))).convert("RGB")
    return Image.fromarray(np.asarray(image))


def thinned(values):
    """[…][dim] → [rows][2]: all rows, two columns that wander."""
    rows = values.detach().reshape(-1, values.shape[-1])
    dim = rows.shape[1]
    columns = (5 * torch.arange(len(rows))[:, None] + torch.tensor([0, dim // 2])) % dim
    return rows.gather(1, columns).contiguous()


def watch(model, stages):
    def hook(name, after):
        def seen(module, args, kwargs, output=None):
            value = output if after else kwargs["inputs_embeds"]
            stages[name] = thinned(value[0] if isinstance(value, tuple) else value)
        return seen

    config, inner = model.config, model.model
    used = config.vision_config.num_hidden_layers
    if hasattr(inner, "text_model"):
        tower, language = inner.vision_model, inner.text_model
        tower.embeddings.register_forward_hook(hook("vision.input", True), with_kwargs=True)
    else:
        tower, language = getattr(inner.vision_tower, "vision_model", inner.vision_tower), inner.language_model
        layers = config.vision_feature_layer
        used = max(i % (used + 1) for i in (layers if isinstance(layers, list) else [layers]))
        first = tower.pre_layrnorm if hasattr(tower, "pre_layrnorm") else tower.embeddings
        first.register_forward_hook(hook("vision.input", True), with_kwargs=True)
    for i in range(used):
        tower.encoder.layers[i].register_forward_hook(hook(f"vision.{i}", True), with_kwargs=True)
    language.register_forward_pre_hook(hook("text.input", False), with_kwargs=True)
    for i, layer in enumerate(language.layers):
        layer.register_forward_hook(hook(f"text.{i}", True), with_kwargs=True)
    language.norm.register_forward_hook(hook("text.norm", True), with_kwargs=True)


def ids_of(processor, string, images):
    special = not string.startswith(processor.tokenizer.bos_token)
    if images and isinstance(processor, LlavaOnevisionProcessor):
        images = [images]  # those of one prompt, which is not cut up when they are several
    return processor(text=string, images=images or None, add_special_tokens=special, return_tensors="pt")


def levels_of(model, processor, inputs, count):
    """The levels 0…255 of all tiles of a prompt's `count` pictures."""
    pixels = inputs["pixel_values"]
    if pixels.ndim == 5 and not hasattr(model.config, "image_grid_pinpoints"):
        pixels = pixels[0]  # all tiles of a prompt side by side
    elif pixels.ndim == 5:  # padded with empty tiles to the most tiles of a picture
        from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches
        config = model.config
        counts = [image_size_to_num_patches(s, config.image_grid_pinpoints, config.vision_config.image_size)
                  for s in inputs["image_sizes"]]
        if "batch_num_images" in inputs and count > 1:
            counts = [1] * count
        pixels = torch.cat([p[:n] for p, n in zip(pixels, counts)])
    pictures = processor.image_processor
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (pictures.image_mean, pictures.image_std))
    levels = (pixels.double() * std + mean) * 255
    assert (levels - levels.round()).abs().max() < 1e-3
    return levels.round().to(torch.uint8).contiguous()


def answer(model, processor, template, question, stages):
    names, prompt, reply = question
    images = [open_picture(n) for n in names]
    variables = {**{k: getattr(processor.tokenizer, k) for k in ("bos_token", "eos_token")}, "unk_token": "<unk>"}
    before, whole = text.texts_of(template, variables, len(images), prompt, reply)
    prefix = ids_of(processor, before, images)["input_ids"][0].tolist()
    inputs = ids_of(processor, whole, images)
    ids = inputs["input_ids"][0].tolist()
    start = 0
    while start < min(len(prefix), len(ids)) and prefix[start] == ids[start]:
        start += 1

    def losses_of(pixels):
        with torch.no_grad():
            logits = model(**{**inputs, **pixels}).logits[0]
        losses = -torch.log_softmax(logits.double(), -1)
        return logits, torch.tensor([losses[t - 1, ids[t]] for t in range(start, len(ids))], dtype=torch.float32)

    if images:  # other pictures must matter (to the rows that see them: windows may be shorter than the prompt)
        logits, nll = losses_of({})
        other, other_nll = losses_of({"pixel_values": -inputs["pixel_values"]})
        assert (logits - other).abs().mean() > 0.05
        if getattr(model.config.text_config, "sliding_window", None) is None:
            assert (nll - other_nll).abs().mean() > 0.02
    stages.clear()
    logits, nll = losses_of({})
    out = {"input_ids": torch.tensor(ids, dtype=torch.int32), "answer_from": torch.tensor([start], dtype=torch.int32),
           "nll": nll, "logits": thinned(logits), **stages}
    if images:
        out["pixels"] = levels_of(model, processor, inputs, len(images))
    return out


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    make_pictures()
    torch.set_num_threads(1)
    print("transformers", transformers.__version__)
    for name in MODELS:
        folder = os.path.join(OUT, name)
        processor, template = build(name, folder)
        model = CLASSES[family(name)].from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        stages, golden = {}, {}
        watch(model, stages)
        for i, question in enumerate(QUESTIONS + ([ALONE] if family(name) == "onevision" else [])):
            found = answer(model, processor, template, question, stages)
            golden.update({f"{i}.{k}": v for k, v in found.items()})
            nll = found["nll"]
            print(f"{name} {i}: {len(found['input_ids'])} ids, nll {nll.mean():.3f} ± {nll.std():.3f}")
        save_file(golden, os.path.join(OUT, name + ".safetensors"))
    write(OUT, "questions.json", [dict(zip(("images", "prompt", "answer"), q)) for q in QUESTIONS + [ALONE]])
    for model, layout, shards in (("next-llama", "A", 3), ("next-llama3", "B", 2), ("llava-qwen2", "D", 1),
                                  ("next-mistral", "E", 1)):
        variant(model, layout, shards)


if __name__ == "__main__":
    main()
