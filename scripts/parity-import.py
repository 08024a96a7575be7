#!/usr/bin/env python3
"""Models that other tools quantized, judged by vlm-eval and by their makers' own arithmetic.

    scripts/parity-import.py TOOLS MODEL CALIB.jsonl DATA.jsonl WORK [RECIPE…]

For every recipe: its maker quantizes MODEL and saves it under WORK (what is there is used again): llm-compressor
(folders in the type that MODEL's configuration names; all of its recipes where none is named), GPTQModel
(gptqmodel-gptq-w4g64, gptqmodel-awq-w4g64-asymmetric …), AutoAWQ (autoawq-w4g64), llama.cpp's own quantizer (gguf-q4_0,
gguf-q4_k_m …, from the files that vlm-export makes). Then twice, over the answers of DATA (first 16
samples) in F32 on the CPU, perplexity and KL against MODEL: by transformers, with weights that the maker's own
decoders make of its files (compressed-tensors' decompressors with scales in F32: in BF16 they would round each
weight; GPTQModel's and AutoAWQ's layouts by their documented arithmetic; the gguf package's dequantize) and, where a folder says so, activations that
its functions quantize; and by `vlm-eval WORK/RECIPE --reference MODEL`. For GGUF files also by llama.cpp itself, whose
text model is given the embeddings of prompt, picture and answer that transformers computes. Prints one line each; exit 1 when the two
differ by more than both sides' rounding can make them. Needs torch, transformers, Pillow and the makers of the
recipes that are asked for: llmcompressor, gptqmodel, autoawq, llama-cpp-python with gguf (not used by the tests).

The bound: the final states of the two programs are promised to differ by no more than 2.6e-4 of the largest row
(tests/golden/test_stages.c), and logits are products with rows of the head: e, the largest difference of a logit, is
taken as 2.6e-4 times the largest. By first derivatives, a token's KL(p, q) then moves by no more than e (sum |q - p| +
sum p |log p/q - KL|), and by second ones by 2 e^2. Quantized activations are compared as they are: a value at a rounding border may fall to either side,
and the package clamps to −128 … 127, vlmpack to −127 … 127.
"""
import json
import os
import subprocess
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

import othermakers

SAMPLES, CALIBRATION, STATES = 16, 32, 2.6e-4
KEPT = ["re:.*lm_head", "re:.*vision_tower.*", "re:.*multi_modal_projector.*"]
TOWER_TOO = ["re:.*lm_head", "re:.*multi_modal_projector.*"]


def group(bits, size=0, symmetric=True, kind="int", activations=None, strategy=None):
    weights = {"num_bits": bits, "type": kind, "symmetric": symmetric,
               "strategy": strategy or ("group" if size else "channel")}
    if size:
        weights["group_size"] = size
    if strategy == "block":
        weights["block_structure"] = [128, 128]
    scheme = {"targets": ["Linear"], "weights": weights}
    if activations:
        scheme["input_activations"] = {"num_bits": 8, "type": activations, "symmetric": True, "strategy": "token",
                                       "dynamic": True}
    return {"group_0": scheme}


def recipes():
    from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier
    rtn = lambda ignore=KEPT, **g: QuantizationModifier(config_groups=group(**g), ignore=ignore)
    preset = lambda scheme: QuantizationModifier(scheme=scheme, targets="Linear", ignore=KEPT)
    return {
        "rtn-w4g128": lambda: rtn(bits=4, size=128),
        "rtn-w4g32-asymmetric": lambda: rtn(bits=4, size=32, symmetric=False),
        "rtn-w4-channel": lambda: rtn(bits=4),
        "rtn-w8g64-asymmetric": lambda: rtn(bits=8, size=64, symmetric=False),
        "gptq-w4g128": lambda: GPTQModifier(config_groups=group(4, 128), ignore=KEPT),
        "gptq-w4g64-asymmetric": lambda: GPTQModifier(config_groups=group(4, 64, False), ignore=KEPT),
        "int8-w8a16": lambda: rtn(ignore=TOWER_TOO, bits=8),
        "int8-w8a8": lambda: rtn(ignore=TOWER_TOO, bits=8, activations="int"),
        "fp8-dynamic": lambda: preset("FP8_DYNAMIC"),
        "fp8-block": lambda: preset("FP8_BLOCK"),
        "nvfp4a16": lambda: preset("NVFP4A16"),
        "mxfp4a16": lambda: preset("MXFP4A16"),
    }


