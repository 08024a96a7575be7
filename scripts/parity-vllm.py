#!/usr/bin/env python3
"""Exported folders served by vLLM's CPU build.

    scripts/parity-vllm.py TOOLS MODEL DATA.jsonl [--calib-data D.jsonl] [--dtype bfloat16] [--only TITLE …]

For every recipe, in a process of its own: vLLM reads the folder that vlm-export made, answers the first 8 samples of
DATA greedily and gives the perplexity of their own answers; beside it what vlm-run and vlm-eval give of the packed
file. vLLM computes in the type named, vlmpack in F32, so the unquantized model stands first: what the type alone
costs. Prints one line each, with the kernels that vLLM chose; exit 1 when a folder cannot be loaded, or answers
differ. Needs vllm for the CPU (not used by the tests).
"""
import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLES, NEW_TOKENS = 8, 24
CT, GPTQ, AWQ = "compressed-tensors", "gptq", "awq"
RECIPES = [
    (CT, "rtn W4 g128", ["--method", "rtn"]), (CT, "rtn W4 g32", ["--method", "rtn", "--group", "32"]),
    (CT, "rtn W4 channel", ["--method", "rtn", "--group", "channel"]),
    (CT, "rtn W4 g32 asymmetric", ["--method", "rtn", "--group", "32", "--asymmetric"]),
    (CT, "rtn W8 g64", ["--method", "rtn", "--bits", "8", "--group", "64"]),
    (CT, "awq+gptq W4 g64", ["--method", "awq+gptq", "--group", "64"]),
    (CT, "int8 W8A16", ["--method", "int8"]), (CT, "int8 W8A8", ["--method", "int8", "--activations", "int8"]),
    (CT, "mixed", ["--recipe", "mixed"]),
    (CT, "rtn fp8", ["--method", "rtn", "--codes", "fp8"]), (CT, "rtn mxfp4", ["--method", "rtn", "--codes", "mxfp4"]),
    (CT, "rtn nvfp4", ["--method", "rtn", "--codes", "nvfp4"]),
    (GPTQ, "gptq W4 g64", ["--method", "gptq", "--group", "64"]),
    (GPTQ, "rtn W8 g32", ["--method", "rtn", "--group", "32", "--bits", "8"]),
    (AWQ, "rtn W4 g32", ["--method", "rtn", "--group", "32"]),
    (AWQ, "awq W4 g64 asymmetric", ["--method", "awq", "--group", "64", "--asymmetric"]),
]
MIXED = {"version": 1, "rules": [{"match": match, "scheme": scheme} for match, scheme in [
    ("vision.layers.*", {"method": "int8"}), ("text.layers.0.*", {"method": "rtn", "bits": 4, "group": 64}),
    ("text.layers.*.mlp.*", {"method": "rtn", "bits": 4, "group": 32}), ("text.layers.*", {"method": "int8"}),
    ("default", None)]]}


def rows(data):
    with open(data, encoding="utf-8") as file:
        return [json.loads(line) for line in file][:SAMPLES]


def serve(folder, data, reference, dtype, out):
    """In a child: vLLM's answers, and the logarithms that it gives the tokens of `reference`."""
    os.environ.update(VLLM_CPU_KVCACHE_SPACE="1", HF_HUB_OFFLINE="1", VLLM_CPU_OMP_THREADS_BIND="nobind",
                      VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_NO_USAGE_STATS="1", TORCHDYNAMO_DISABLE="1")
    from PIL import Image
    from safetensors import safe_open
    from vllm import LLM, SamplingParams
    llm = LLM(model=folder, dtype=dtype, enforce_eager=True, max_model_len=512, max_num_seqs=2, skip_mm_profiling=True,
              limit_mm_per_prompt={"image": 1})
    tokenizer = llm.get_tokenizer()
    with safe_open(reference, "pt") as file:
        targets, first = file.get_tensor("targets").tolist(), file.get_tensor("first").tolist()
    prompts = []
    for sample in rows(data):
        content = [{"type": "image"}, {"type": "text", "text": sample["prompt"]}]
        text = tokenizer.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False)
        special = not text.startswith(tokenizer.bos_token or "\0")
        with Image.open(os.path.join(os.path.dirname(data), sample["image"])) as picture:
            prompts.append({"prompt_token_ids": tokenizer(text, add_special_tokens=special).input_ids,
                            "multi_modal_data": {"image": picture.convert("RGB")}})
    answers = [o.outputs[0].text.strip() for o in llm.generate(prompts, SamplingParams(temperature=0, max_tokens=NEW_TOKENS),
                                                               use_tqdm=False)]
    whole = [dict(p, prompt_token_ids=p["prompt_token_ids"] + targets[first[i]:first[i + 1]]) for i, p in enumerate(prompts)]
    scored = llm.generate(whole, SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0), use_tqdm=False)
    logs = [places[token].logprob for i, o in enumerate(scored)
            for token, places in zip(targets[first[i]:first[i + 1]], o.prompt_logprobs[-(first[i + 1] - first[i]):])]
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"answers": answers, "perplexity": math.exp(-sum(logs) / len(logs))}, file)


