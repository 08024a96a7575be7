#!/usr/bin/env python3
"""Pairs of GGUF files by llama.cpp's own converter: tests/golden/import/converted.

  scripts/golden-convert.py LLAMA_CPP FOLDER OUT TYPE     (TYPE: bf16, f32, …; needs torch and transformers)

LLAMA_CPP: its sources, 2026; FOLDER: one of tests/golden/models. The converter is run as it is, but for what it does not
know of tiny models: their tokenizers, how the text model of an Idefics3 is called where its configuration does not say it,
and projectors whose second linear is called 2 above towers of two layers. config.json comes with them, windows of the
size that llama.cpp has."""
import json
import os
import runpy
import shutil
import sys
import tempfile

LLAMA_CPP, FOLDER, OUT, TYPE = sys.argv[1:5]
sys.path[1:1] = [LLAMA_CPP, LLAMA_CPP + "/gguf-py"]

import gguf  # noqa: E402
from conversion.base import TextModel  # noqa: E402

PRE = {"qwen2_vl": "qwen2", "qwen2_5_vl": "qwen2", "idefics3": "llama-bpe", "smolvlm": "smollm"}
known_names = gguf.get_tensor_name_map
gguf.get_tensor_name_map = lambda arch, layers: known_names(arch, max(layers, 3))


def convert(folder, name, *options):
    sys.argv = ["convert_hf_to_gguf.py", folder, "--outtype", TYPE, "--outfile", os.path.join(OUT, name), *options]
    runpy.run_path(os.path.join(LLAMA_CPP, "convert_hf_to_gguf.py"), run_name="__main__")


def main():
    with tempfile.TemporaryDirectory() as work:
        folder = os.path.join(work, os.path.basename(FOLDER))
        shutil.copytree(FOLDER, folder)
        path = os.path.join(folder, "config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        TextModel.get_vocab_base_pre = lambda self, tokenizer: PRE[config["model_type"]]
        os.makedirs(OUT, exist_ok=True)
        if "window_size" in config["vision_config"]:
            config["vision_config"]["window_size"] = 112
        with open(os.path.join(OUT, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file, indent=2, sort_keys=True)
            file.write("\n")
        if config["model_type"] in ("idefics3", "smolvlm"):
            config["text_config"]["architectures"] = ["VLlama3ForCausalLM"]
            with open(path, "w", encoding="utf-8") as file:
                json.dump(config, file)
        convert(folder, "model.gguf")
        convert(folder, "mmproj-model.gguf", "--mmproj")


main()
