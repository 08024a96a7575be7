#!/usr/bin/env python3
"""Exported folders in the real consumer: transformers with compressed-tensors and GPTQModel, on the CPU, in F32.

    scripts/parity-export.py TOOLS MODEL DATA.jsonl [--calib C.calib | --calib-data D.jsonl] [--image-root DIR]
                             [--formats FORMAT …] [--only TITLE …]

MODEL is of any family that is read; of a tiny one of tests/golden/models, what wide-folder.py makes. For every method
and format: the weights and biases that the consumer computes with are the packed file's, bit for bit; its final
states at the answers of DATA (first 4 samples) are the runtime's, within the bound of tests/golden/test_stages.c (12
√K u (d + 1) of the largest row, for d blocks and K the widest sum), and so are its logits, which are products with rows
of the head: within that times the longest; its greedy answers are the runtime's. int8 activations are rounded by both
sides, at a scale computed apart, so that a value at a rounding border may fall to either side: there the states are
compared as they are. Floats are loaded with dequantize=True, since the reader would round activations too. GPTQ and
AWQ folders are loaded by GPTQModel's linears, whose kernels multiply in F16: dense ones take their place, with the
weights that their own unpacking gives under scales in F32, and the folder's biases, which they have rounded to F16.
Prints one line each; exit 1 when one differs. Needs torch, transformers, compressed-tensors, gptqmodel, safetensors,
Pillow (not used by the tests).
"""
import argparse
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", TORCHDYNAMO_DISABLE="1")
import torch
from PIL import Image
from compressed_tensors.offload import remove_dispatch
from safetensors import safe_open
from transformers import (AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AwqConfig,
                          CompressedTensorsConfig, GPTQConfig)
from transformers.models.siglip.modeling_siglip import SiglipPreTrainedModel
from transformers.utils import logging

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLES, NEW_TOKENS = 4, 24
CT, GPTQ, AWQ = "compressed-tensors", "gptq", "awq"
RECIPES = [(CT, title, options) for title, options in [
    ("rtn W4 g128", ["--method", "rtn"]), ("rtn W4 g32", ["--method", "rtn", "--group", "32"]),
    ("rtn W4 channel", ["--method", "rtn", "--group", "channel"]),
    ("rtn W4 g32 asymmetric", ["--method", "rtn", "--group", "32", "--asymmetric"]),
    ("rtn W8 g64", ["--method", "rtn", "--bits", "8", "--group", "64"]),
    ("gptq W4 g128", ["--method", "gptq"]), ("gptq W4 g64 asymmetric", ["--method", "gptq", "--group", "64", "--asymmetric"]),
    ("awq W4 g128", ["--method", "awq"]), ("awq+gptq W4 g64", ["--method", "awq+gptq", "--group", "64"]),
    ("int8 W8A16", ["--method", "int8"]), ("int8 W8A8", ["--method", "int8", "--activations", "int8"]),
    ("mixed", ["--recipe", "mixed"]),
    ("rtn fp8", ["--method", "rtn", "--codes", "fp8"]), ("gptq fp8", ["--method", "gptq", "--codes", "fp8"]),
    ("rtn fp8 blocks", ["--method", "rtn", "--codes", "fp8", "--group", "block"]),
    ("rtn mxfp4", ["--method", "rtn", "--codes", "mxfp4"]), ("gptq mxfp4", ["--method", "gptq", "--codes", "mxfp4"]),
    ("rtn nvfp4", ["--method", "rtn", "--codes", "nvfp4"]), ("gptq nvfp4", ["--method", "gptq", "--codes", "nvfp4"]),
]] + [(layout, title, options) for title, options, layouts in [
    ("rtn W4 g32", ["--method", "rtn", "--group", "32"], (GPTQ, AWQ)),
    ("gptq W4 g64", ["--method", "gptq", "--group", "64"], (GPTQ, AWQ)),
    ("awq W4 g64 asymmetric", ["--method", "awq", "--group", "64", "--asymmetric"], (GPTQ, AWQ)),
    ("rtn W4 g32 asymmetric", ["--method", "rtn", "--group", "32", "--asymmetric"], (GPTQ, AWQ)),
    ("rtn W8 g32", ["--method", "rtn", "--group", "32", "--bits", "8"], (GPTQ,)),
    ("rtn W8 g32 asymmetric", ["--method", "rtn", "--group", "32", "--bits", "8", "--asymmetric"], (GPTQ,)),
] for layout in layouts]