def load(path, dtype):
    return AutoModelForImageTextToText.from_pretrained(path, dtype=dtype, attn_implementation="eager").eval()


def module_of(modules, source):
    """The module of a tensor's stem, whatever this version of transformers calls it."""
    tail = source.split("language_model.model.")[-1].split("vision_tower.vision_model.")[-1]
    tail = tail.split("vision_tower.")[-1].split("model.language_model.")[-1]
    part = "vision_tower" if "vision_tower" in source else ""
    found = [m for name, m in modules.items() if ("." + name).endswith("." + tail) and part in name and
             (part or "vision_tower" not in name)]
    assert len(found) == 1, "%s stands for %d modules" % (source, len(found))
    return found[0]


def hook_activations(module, args):
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize
    from compressed_tensors.quantization.utils import compute_dynamic_scales_and_zp

    def quantized(_, inputs):
        scale, zero = compute_dynamic_scales_and_zp(inputs[0], args, module)
        return (fake_quantize(inputs[0], scale, zero, args),) + inputs[1:]
    module.register_forward_pre_hook(quantized)


def load_quantized(model_folder, folder):
    """MODEL in F32 with the folder's weights; whether activations are quantized."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)["quantization_config"]
    (described,) = config["config_groups"].values()
    scheme = QuantizationScheme.model_validate(described)
    compressor = BaseCompressor.get_value_from_registry(described["format"] or config["format"])
    tensors, parts = load_file(os.path.join(folder, "model.safetensors")), {}
    for name, tensor in tensors.items():
        stem, _, leaf = name.rpartition(".")
        if leaf.startswith("weight"):
            parts.setdefault(stem, {})[leaf] = tensor.float() if leaf == "weight_scale" and \
                tensor.is_floating_point() and tensor.element_size() > 1 else tensor
    model = load(model_folder, torch.float32)
    modules = dict(model.named_modules())
    for stem, state in parts.items():
        if "weight_scale" not in state:
            continue
        module = module_of(modules, stem)
        module.weight.data = compressor.decompress(state, scheme)["weight"].float()
        if scheme.input_activations is not None:
            hook_activations(module, scheme.input_activations)
    return model, scheme.input_activations is not None


def rows(data, most):
    with open(data, encoding="utf-8") as file:
        return [json.loads(line) for line in file][:most]


def encode(processor, data, row):
    """Inputs for prompt and answer with its end token, and the number of the prompt's tokens."""
    user = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": row["prompt"]}]}]
    prompt = processor.apply_chat_template(user, add_generation_prompt=True)
    answer = [{"role": "assistant", "content": [{"type": "text", "text": row["answers"][0]}]}]
    whole, end = processor.apply_chat_template(user + answer), processor.tokenizer.eos_token
    whole = whole[:whole.rfind(end) + len(end)] if end in whole[len(prompt):] else whole.rstrip() + end
    picture = Image.open(os.path.join(os.path.dirname(data), row["image"])).convert("RGB")
    bos = processor.tokenizer.bos_token
    add = {"add_special_tokens": False} if bos and prompt.startswith(bos) else {}
    first = processor(images=picture, text=prompt, return_tensors="pt", **add)["input_ids"].shape[1]
    inputs = processor(images=picture, text=whole, return_tensors="pt", **add)
    return {k: v for k, v in inputs.items() if k in ("input_ids", "attention_mask", "pixel_values")}, first


@torch.no_grad()
def score(model, processor, data):
    """Log-probabilities at the answers' positions, their tokens, the largest logit, and for each sample what the text
    model was given, with the first of these positions."""
    logs, tokens, largest, given = [], [], 0.0, []
    model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: given.append(kwargs["inputs_embeds"][0].float().numpy()), with_kwargs=True)
    for row in rows(data, SAMPLES):
        inputs, first = encode(processor, data, row)
        logits = model(**inputs).logits[0, first - 1:-1].float()
        given[-1] = (given[-1][:-1], first - 1)
        largest = max(largest, logits.abs().max().item())
        logs.append(torch.log_softmax(logits.double(), -1))
        tokens.append(inputs["input_ids"][0, first:])
    return torch.cat(logs), torch.cat(tokens), largest, given


def quantize(model_folder, processor, calib, recipe, out):
    from llmcompressor import oneshot
    samples = [encode(processor, calib, row)[0] for row in rows(calib, CALIBRATION)]
    model = load(model_folder, "auto")
    samples = [{k: v.to(model.dtype) if v.is_floating_point() else v for k, v in s.items()} for s in samples]
    loader = torch.utils.data.DataLoader(samples, batch_size=1, collate_fn=lambda batch: dict(batch[0]))
    oneshot(model=model, processor=processor, recipe=recipe, dataset=loader, num_calibration_samples=len(samples))
    model.save_pretrained(out, save_compressed=True)
    processor.save_pretrained(out)


