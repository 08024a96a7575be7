#!/usr/bin/env python3
"""Exported folders in the real consumer: transformers with compressed-tensors, on the CPU, in F32.

    scripts/parity-export.py TOOLS MODEL DATA.jsonl [CALIB]

For every method and format: the weights that the consumer computes with are the packed file's, bit for bit; its
final states at the answers of DATA (first 4 samples) are the runtime's, within the bound of
tests/golden/test_stages.c (12 √K u (d + 1) of the largest row, for d blocks and K the widest sum); its greedy
answers are the runtime's. int8 activations are rounded by both sides, at a scale computed apart, so that a value
at a rounding border may fall to either side: there the states are compared as they are. Prints one line each;
exit 1 when one differs. Needs torch, transformers, compressed-tensors, safetensors, Pillow (not used by the tests).
"""
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from PIL import Image
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor, CompressedTensorsConfig
from transformers.utils import logging

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLES, NEW_TOKENS = 4, 24
RECIPES = [
    ("rtn W4 g128", ["--method", "rtn"]), ("rtn W4 g32", ["--method", "rtn", "--group", "32"]),
    ("rtn W4 channel", ["--method", "rtn", "--group", "channel"]),
    ("rtn W4 g32 asymmetric", ["--method", "rtn", "--group", "32", "--asymmetric"]),
    ("rtn W8 g64", ["--method", "rtn", "--bits", "8", "--group", "64"]),
    ("gptq W4 g128", ["--method", "gptq"]), ("gptq W4 asymmetric", ["--method", "gptq", "--asymmetric"]),
    ("awq W4 g128", ["--method", "awq"]), ("awq+gptq W4 g64", ["--method", "awq+gptq", "--group", "64"]),
    ("int8 W8A16", ["--method", "int8"]), ("int8 W8A8", ["--method", "int8", "--activations", "int8"]),
    ("mixed", ["--recipe", os.path.join(HERE, "../demo/mixed.json")]),
]