MIXED = {"version": 1, "rules": [{"match": match, "scheme": scheme} for match, scheme in [
    ("vision.layers.*", {"method": "int8"}), ("projector.*", {"method": "int8"}), ("text.layers.0.*", {"method": "gptq", "bits": 4, "group": 64}),
    ("text.layers.*.mlp.*", {"method": "awq", "bits": 4, "group": 32}), ("text.layers.*", {"method": "int8"}),
    ("default", None)]]}


def golden():
    spec = importlib.util.spec_from_file_location("golden_export", os.path.join(HERE, "golden-export.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def values_of_floats(tensors, name, linear):
    """v·(s·g) in F32."""
    rows, inputs = linear["shape"]
    codes, scales = tensors[name + ".codes"], tensors[name + ".scales"]
    if linear["bits"] == 8:
        values = codes.view(torch.float8_e4m3fn).float()
    else:
        levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
        values = torch.where(codes < 8, 1.0, -1.0) * levels[(codes & 7).long()]
    if linear["codes"] == "mxfp4":
        scales = torch.exp2(scales.view(torch.uint8).float() - 127)
    scales = scales.float() * tensors.get(name + ".global", torch.ones(1, 1))
    if linear["group"] == 128:
        scales = scales.repeat_interleave(128, 0)[:rows]
    return values * scales.repeat_interleave(linear["group"] or inputs, 1)


def dequantized(tensors, name, linear):
    """(u − z)·s in F32."""
    if "codes" in linear:
        return values_of_floats(tensors, name, linear)
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
    tail = re.search(r"((layers|blocks)\.\d+|deepstack_merger_list|merger|multi_modal_projector|connector|lm_head).*$", base).group(0)
    part = "vision" if "vision" in base else "visual" if "visual" in base else ""
    found = [m for name, m in modules.items() if ("." + name).endswith("." + tail) and part in name and
             ("layers" not in tail or part or "vision" not in name)]
    assert len(found) == 1, "%s stands for %d modules" % (source, len(found))
    return found[0]


def pictures_of(sample):
    names = sample.get("image", [])
    return [names] if isinstance(names, str) else names


def inputs_of(processor, sample, root):
    names = pictures_of(sample)
    content = [{"type": "image"} for _ in names] + [{"type": "text", "text": sample["prompt"]}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    images = [Image.open(os.path.join(root, n)).convert("RGB") for n in names]
    special = not text.startswith(processor.tokenizer.bos_token or "\0")
    # One list a prompt; the classes of single pictures take them all in one.
    nested = any(word in type(processor).__name__ for word in ("Onevision", "Idefics3", "SmolVLM"))
    return processor(text=[text], images=([images] if nested else images) if images else None,
                     add_special_tokens=special, return_tensors="pt")


def states_of(model, processor, samples, root, targets, first):
    """Final states at the answers' positions, and greedy answers."""
    states, answers, kept = [], [], {}
    decoder = model.model.text_model if hasattr(model.model, "text_model") else model.model.language_model
    hook = decoder.norm.register_forward_hook(lambda m, i, o: kept.update(out=o))
    for i, sample in enumerate(samples):
        inputs = inputs_of(processor, sample, root)
        prompt, answer = inputs["input_ids"], targets[first[i]:first[i + 1]].long()[None]
        whole = dict(inputs, input_ids=torch.cat([prompt, answer], 1))
        for key in ("attention_mask", "mm_token_type_ids"):
            if key in whole:
                rest = torch.full_like(answer, 1 if key == "attention_mask" else 0)
                whole[key] = torch.cat([whole[key], rest], 1)
        if hasattr(model.model, "rope_deltas"):
            model.model.rope_deltas = None
        with torch.no_grad():
            model(**whole)
            states.append(kept["out"][0, prompt.shape[1] - 1:whole["input_ids"].shape[1] - 1].float())
            out = model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS)
        answers.append(processor.decode(out[0, prompt.shape[1]:], skip_special_tokens=True).strip())
    hook.remove()
    return torch.cat(states), answers


def unpack(model):
    """Linears of GPTQModel give way to dense ones of their own weights."""
    from gptqmodel.nn_modules.qlinear.torch_awq import dequantize_gemm
    for name, module in list(model.named_modules()):
        if not hasattr(module, "qweight"):
            continue
        module.scales = module.scales.float()
        weight = module.dequantize_weight() if hasattr(module, "dequantize_weight") else dequantize_gemm(
            qweight=module.qweight, qzeros=module.qzeros, scales=module.scales, bits=module.bits,
            group_size=module.group_size)
        dense = torch.nn.Linear(weight.shape[0], weight.shape[1], bias=module.bias is not None)
        dense.weight.data = weight.T.contiguous()
        assert weight.dtype == torch.float32, "the weights of %s are %s" % (name, weight.dtype)
        if module.bias is not None:
            dense.bias.data = module.bias.float()
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, dense)


def spare_packed(model_class):
    """SigLIP's initialization of what a folder lacks asks packed linears for a weight that they have not."""
    initialize = model_class._init_weights

    def spare(model, module):
        if not any(hasattr(part, "weight_packed") for part in (module, *module.children())):
            initialize(model, module)

    model_class._init_weights = spare


def load(folder, layout, dequantize):
    config = {GPTQ: lambda: GPTQConfig(bits=4, backend="gptq_torch"), AWQ: lambda: AwqConfig(backend="torch_awq"),
              CT: lambda: CompressedTensorsConfig(dequantize=True) if dequantize else None}[layout]()
    more = {} if config is None else {"quantization_config": config}
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, **more).eval()
    if layout != CT:
        unpack(model)
    elif not dequantize:
        # Else the first forward pass does this, and leaves behind what turns outputs that a module is given into dictionaries.
        model.hf_quantizer.compressor.decompress_model(model)
        remove_dispatch(model)
    return model