def run(args, *command):
    result = subprocess.run([args.tools + "/" + command[0], *command[1:]], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip().splitlines()[-1])
    return result.stdout


def compare(args, model, folder, work):
    """model: what vlmpack runs."""
    reference, out, log = work + "/m.ref", work + "/out.json", work + "/log"
    ours = json.loads(run(args, "vlm-eval", model, "--reference", model, "--data", args.data, "--samples", str(SAMPLES),
                          "--metrics", "ppl,kl", "--save-reference", reference, "--force", "--json", "-q"))["results"][0]["ppl"]
    with open(log, "w", encoding="utf-8") as file:
        status = subprocess.run([sys.executable, "-B", __file__, "--serve", folder, args.data, reference, args.dtype, out],
                                stdout=file, stderr=file).returncode
    if status != 0:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file]
        faults = [i for i, line in enumerate(lines) if "Error" in line]
        raise RuntimeError(" ".join(lines[faults[-1]:faults[-1] + 3]) if faults else "vLLM ended with %d" % status)
    with open(log, encoding="utf-8", errors="replace") as file:
        kernels = sorted(set(re.findall(r"(\w+Kernel) for ", file.read())))
    with open(out, encoding="utf-8") as file:
        theirs = json.load(file)
    answers = [run(args, "vlm-run", model, "--prompt", s["prompt"], "--max-new-tokens", str(NEW_TOKENS), "--image",
                   os.path.join(os.path.dirname(args.data), s["image"])).strip() for s in rows(args.data)]
    equal = sum(a == b for a, b in zip(answers, theirs["answers"]))
    return equal == len(answers), "%d of %d answers equal, perplexity %.5f, vlm-eval %.5f; %s" % (
        equal, len(answers), theirs["perplexity"], ours, ", ".join(kernels) or "no quantized kernel")


def main():
    if sys.argv[1:2] == ["--serve"]:
        return serve(*sys.argv[2:])
    parser = argparse.ArgumentParser()
    for name in ("tools", "model", "data"):
        parser.add_argument(name)
    parser.add_argument("--calib-data", default=os.path.join(HERE, "../demo/calib/data.jsonl"))
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--only", nargs="+")
    args, failures = parser.parse_args(), 0
    with tempfile.TemporaryDirectory() as work:
        packed, folder, calib = work + "/m.vlmp", work + "/folder", work + "/c.calib"
        run(args, "vlm-calibrate", args.model, "--data", args.calib_data, "--samples", "16", "-o", calib)
        with open(work + "/mixed", "w", encoding="utf-8") as file:
            json.dump(MIXED, file)
        for layout, title, options in [(None, "unquantized", None)] + RECIPES:
            if title not in (args.only or [title]):
                continue
            try:
                if layout is None:
                    good, line = compare(args, args.model, args.model, work)
                else:
                    options = [work + "/mixed" if word == "mixed" else word for word in options]
                    run(args, "vlm-quantize", args.model, *options, "--calib", calib, "-o", packed, "--force")
                    run(args, "vlm-export", packed, "--format", layout, "-o", folder, "--force")
                    good, line = compare(args, packed, folder, work)
            except RuntimeError as fault:
                good, line = False, str(fault)[:300]
            failures += not good
            print("%s  %s %s: %s" % ("ok  " if good else "FAIL", layout or "", title, line), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
