#!/usr/bin/env python3
"""Where llama.cpp's answers leave the runtime's: at its rounding of activations, and at nothing else.

  scripts/llama-rounding.py TOOLS MODEL PACKED FOLDER [PROMPT…]

FOLDER: what vlm-export --format gguf wrote of PACKED, which was made of MODEL, a LLaVA. For each prompt, without a
picture, at every position of the prompt and of llama.cpp's greedy answer: how far its logits are from those of
transformers in F32 with the values of FOLDER's tensors; of a copy whose text model has the same values in F32, under which
llama.cpp rounds no activations, and of FOLDER as it is; and how far its logits of each are from those that it gives when
embeddings are changed by 10⁻⁷ of themselves, the rounding of F32, in three draws. Keys and values are F32. Needs torch,
transformers, gguf, llama-cpp-python (not used by the tests)."""
import json
import os
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

import othermakers

NEW_TOKENS = 12


def in_floats(path, out):
    """The file with its values in F32."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(out, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(field.name, field.contents(), kind,
                                 field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        rows = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        writer.add_tensor(tensor.name, rows.reshape([int(n) for n in reversed(tensor.shape)]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ids_of(tools, packed, tokenizer, prompt):
    command = [tools + "/vlm-run", packed, "--prompt", prompt, "--max-new-tokens", str(NEW_TOKENS), "--json"]
    run = subprocess.run([*command, "--print-prompt"], capture_output=True, check=True)
    answer, text = json.loads(run.stdout), run.stderr.decode().removesuffix("\n")
    special = not text.startswith(tokenizer.bos_token or "\0")
    ids = tokenizer(text, add_special_tokens=special).input_ids
    assert len(ids) == answer["prompt_tokens"], "%d tokens, vlm-run has %d" % (len(ids), answer["prompt_tokens"])
    return ids, answer["answer"].strip()


def greedy(path, embed, ids, ends):
    """llama.cpp's answer, and its logits at all positions."""
    ids = list(ids)
    for _ in range(NEW_TOKENS):
        (logits,) = othermakers.llama_logits(path, [(embed(ids), len(ids) - 1)], exact=True)
        best = int(logits[-1].argmax())
        if best in ends:
            break
        ids.append(best)
    return ids, othermakers.llama_logits(path, [(embed(ids), 0)], exact=True)[0]


def moved(path, embeddings, logits):
    """How far the rounding of F32 moves llama.cpp's own logits."""
    worst = 0.0
    for seed in range(3):
        noise = 1e-7 * np.random.default_rng(seed).standard_normal(embeddings.shape)
        (other,) = othermakers.llama_logits(path, [((embeddings * (1 + noise)).astype(np.float32), 0)], exact=True)
        worst = max(worst, (other - logits).abs().max().item())
    return worst


@torch.no_grad()
def main():
    tools, folder, packed, pair = sys.argv[1:5]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    othermakers.weights_gguf(model, pair)
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    embed = lambda ids: model.get_input_embeddings()(torch.tensor(ids)).numpy()
    own = os.path.join(pair, "model.gguf")
    with tempfile.TemporaryDirectory() as work:
        floats = os.path.join(work, "floats.gguf")
        in_floats(own, floats)
        for prompt in sys.argv[5:] or ["What is here?", "Describe it."]:
            ids, answer = ids_of(tools, packed, tokenizer, prompt)
            print("%r: vlm-run says %r" % (prompt, answer), flush=True)
            for name, path in ("in F32", floats), ("as it is", own):
                said, theirs = greedy(path, embed, ids, ends)
                plain = model(input_ids=torch.tensor([said])).logits[0]
                two = plain[len(ids) - 1:].topk(2).values
                text = tokenizer.decode(said[len(ids):], skip_special_tokens=True).strip()
                print("  %s: %d positions, logits within %.2e of transformers' (largest %.1f, smallest lead in the answer "
                      "%.2e), and %.2e of its own; answer %s %r" % (
                          name, len(said), (theirs - plain).abs().max(), plain.abs().max(), (two[:, 0] - two[:, 1]).min(),
                          moved(path, embed(said), theirs), "equal" if text == answer else "DIFFERS", text), flush=True)


if __name__ == "__main__":
    main()