def weigh(model, tensors, sources, linears, asymmetric, layout):
    """How far weights and biases are from the packed file's: 0, or up to 1 where one rounding is due."""
    modules, worst = dict(model.named_modules()), 0.0
    for name, linear in linears.items():
        module, own = module_of(modules, sources[name + ".codes"]), dequantized(tensors, name, linear)
        weight, bias = module.weight.detach().float(), tensors.get(name + ".bias")
        # dequantize=True multiplies in the scales' type: one rounding of F16, 2⁻¹¹ of the value.
        worst = max(worst, ((weight - own).abs() / (own.abs() * 2.0**-11 + 1e-30)).max().item() if asymmetric
                    else float(not torch.equal(weight, own)))
        if bias is not None:
            # GPTQModel's linears hold F16.
            rounded = bias.float() if layout == CT else bias.half().float()
            worst = max(worst, float(2 * (not torch.equal(module.bias.detach().float(), rounded))))
            module.bias.data = bias.float()
    return worst


def compare(tools, packed, folder, samples, root, reference, layout):
    tensors, sources, linears = golden().read_packed(packed)
    asymmetric = layout == CT and not all(entry["symmetric"] for entry in linears.values())
    int8 = any(entry["activations"] == "int8" for entry in linears.values())
    floats = any("codes" in entry for entry in linears.values())
    model = load(folder, layout, asymmetric or floats)
    with safe_open(reference, "pt") as file:
        want, targets, first = (file.get_tensor(n) for n in ("states", "targets", "first"))
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    worst = weigh(model, tensors, sources, linears, asymmetric, layout)
    got, answers = states_of(model, processor, samples, root, targets, first)
    largest = want.norm(dim=1).max()
    error = ((got - want).norm(dim=1).max() / largest).item()
    head = model.get_output_embeddings().weight.detach().float()
    logits = ((got - want) @ head.T).abs().max().item()
    widest = max(entry["shape"][1] for entry in linears.values())
    tower = model.config.vision_config
    depth = model.config.text_config.num_hidden_layers + getattr(tower, "num_hidden_layers", getattr(tower, "depth", 0))
    bound = 12 * math.sqrt(widest) * 2.0**-24 * (depth + 1)
    ours = [subprocess.run([tools + "/vlm-run", packed, "--prompt", s["prompt"], "--max-new-tokens", str(NEW_TOKENS),
                            *[word for n in pictures_of(s) for word in ("--image", os.path.join(root, n))]],
                           capture_output=True, check=True).stdout.decode(errors="replace").strip() for s in samples]
    equal = sum(a == b for a, b in zip(answers, ours))
    judged = not (asymmetric or int8)
    good = worst <= 1 and (not judged or worst == 0 and error <= bound and equal == len(ours))
    bounds = ["%.2e" % b if judged else "none" for b in (bound, bound * largest * head.norm(dim=1).max())]
    return good, "weights %s, states %.2e (bound %s), logits %.2e (bound %s), %d of %d answers equal" % (
        "within one F16 rounding" if asymmetric and worst <= 1 else "equal" if worst == 0 else "DIFFER", error, bounds[0],
        logits, bounds[1], equal, len(ours))


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("tools", "model", "data"):
        parser.add_argument(name)
    parser.add_argument("--calib")
    parser.add_argument("--calib-data", default=os.path.join(HERE, "../demo/calib/data.jsonl"))
    parser.add_argument("--image-root")
    parser.add_argument("--formats", nargs="+", default=[CT, GPTQ, AWQ])
    parser.add_argument("--only", nargs="+")
    return parser.parse_args()