def kl_bound(p, q, e):
    """How far a mean KL divergence moves where each logit of both sides does by e; p and q are logarithms."""
    kl = (p.exp() * (p - q)).sum(1, keepdim=True)
    first = (q.exp() - p.exp()).abs().sum(1) + (p.exp() * (p - q - kl).abs()).sum(1)
    return e * first.mean().item() + 2 * e * e


def conversations(calib):
    """With pictures, as GPTQModel takes them."""
    out = []
    for row in rows(calib, CALIBRATION):
        picture = Image.open(os.path.join(os.path.dirname(calib), row["image"])).convert("RGB")
        out.append([{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": row["prompt"]}]},
                    {"role": "assistant", "content": [{"type": "text", "text": row["answers"][0]}]}])
    return out


def build(name, job, folder):
    maker, _, recipe = name.partition("-")
    if maker == "gguf":
        othermakers.build_gguf(recipe, job, folder)
    elif maker == "gptqmodel":
        othermakers.build_gptqmodel(recipe, job, folder)
    elif maker == "autoawq":
        othermakers.build_autoawq(recipe, job, folder)
    else:
        quantize(job["model"], job["processor"], job["calib"], recipes()[name](), folder)


def load_made(name, model_folder, folder):
    """MODEL in F32 with the artifact's weights; whether activations are quantized."""
    maker = name.partition("-")[0]
    if maker not in ("gguf", "gptqmodel", "autoawq"):
        return load_quantized(model_folder, folder)
    model = load(model_folder, torch.float32)
    if maker == "gguf":
        othermakers.weights_gguf(model, folder)
    else:
        othermakers.weights_words(model, folder, module_of)
    return model, False


def judge(name, job, reference, tokens):
    """One line; whether the two differ."""
    folder = os.path.join(job["work"], name)
    if not os.path.exists(os.path.join(folder, "config.json")) and not os.path.exists(os.path.join(folder, "model.gguf")):
        build(name, job, folder)
    model, rounded = load_made(name, job["model"], folder)
    logs, _, largest, given = score(model, job["processor"], job["data"])
    run = subprocess.run([os.path.join(job["tools"], "vlm-eval"), folder, "--reference", job["model"], "--data", job["data"],
                          "--samples", str(SAMPLES), "--metrics", "ppl,kl", "--json", "-q"], capture_output=True, text=True)
    if run.returncode != 0:
        print("%-28s %s" % (name, run.stderr.strip()), flush=True)
        return True
    ours = json.loads(run.stdout)["results"][0]
    kl_of = lambda logs: (reference.exp() * (reference - logs)).sum(1).mean().item()
    kl, ppl = kl_of(logs), torch.exp(-logs.gather(1, tokens[:, None]).mean()).item()
    bound = kl_bound(reference, logs, STATES * largest)
    good = (rounded or abs(ours["kl"]["mean"] - kl) <= bound) and ours["tokens"] == len(tokens)
    own = ""
    if name.startswith("gguf-"):
        logits = othermakers.llama_logits(os.path.join(folder, "model.gguf"), given)
        own = "; llama.cpp KL %.6e" % kl_of(torch.log_softmax(torch.cat(logits).double(), -1))
    print("%-28s KL %.6e, vlm-eval %.6e (bound %s)%s; perplexity %.6f, vlm-eval %.6f; %.3f bits/weight%s" % (
        name, kl, ours["kl"]["mean"], "none" if rounded else "%.1e" % bound, own, ppl, ours["ppl"],
        ours["bits_per_weight_quantized"], "" if good else "  DIFFERENT"), flush=True)
    return not good


def main():
    tools, model_folder, calib, data, work = sys.argv[1:6]
    processor = AutoProcessor.from_pretrained(model_folder, use_fast=False)
    job = {"tools": tools, "model": model_folder, "calib": calib, "data": data, "work": work, "processor": processor,
           "samples": conversations(calib)}
    os.makedirs(work, exist_ok=True)
    reference, tokens, _, _ = score(load(model_folder, torch.float32), processor, data)
    failed = False
    for name in sys.argv[6:] or list(recipes()):
        failed |= judge(name, job, reference, tokens)
    return failed


if __name__ == "__main__":
    sys.exit(main())
