#!/usr/bin/env python3
"""Makes folders in the layout of LLaVA's own code out of the golden ones in transformers' layout.

    make_original.py MODELS TARGET

MODELS is tests/golden/models. For each CASE: TARGET/CASE, the original; TARGET/CASE-hf, the same weights as transformers'
conversion has them; and beside them the folders of the towers that the originals name.
"""
import json
import os
import shutil
import struct
import sys

MODELS, TARGET = sys.argv[1:]
VICUNA = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
          "and polite answers to the user's questions. USER: CONTENT ASSISTANT:")
MISTRAL = "[INST] CONTENT [/INST]"
QWEN = ("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nCONTENT<|im_end|>\n"
        "<|im_start|>assistant\n")
ENDS = {VICUNA: " {{ a }}</s>", MISTRAL: " {{ a }} </s>", QWEN: "{{ a }}<|im_end|>\n"}
CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
# name: golden folder, text model, prompt, tower, whether its weights are in the model's folder, picture settings
CASES = {
    "pad": ("llava-llama", "LlavaLlamaForCausalLM", VICUNA, "someone/clip-tiny-30", False, {"image_aspect_ratio": "pad"}),
    "square": ("llava-llama", "LlavaLlamaForCausalLM", VICUNA, "someone/clip-tiny-30", False, {}),
    "anyres": ("next-mistral", "LlavaMistralForCausalLM", MISTRAL, "/trained/here/clip-tiny-12", True,
               {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad",
                "image_grid_pinpoints": "[(12, 24), (24, 12), (24, 24), (36, 12), (12, 36)]"}),
    "onevision": ("onevision-qwen2", "LlavaQwenForCausalLM", QWEN, "someone/siglip-tiny-12", False,
                  {"image_aspect_ratio": "anyres_max_2", "mm_patch_merge_type": "spatial_unpad",
                   "image_grid_pinpoints": "(1x1),...,(3x3)", "mm_vision_select_layer": -2}),
}


def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def write(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)


def read_tensors(folder):
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    header.pop("__metadata__", None)
    return {name: (e["dtype"], e["shape"], data[slice(*e["data_offsets"])]) for name, e in header.items()}


def write_tensors(folder, tensors):
    header, out = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(out), len(out) + len(content)]}
        out += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + out)


def original_name(name):
    """Of a tensor, and whether it is the tower's."""
    name = name.removeprefix("model.")
    if name.startswith("vision_tower."):
        return "vision_model." + name.removeprefix("vision_tower.").removeprefix("vision_model."), True
    name = name.replace("multi_modal_projector.linear_1", "mm_projector.0")
    name = name.replace("multi_modal_projector.linear_2", "mm_projector.2").removeprefix("language_model.").removeprefix("model.")
    return name if name.startswith("lm_head.") else "model." + name, False


def put_tower(name, vision, tensors):
    """As its own folder on the hub: a whole CLIP or SigLIP, of which the rest is not wanted."""
    folder = os.path.join(TARGET, name.split("/")[-1])
    os.makedirs(folder, exist_ok=True)
    siglip = vision["model_type"] == "siglip_vision_model"
    if siglip:  # LLaVA's code takes the last layer away
        last = vision["num_hidden_layers"]
        layers = {n: t for n, t in tensors.items() if ".layers.0." in n}
        tensors = {**tensors, **{n.replace(".layers.0.", f".layers.{last}."): t for n, t in layers.items()},
                   "vision_model.head.probe": ("F32", [1, 1, 2], bytes(8))}
        vision = {**vision, "num_hidden_layers": last + 1}
    write_tensors(folder, {**tensors, "logit_scale": ("F32", [], bytes(4)),
                           "text_model.embeddings.token_embedding.weight": ("F32", [2, 2], bytes(16))})
    write(folder, "config.json", {"model_type": "siglip" if siglip else "clip", "vision_config": vision, "text_config": {}})


def put_original(case):
    source, architecture, _, tower, inside, pictures = CASES[case]
    source, folder = os.path.join(MODELS, source), os.path.join(TARGET, case)
    os.mkdir(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copyfile(os.path.join(source, name), os.path.join(folder, name))
    config = read(source, "config.json")
    text = config["text_config"]
    rope = text.pop("rope_parameters", {"rope_theta": 1e4})
    text.pop("layer_types", None)
    write(folder, "config.json", {
        **text, "rope_theta": rope["rope_theta"], "rope_scaling": None, "architectures": [architecture], "model_type": "llava",
        "torch_dtype": config["dtype"], "tie_word_embeddings": False, "mm_vision_tower": tower, "mm_hidden_size": 32,
        "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": config["vision_feature_layer"],
        "mm_vision_select_feature": "patch", "mm_use_im_start_end": False, "tune_mm_mlp_adapter": False, **pictures})
    own, others = {}, {}
    for name, tensor in read_tensors(source).items():
        renamed, is_tower = original_name(name)
        if is_tower:
            others[renamed] = tensor
        else:
            own[renamed] = tensor
    if inside:
        own.update({"model.vision_tower.vision_tower." + n: t for n, t in others.items()})
    write_tensors(folder, own)
    put_tower(tower, config["vision_config"], {} if inside else others)


def put_converted(case):
    source, _, prompt, _, _, pictures = CASES[case]
    folder = os.path.join(TARGET, case + "-hf")
    shutil.copytree(os.path.join(MODELS, source), folder)
    pictures_of = "{% for c in m.content if c.type == 'image' %}<image>\n{{ '' }}{% endfor %}"
    text_of = "{% for c in m.content if c.type == 'text' %}{{ c.text }}{% endfor %}"
    # Of one question and its answer.
    template = ("{% set m = messages[0] %}" + prompt.replace("CONTENT", pictures_of + text_of) + "{% if not add_generation_prompt %}"
                "{% set a = messages[1].content[0].text %}" + ENDS[prompt] + "{% endif %}")
    with open(os.path.join(folder, "chat_template.jinja"), "w", encoding="utf-8") as file:
        file.write(template)
    config, processor = read(folder, "config.json"), read(folder, "processor_config.json")
    own = processor["image_processor"]
    if config["model_type"] == "llava":
        own.update(CLIP, image_processor_type="LlavaImageProcessor", do_pad=pictures.get("image_aspect_ratio") == "pad")
    else:
        side = config["vision_config"]["image_size"]
        pairs = [(w * side, h * side) for w in (1, 2, 3) for h in (1, 2, 3)]
        if case == "anyres":
            pairs = [(12, 24), (24, 12), (24, 24), (36, 12), (12, 36)]
        config["image_grid_pinpoints"] = own["image_grid_pinpoints"] = [[h, w] for w, h in pairs]
    write(folder, "config.json", config)
    write(folder, "processor_config.json", processor)


os.makedirs(TARGET)
for each in CASES:
    put_original(each)
    put_converted(each)
