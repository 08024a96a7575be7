#!/usr/bin/env python3
"""Makes tests/golden/models/answers.json: what transformers makes of pictures of awkward shapes, several in a prompt, and
how it goes on by itself (generate, greedy), for each of the folders that golden-models.py and golden-qwen.py made.

  python3 scripts/golden-answers.py tests/golden/models     (needs what those need)

Pictures are made by a formula (models.picture). For each model and case: "length" and "ids", the number of token ids and
the SHA-256 of them as 32-bit integers; "pixels", that of the levels 0…255 in the order of golden-models.py; "nll" of each
answer token; "greedy", the first tokens of transformers' own answer, up to the first whose lead over the next best is
below MARGIN."""
import hashlib
import importlib
import json
import os
import sys

import numpy as np
import torch
import transformers
from transformers import AutoImageProcessor, AutoProcessor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
models = importlib.import_module("golden-models")
qwen = importlib.import_module("golden-qwen")

MOST, LEAST = 8, 2  # tokens of an answer
MARGIN = 0.005  # of logits, which are some units; keys and values of 16 bits move them by about 2⁻¹⁶ of that a block
CASES = [  # width, height, seed of the pictures
    ([(28, 28, 1)], "How many?", "Two, I think."),
    ([(20, 600, 2), (600, 20, 3)], "Compare these.", "One is tall, one is wide."),
    ([(4000, 3000, 4)], "What is shown in this image?", "A large picture."),
    ([(28, 28, 5), (4000, 3000, 6), (20, 600, 7)], "Left or right?", "Neither."),
]


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def greedy(model, inputs):
    model.generation_config.eos_token_id = None
    out = model.generate(**inputs, max_new_tokens=MOST, do_sample=False, return_dict_in_generate=True, output_logits=True)
    tokens = out.sequences[0, inputs["input_ids"].shape[1]:].tolist()
    leads = [float(-torch.diff(step[0].topk(2).values)) for step in out.logits]
    sure = next((i for i, lead in enumerate(leads) if lead < MARGIN), MOST)
    assert sure >= LEAST, leads
    return tokens[:sure]


def ask(model, processor, case, is_qwen):
    sizes, prompt, reply = case
    images = [models.picture(*size) for size in sizes]
    template = processor.chat_template
    tokenizer = processor.tokenizer
    variables = {k: getattr(tokenizer, k) for k in ("bos_token", "eos_token", "unk_token") if getattr(tokenizer, k)}
    before, whole = models.text.texts_of(template, variables, len(images), prompt, reply)

    def inputs_of(text):
        if is_qwen:
            return processor(text=[text], images=images, return_tensors="pt")
        return models.ids_of(processor, text, images)

    first, inputs = inputs_of(before), inputs_of(whole)
    ids, prefix = inputs["input_ids"][0].tolist(), first["input_ids"][0].tolist()
    start = 0
    while start < min(len(prefix), len(ids)) and prefix[start] == ids[start]:
        start += 1
    levels = qwen.levels_of(inputs, processor) if is_qwen else models.levels_of(model, processor, inputs, len(images))
    if is_qwen:
        model.model.rope_deltas = None
    with torch.no_grad():
        losses = -torch.log_softmax(model(**inputs).logits[0].double(), -1)
        nll = [round(float(losses[t - 1, ids[t]]), 5) for t in range(start, len(ids))]
        answer = greedy(model, first)
    return {"length": len(ids), "ids": sha(np.array(ids, dtype="<i4")), "pixels": sha(levels.numpy()), "nll": nll, "greedy": answer}


def main():
    torch.set_num_threads(1)
    print("transformers", transformers.__version__)
    found = {}
    for name in [*models.MODELS, *qwen.MODELS]:
        folder = os.path.join(models.OUT, name)
        is_qwen = name in qwen.MODELS
        cls = qwen.CLASSES[name] if is_qwen else models.CLASSES[models.family(name)]
        model = cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        processor = AutoProcessor.from_pretrained(folder)
        processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        assert type(processor.image_processor).__name__.endswith("Pil")
        found[name] = [ask(model, processor, case, is_qwen) for case in CASES]
        print(name, [(len(a["greedy"]), a["length"]) for a in found[name]])
    cases = [{"pictures": p, "prompt": q, "answer": a} for p, q, a in CASES]
    with open(os.path.join(models.OUT, "answers.json"), "w", encoding="utf-8") as file:
        rows = ",\n".join(f"{json.dumps(n)}: [\n {(',' + chr(10) + ' ').join(json.dumps(a) for a in answers)}]" for n, answers in found.items())
        file.write('{"cases": [\n ' + ",\n ".join(json.dumps(c) for c in cases) + '],\n"models": {\n' + rows + "}}\n")


main()