def golden():
    spec = importlib.util.spec_from_file_location("golden_export", os.path.join(HERE, "golden-export.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dequantized(tensors, name, linear):
    """(u − z)·s in F32."""
    rows, inputs = linear["shape"]
    group = linear["group"] or inputs
    zeros = tensors.get(name + ".zeros")
    middle = torch.full((rows, inputs // group), 1 << (linear["bits"] - 1))
    zeros = (middle if zeros is None else zeros.to(torch.int64)).repeat_interleave(group, 1)
    scales = tensors[name + ".scales"].float().repeat_interleave(group, 1)
    return (tensors[name + ".codes"].to(torch.int64) - zeros).float() * scales


def module_of(modules, source):
    """The module of a source tensor's name, whatever this version of transformers calls it."""
    base = source.removesuffix(".weight")
    tail = base.split("language_model.model.")[-1].split("vision_tower.vision_model.")[-1].split("vision_tower.")[-1]
    part = "vision_tower" if "vision_tower" in base else "language_model" if "layers" in base else ""
    found = [m for name, m in modules.items() if name.endswith("." + tail) and part in name]
    assert len(found) == 1, "%s stands for %d modules" % (source, len(found))
    return found[0]


def states_of(model, processor, data, targets, first):
    """Final states at the answers' positions, and greedy answers."""
    states, answers, kept = [], [], {}
    hook = model.model.language_model.norm.register_forward_hook(lambda m, i, o: kept.update(out=o))
    root = os.path.dirname(data)
    with open(data, encoding="utf-8") as file:
        samples = [json.loads(line) for line in file][:SAMPLES]
    for i, sample in enumerate(samples):
        content = [{"type": "image"}, {"type": "text", "text": sample["prompt"]}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        picture = Image.open(os.path.join(root, sample["image"]))
        inputs = processor(images=picture, text=text, return_tensors="pt")
        prompt, answer = inputs["input_ids"], targets[first[i]:first[i + 1]].long()[None]
        ids = torch.cat([prompt, answer], 1)
        with torch.no_grad():
            model(input_ids=ids, pixel_values=inputs["pixel_values"].to(model.dtype),
                  attention_mask=torch.ones_like(ids))
            states.append(kept["out"][0, prompt.shape[1] - 1:ids.shape[1] - 1].float())
            out = model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS)
        answers.append(processor.decode(out[0, prompt.shape[1]:], skip_special_tokens=True).strip())
    hook.remove()
    return torch.cat(states), answers, samples


def compare(tools, packed, folder, data, reference):
    tensors, sources, linears = golden().read_packed(packed)
    asymmetric = not all(entry["symmetric"] for entry in linears.values())
    int8 = any(entry["activations"] == "int8" for entry in linears.values())
    more = {"quantization_config": CompressedTensorsConfig(dequantize=True)} if asymmetric else {}
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, **more).eval()
    with safe_open(reference, "pt") as file:
        want, targets, first = (file.get_tensor(n) for n in ("states", "targets", "first"))
    got, answers, samples = states_of(model, AutoProcessor.from_pretrained(folder), data, targets, first)
    modules = dict(model.named_modules())
    worst = 0.0
    for name, linear in linears.items():
        weight = module_of(modules, sources[name + ".codes"]).weight.detach().float()
        own = dequantized(tensors, name, linear)
        # dequantize=True multiplies in the scales' type: one rounding of F16, 2⁻¹¹ of the value.
        worst = max(worst, ((weight - own).abs() / (own.abs() * 2.0**-11 + 1e-30)).max().item() if asymmetric
                    else float(not torch.equal(weight, own)))
    error = ((got - want).norm(dim=1).max() / want.norm(dim=1).max()).item()
    widest = max(entry["shape"][1] for entry in linears.values())
    depth = model.config.text_config.num_hidden_layers + model.config.vision_config.num_hidden_layers
    bound = 12 * math.sqrt(widest) * 2.0**-24 * (depth + 1)
    ours = [subprocess.run([tools + "/vlm-run", packed, "--image", os.path.join(os.path.dirname(data), s["image"]),
                            "--prompt", s["prompt"], "--max-new-tokens", str(NEW_TOKENS)], capture_output=True,
                           text=True, check=True).stdout.strip() for s in samples]
    equal = sum(a == b for a, b in zip(answers, ours))
    judged = not (asymmetric or int8)
    good = worst <= 1 and (not judged or worst == 0 and error <= bound and equal == len(ours))
    return good, "weights %s, states %.2e (bound %s), %d of %d answers equal" % (
        "within one F16 rounding" if asymmetric and worst <= 1 else "equal" if worst == 0 else "DIFFER", error,
        "%.2e" % bound if judged else "none", equal, len(ours))


def main():
    tools, model, data = sys.argv[1:4]
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    failures = 0
    with tempfile.TemporaryDirectory() as work:
        def run(*command):
            subprocess.run([tools + "/" + command[0], *command[1:]], check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)

        calib = sys.argv[4] if len(sys.argv) > 4 else work + "/c.calib"
        if len(sys.argv) <= 4:
            run("vlm-calibrate", model, "--data", os.path.join(HERE, "../demo/calib/data.jsonl"), "--samples", "16",
                "-o", calib)
        for title, options in RECIPES:
            packed, folder, reference = work + "/m.vlmp", work + "/folder", work + "/m.ref"
            run("vlm-quantize", model, *options, "--calib", calib, "-o", packed, "--force")
            run("vlm-export", packed, "--format", "compressed-tensors", "-o", folder, "--force")
            run("vlm-eval", packed, "--reference", packed, "--data", data, "--samples", str(SAMPLES), "--metrics", "kl",
                "--save-reference", reference, "--force")
            good, line = compare(tools, packed, folder, data, reference)
            failures += not good
            print("%s  %s: %s" % ("ok  " if good else "FAIL", title, line), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
