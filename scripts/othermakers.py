"""Other tools' quantizers for parity-import.py, and the weights that their own arithmetic makes of what they saved.

build_X(recipe, job, out) makes the artifact; weights_X(model, out) puts F32 weights into a model of transformers. job has
tools, model (folder), work, and samples: conversations with pictures, for calibration.
"""
import ctypes
import json
import os
import shutil
import subprocess

import numpy as np
import torch
from safetensors.torch import load_file

FILE_TYPES = {"q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q3_k_m": 12, "q4_k_m": 15, "q5_k_m": 17,
              "q6_k": 18, "iq4_nl": 25, "iq4_xs": 30}  # llama.h: LLAMA_FTYPE_MOSTLY_…
GGUF_FILES = ("model.gguf", "mmproj-model.gguf")
# A packed file must have something quantized: of the tower, exactly.
KEPT = {"version": 1, "rules": [{"match": "vision.layers.0.attn.o", "scheme": {"method": "rtn", "bits": 8, "group": 32}},
                                {"match": "*", "scheme": None}]}


def silent(llama_cpp):
    """llama.cpp, without what it says while it works; the callback lives as long."""
    if not hasattr(llama_cpp, "silent"):
        llama_cpp.silent = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(llama_cpp.silent, None)


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def gguf_source(job):
    """The model in GGUF files, in its own types."""
    out = os.path.join(job["work"], "gguf-source")
    if not os.path.exists(out):
        recipe, packed = out + ".json", out + ".vlmp"
        with open(recipe, "w", encoding="utf-8") as file:
            json.dump(KEPT, file)
        run(job["tools"] + "/vlm-quantize", job["model"], "--recipe", recipe, "-o", packed, "--force")
        run(job["tools"] + "/vlm-export", packed, "--format", "gguf", "-o", out)
    return out


def importance(job):
    """What vlm-export --imatrix writes of the calibration's pictures and texts, as llama.cpp's quantizer takes it."""
    import gguf
    import llama_cpp
    calib, path = [os.path.join(job["work"], name) for name in ("own.calib", "imatrix.gguf")]
    run(job["tools"] + "/vlm-calibrate", job["model"], "--data", job["calib"], "-o", calib, "--force")
    run(job["tools"] + "/vlm-export", job["model"], "--calib", calib, "--imatrix", path, "--force")
    tensors = {t.name: t.data.ravel() for t in gguf.GGUFReader(path).tensors}
    rows = {name.removesuffix(".in_sum2"): (sums / tensors[name.replace(".in_sum2", ".counts")]).astype(np.float32)
            for name, sums in tensors.items() if name.endswith(".in_sum2")}
    data = (llama_cpp.llama_model_imatrix_data * (len(rows) + 1))()
    for entry, (name, row) in zip(data, rows.items()):
        entry.name, entry.size = name.encode(), row.size
        entry.data = row.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    return data, rows


def build_gguf(recipe, job, out):
    import llama_cpp
    silent(llama_cpp)
    source = gguf_source(job)
    kind, _, guided = recipe.partition("-")
    os.makedirs(out)
    shutil.copy(os.path.join(source, GGUF_FILES[1]), out)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = FILE_TYPES[kind], 1
    if guided:
        data, rows = importance(job)
        params.imatrix = data
    status = llama_cpp.llama_model_quantize(os.path.join(source, GGUF_FILES[0]).encode(),
                                            os.path.join(out, GGUF_FILES[0]).encode(), ctypes.byref(params))
    assert status == 0, "llama_model_quantize gave %d" % status


def gguf_name(text, tower, stem):
    """llama.cpp's name of a module of transformers; None: it is in neither file."""
    if stem.endswith("lm_head"):
        return "output"
    if "multi_modal_projector" in stem:
        return {"linear_1": "mm.0", "linear_2": "mm.2"}[stem.split(".")[-1]]
    if "language_model" in stem:
        return text.get_name("model." + stem.split("language_model.")[-1])
    tail = stem.split("vision_tower.")[-1].removeprefix("vision_model.")
    return tower.get_name("vision_tower.vision_model." + tail)


def weights_gguf(model, out):
    import gguf
    config = model.config.text_config
    tensors = {t.name: t for file in GGUF_FILES for t in gguf.GGUFReader(os.path.join(out, file)).tensors}
    text = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    tower = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, model.config.vision_config.num_hidden_layers)
    used = set()
    for name, parameter in model.named_parameters():
        stem, leaf = name.rsplit(".", 1) if name.endswith((".weight", ".bias")) else (name, None)
        known = gguf_name(text, tower, stem)
        known = known + "." + leaf if known and leaf else known
        if known not in tensors:
            continue
        stored = tensors[known]
        rows = gguf.quants.dequantize(stored.data, stored.tensor_type).astype(np.float32).reshape(parameter.shape)
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(stem.split(".")[-1])
        if heads and "language_model" in name:
            rows = rows.reshape(heads, rows.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)
        parameter.data = torch.from_numpy(rows.copy())
        used.add(known)
    assert used == set(tensors), set(tensors) - used


