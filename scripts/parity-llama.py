#!/usr/bin/env python3
"""Pairs of GGUF files in llama.cpp (llama-cpp-python, on the CPU): greedy answers are the runtime's.

  scripts/parity-llama.py TOOLS PACKED FOLDER PICTURE… [-- PROMPT…]

FOLDER: what vlm-export --format gguf wrote of PACKED. Each prompt, as the model's template renders it, is asked
without a picture and with each PICTURE, which should have a size that no processor changes; numbers of tokens are
compared too. Exit 1: an answer differs. Needs llama-cpp-python."""
import ctypes
import json
import os
import re
import subprocess
import sys

import llama_cpp
from llama_cpp import mtmd_cpp as mtmd

NEW_TOKENS = 12


class Pair:
    def __init__(self, folder):
        self.model = llama_cpp.llama_model_load_from_file((folder + "/model.gguf").encode(),
                                                          llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = 2048, 2048, 2048
        params.flash_attn_type = 0
        params.type_k = params.type_v = 0  # F32
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        params = mtmd.mtmd_context_params_default()
        params.use_gpu, params.print_timings, params.n_threads = False, False, 2
        params.warmup = False
        params.flash_attn_type = 0
        self.tower = mtmd.mtmd_init_from_file((folder + "/mmproj-model.gguf").encode(), self.model, params)
        assert self.model and self.context and self.tower, "llama.cpp does not load " + folder

    def text_of(self, token):
        buffer = ctypes.create_string_buffer(256)
        length = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, 256, 0, False)
        return buffer.raw[:length]

    def answer(self, prompt, picture):
        """Greedy, from a prompt whose pictures are the marker."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        bitmaps = []
        if picture:
            bitmaps = [mtmd.mtmd_helper_bitmap_init_from_file(self.tower, picture.encode(), False)]
        begin = llama_cpp.llama_vocab_bos(self.vocab)
        begun = begin >= 0 and prompt.startswith(llama_cpp.llama_vocab_get_text(self.vocab, begin).decode())
        text = mtmd.mtmd_input_text(text=prompt.encode(), text_len=len(prompt.encode()), add_special=not begun, parse_special=True)
        chunks = mtmd.mtmd_input_chunks_init()
        array = (mtmd.mtmd_bitmap_p_ctypes * len(bitmaps))(*bitmaps) if bitmaps else None
        assert mtmd.mtmd_tokenize(self.tower, chunks, ctypes.byref(text), array, len(bitmaps)) == 0
        past = ctypes.c_int32(0)
        assert mtmd.mtmd_helper_eval_chunks(self.tower, self.context, chunks, 0, 0, 2048, True, ctypes.byref(past)) == 0
        past, out, size = past.value, b"", llama_cpp.llama_vocab_n_tokens(self.vocab)
        tokens = mtmd.mtmd_helper_get_n_tokens(chunks)
        mtmd.mtmd_input_chunks_free(chunks)
        for _ in range(NEW_TOKENS):
            logits = llama_cpp.llama_get_logits_ith(self.context, -1)
            best = max(range(size), key=lambda i: logits[i])
            if llama_cpp.llama_vocab_is_eog(self.vocab, best):
                break
            out += self.text_of(best)
            batch = llama_cpp.llama_batch_get_one((llama_cpp.llama_token * 1)(best), 1)
            assert llama_cpp.llama_decode(self.context, batch) == 0
            past += 1
        return out.decode(errors="replace").strip(), tokens


def ours(tools, packed, prompt, picture):
    command = [tools + "/vlm-run", packed, "--prompt", prompt, "--max-new-tokens", str(NEW_TOKENS), "--json"]
    command += ["--image", picture] if picture else []
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    shown = subprocess.run([*command, "--print-prompt"], capture_output=True, check=True).stderr.decode()
    return answer["answer"].strip(), answer["prompt_tokens"], shown.removesuffix("\n")


def main():
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    (tools, packed, folder, *pictures), prompts = words[:at], words[at + 1:] or ["What is here?", "Describe it."]
    pair, wrong = Pair(folder), 0
    marker = mtmd.mtmd_default_marker().decode()
    for prompt in prompts:
        for picture in [None, *pictures]:
            want, count, shown = ours(tools, packed, prompt, picture)
            text = re.sub(r"<\|vision_start\|><\|image_pad\|><\|vision_end\|>|<image>", marker, shown)
            got, tokens = pair.answer(text, picture)
            same = got == want and tokens == count
            wrong += not same
            print("%s %s %r: %d tokens %r%s" % ("ok  " if same else "FAIL", picture or "text", prompt, count, want,
                                               "" if same else ", llama.cpp: %d tokens %r" % (tokens, got)), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