def main():
    args = arguments()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    spare_packed(SiglipPreTrainedModel)
    failures, roots = 0, ["--image-root", args.image_root] if args.image_root else []
    with open(args.data, encoding="utf-8") as file:
        samples = [json.loads(line) for line in file][:SAMPLES]
    with tempfile.TemporaryDirectory() as work:
        def run(*command):
            result = subprocess.run([args.tools + "/" + command[0], *command[1:]], capture_output=True, text=True)
            if result.returncode != 0:
                raise RuntimeError(result.stderr.strip().splitlines()[-1])

        calib = args.calib or work + "/c.calib"
        if args.calib is None:
            run("vlm-calibrate", args.model, "--data", args.calib_data, *roots, "--samples", "16", "-o", calib)
        with open(work + "/mixed", "w", encoding="utf-8") as file:
            json.dump(MIXED, file)
        for layout, title, options in RECIPES:
            options = [work + "/mixed" if word == "mixed" else word for word in options]
            if layout not in args.formats or title not in (args.only or [title]):
                continue
            packed, folder, reference = work + "/m.vlmp", work + "/folder", work + "/m.ref"
            try:
                run("vlm-quantize", args.model, *options, "--calib", calib, "-o", packed, "--force")
                run("vlm-export", packed, "--format", layout, "--for", "transformers", "-o", folder, "--force")
                run("vlm-eval", packed, "--reference", packed, "--data", args.data, *roots, "--samples", str(SAMPLES),
                    "--metrics", "kl", "--save-reference", reference, "--force")
                root = args.image_root or os.path.dirname(args.data)
                good, line = compare(args.tools, packed, folder, samples, root, reference, layout)
            except Exception as fault:  # pylint: disable=broad-except
                good, line = False, "%s: %s" % (type(fault).__name__, str(fault).splitlines()[0][:200])
            failures += not good
            print("%s  %s %s: %s" % ("ok  " if good else "FAIL", layout, title, line), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