def llama_logits(path, sequences, exact=False):
    """llama.cpp's own logits of the text model in a file, given embeddings [tokens, width]; from a token on. exact: keys
    and values in F32."""
    import llama_cpp
    silent(llama_cpp)
    width = sequences[0][0].shape[1]
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = max(512, max(len(e) for e, _ in sequences))
    params.n_threads = params.n_threads_batch = 2
    if exact:
        params.flash_attn_type = params.type_k = params.type_v = 0
    context = llama_cpp.llama_init_from_model(model, params)
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    out = []
    for embeddings, first in sequences:
        count = len(embeddings)
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        batch = llama_cpp.llama_batch_init(count, width, 1)
        batch.n_tokens = count
        ctypes.memmove(batch.embd, np.ascontiguousarray(embeddings, np.float32).ctypes.data, count * width * 4)
        for i in range(count):
            batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = i, 1, 0, i >= first
        assert llama_cpp.llama_decode(context, batch) == 0
        rows = [np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), (vocabulary,)).copy()
                for i in range(first, count)]
        out.append(torch.from_numpy(np.stack(rows)))
        llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return out


def unpacked(words, bits, count):
    """Fields of 32-bit words along the first side, lowest first."""
    shifts = torch.arange(0, 32, bits)
    return ((words[:, None, :].long() >> shifts[None, :, None]) & ((1 << bits) - 1)).reshape(-1, words.shape[1])[:count]


def word_weights(tensors, stem, config):
    """(code − zero) · scale of a GPTQ or AWQ linear, [outputs, inputs]."""
    words, zeros, scales = (tensors[stem + "." + part] for part in ("qweight", "qzeros", "scales"))
    bits, scales = config.get("bits", 4), scales.float()
    if config["quant_method"] == "awq":
        order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])
        codes, zeros = (unpacked(part.T.contiguous(), 4, scales.shape[1]).view(-1, 8, part.shape[0]) for part in (words, zeros))
        codes, zeros = (part[:, torch.argsort(order)].reshape(-1, part.shape[2]).T for part in (codes, zeros))
        group = torch.arange(codes.shape[0]) // (codes.shape[0] // scales.shape[0])
    else:
        if config.get("checkpoint_format", "gptq") == "gptq":  # whole words are less one in each field
            zeros = (zeros.long() + (0x11111111 if bits == 4 else 0x01010101)) & 0xffffffff
        group = tensors[stem + ".g_idx"].long()
        codes = unpacked(words, bits, len(group))
        zeros = unpacked(zeros.T.contiguous(), bits, scales.shape[1]).T
    return ((codes - zeros[group]) * scales[group]).T.contiguous().float()


def weights_words(model, out, module_of):
    with open(os.path.join(out, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    if "quantization_config" not in config:
        with open(os.path.join(out, "quantize_config.json"), encoding="utf-8") as file:
            config["quantization_config"] = json.load(file)
    tensors, modules, count = load_file(os.path.join(out, "model.safetensors")), dict(model.named_modules()), 0
    for name in tensors:
        if "norm" in name and "language_model" in name:  # AWQ folds scales into them
            module_of(modules, name[:-len(".weight")]).weight.data = tensors[name].float()
        if name.endswith(".qweight"):
            stem = name[:-len(".qweight")]
            module_of(modules, stem).weight.data = word_weights(tensors, stem, config["quantization_config"])
            count += 1
    assert count > 0


def build_gptqmodel(recipe, job, out):
    """NAME-w4g64[-asymmetric], NAME gptq or awq."""
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # on two processors it wants more than it gives itself
    from gptqmodel import GPTQModel, QuantizeConfig
    from gptqmodel.quantization.config import FORMAT, METHOD
    method, _, rest = recipe.partition("-")
    bits, size = rest[1:].split("-")[0].split("g")
    extra = {"method": METHOD.AWQ, "format": FORMAT.GEMM} if method == "awq" else {}
    config = QuantizeConfig(bits=int(bits), group_size=int(size), sym="asymmetric" not in recipe, device="cpu",
                            offload_to_disk=False, **extra)
    model = GPTQModel.load(job["model"], config)
    model.quantize(job["samples"], batch_size=1)
    model.save(out)
    job["processor"].save_pretrained(out)


def build_autoawq(recipe, job, out):
    from awq import AutoAWQForCausalLM
    model = AutoAWQForCausalLM.from_pretrained(job["model"], device_map="cpu")
    texts = [turn["content"][-1]["text"] for sample in job["samples"] for turn in sample]
    model.quantize(job["processor"].tokenizer, quant_config={"zero_point": True, "q_group_size": 64, "w_bit": 4, "version": "GEMM"},
                   calib_data=texts, max_calib_seq_len=128, max_calib_samples=len(texts))
    model.save_quantized(out)
    job["processor"].save_pretrained(out)
