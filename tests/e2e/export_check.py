#!/usr/bin/env python3
"""An exported folder against the packed file it was made from, by the layout's specification.

    export_check.py PACKED FOLDER

Every tensor of the packed file is in the folder and none besides; what is kept has the same bytes; what is
quantized dequantizes to the packed file's values, exactly (GPTQ, AWQ: F32 scales rounded to F16); the
configuration gives each linear, under every name that transformers and engines know it by, the scheme that its
tensors have. Exit 0: all of that.
"""
import array
import json
import os
import re
import struct
import sys

SIZES = {"F16": 2, "BF16": 2, "F32": 4, "I8": 1, "U8": 1, "I32": 4, "I64": 8, "F8_E4M3": 1, "F8_E8M0": 1}


def read(path):
    """Tensor name: (type, shape, bytes); the metadata."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    meta = header.pop("__metadata__", {})
    return {n: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for n, t in header.items()}, meta


def read_folder(folder):
    single = os.path.join(folder, "model.safetensors")
    if os.path.exists(single):
        return read(single)[0]
    with open(os.path.join(folder, "model.safetensors.index.json"), encoding="utf-8") as file:
        index = json.load(file)
    tensors = {}
    for shard in sorted(set(index["weight_map"].values())):
        found, _ = read(os.path.join(folder, shard))
        for name in found:
            assert index["weight_map"][name] == shard, "%s is not where the index says" % name
        tensors.update(found)
    assert set(tensors) == set(index["weight_map"]), "the index names other tensors"
    assert index["metadata"]["total_size"] == sum(len(t[2]) for t in tensors.values()), "total_size"
    return tensors


def floats(tensor):
    return struct.unpack("<%d%s" % (len(tensor[2]) // SIZES[tensor[0]], {"F16": "e", "F32": "f"}[tensor[0]]), tensor[2])


def words(tensor):
    assert tensor[0] == "I32"
    return struct.unpack("<%dI" % (len(tensor[2]) // 4), tensor[2])


def unpack(data, count, bits):
    """Codes of one row, low bits first."""
    value = int.from_bytes(data, "little")
    return [value >> bits * i & ((1 << bits) - 1) for i in range(count)]


class Floats:
    """A linear of the packed file whose codes stand for floats: the bytes of its parts."""

    def __init__(self, tensors, name, entry):
        (self.n, self.k), self.bits, self.entry = entry["shape"], entry["bits"], entry
        self.codes, self.scales = tensors[name + ".codes"][2], tensors[name + ".scales"]
        self.divisor = tensors.get(name + ".global")
        if self.divisor is not None:
            self.divisor = (1.0 / floats(self.divisor)[0],)


class Linear:
    """A linear of the packed file: codes [n][k], zeros and scales [n][groups]. Codes of 3 bits are, in an
    export, those of 4 bits that stand for the same weights."""

    def __init__(self, tensors, name, entry):
        (self.n, self.k), self.bits = entry["shape"], entry["bits"]
        self.group = entry["group"] or self.k
        self.groups = self.k // self.group
        self.entry = entry

        def plane(part, bits):
            row, codes = (self.k * bits + 7) // 8, tensors[name + part][2]
            return [unpack(codes[i * row:(i + 1) * row], self.k, bits) for i in range(self.n)]

        if self.bits == 3:
            self.bits, more = 4, 4 if entry["symmetric"] else 0
            self.codes = [[low + 4 * high + more for low, high in zip(*rows)]
                          for rows in zip(plane(".codes2", 2), plane(".codes1", 1))]
        else:
            self.codes = plane(".codes", self.bits)
        self.zeros = [[1 << (self.bits - 1)] * self.groups] * self.n
        if not entry["symmetric"]:
            row, zeros = (self.groups * self.bits + 7) // 8, tensors[name + ".zeros"][2]
            self.zeros = [unpack(zeros[i * row:(i + 1) * row], self.groups, self.bits) for i in range(self.n)]
        scales = floats(tensors[name + ".scales"])
        self.scales = [scales[i * self.groups:(i + 1) * self.groups] for i in range(self.n)]


# Strategy, group and block of the weights, and strategy and group of the activations, or None.
FLOATS = {("fp8", 0): ("float-quantized", ("channel", None, None), ("token", None)),
          ("fp8", 128): ("float-quantized", ("block", None, [128, 128]), ("group", 128)),
          ("mxfp4", 32): ("mxfp4-pack-quantized", ("group", 32, None), None),
          ("nvfp4", 16): ("nvfp4-pack-quantized", ("tensor_group", 16, None), None)}


def check_floats(linear, take, config):
    n, k, kind = linear.n, linear.k, (linear.entry["codes"], linear.entry["group"])
    layout, weights, inputs = FLOATS[kind]
    if linear.bits == 8:
        assert bytes(take("weight", [n, k])) == linear.codes, "codes"
    else:
        assert bytes(take("weight_packed", [n, k // 2])) == linear.codes, "codes"
    shape = [-(-n // 128), k // 128] if kind == ("fp8", 128) else [n, k // (kind[1] or k)]
    own = floats(linear.scales) if linear.bits == 8 else tuple(linear.scales[2])
    assert take("weight_scale", shape) == own, "scales"
    if kind[0] == "nvfp4":
        assert take("weight_global_scale", [1]) == linear.divisor, "global scale"
    got = config["weights"]
    assert (got["num_bits"], got["type"], got["symmetric"], got["dynamic"]) == (linear.bits, "float", True, False)
    assert (got["strategy"], got["group_size"], got["block_structure"]) == weights, "scheme"
    got = config["input_activations"]
    assert (got and (got["strategy"], got["group_size"])) == inputs, "activations"
    assert got is None or (got["num_bits"], got["type"], got["dynamic"]) == (8, "float", True), "activations"
    assert config["format"] == layout, "format"


def check_compressed_tensors(linear, take, config):
    if isinstance(linear, Floats):
        return check_floats(linear, take, config)
    n, groups, bits = linear.n, linear.groups, linear.bits
    scales = take("weight_scale", [n, groups])
    assert scales == tuple(s for row in linear.scales for s in row), "scales"
    offset = 1 << (bits - 1)
    if config["input_activations"] is not None:
        codes = [c + offset for c in take("weight", [n, linear.k])]
        rows = [codes[i * linear.k:(i + 1) * linear.k] for i in range(n)]
        want = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
        assert {k: config["input_activations"][k] for k in want} == want, "activations"
    else:
        per_row = -(-linear.k * bits // 32)
        packed = take("weight_packed", [n, per_row])
        rows = [unpack(struct.pack("<%dI" % per_row, *packed[i * per_row:(i + 1) * per_row]), linear.k, bits)
                for i in range(n)]
        assert take("weight_shape", [2]) == (n, linear.k), "shape"
    assert rows == linear.codes, "codes"
    weights = config["weights"]
    assert weights["num_bits"] == bits and weights["symmetric"] == linear.entry["symmetric"], "scheme"
    assert (weights["strategy"], weights["group_size"]) == (
        ("group", linear.entry["group"]) if linear.entry["group"] else ("channel", None)), "group"
    assert (config["input_activations"] is not None) == (linear.entry["activations"] == "int8"), "activations"
    assert config["format"] == ("int-quantized" if config["input_activations"] else "pack-quantized"), "format"
    if linear.entry["symmetric"]:
        return
    per_word = 32 // bits
    packed = take("weight_zero_point", [-(-n // per_word), groups])
    zeros = [[packed[i // per_word * groups + g] >> i % per_word * bits & ((1 << bits) - 1) for g in range(groups)]
             for i in range(n)]
    assert zeros == linear.zeros, "zeros"


def turned(flat, rows, columns):
    """[rows][columns] as [columns][rows]."""
    assert len(flat) == rows * columns, "size"
    return [[flat[r * columns + c] for r in range(rows)] for c in range(columns)]


def fields(word, bits, order=None):
    values = [word >> bits * i & ((1 << bits) - 1) for i in range(32 // bits)]
    return values if order is None else [values[order.index(i)] for i in range(len(values))]


def check_turned(linear, take, together):
    """What GPTQ and AWQ folders share: scales [groups][outputs] in F16. together(words): zeros, as GPTQ and AWQ
    have them, of a list of words."""
    n, groups = linear.n, linear.groups
    rounded = [list(struct.unpack("<%de" % groups, struct.pack("<%de" % groups, *row))) for row in linear.scales]
    assert turned(take("scales", [groups, n]), groups, n) == rounded, "scales"
    width = n * linear.bits // 32
    zeros = take("qzeros", [groups, width])
    rows = [together(zeros[g * width:(g + 1) * width]) for g in range(groups)]
    assert [[rows[g][i] for g in range(groups)] for i in range(n)] == linear.zeros, "zeros"


def check_gptq(linear, take, config):
    n, k, bits = linear.n, linear.k, linear.bits
    ones = sum(1 << bits * i for i in range(32 // bits))

    def natural(words):
        return [v for w in words for v in fields((w + ones) % (1 << 32), bits)]

    check_turned(linear, take, natural)
    columns = turned(take("qweight", [k * bits // 32, n]), k * bits // 32, n)
    assert [[v for w in column for v in fields(w, bits)] for column in columns] == linear.codes, "codes"
    assert take("g_idx", [k]) == tuple(i // linear.group for i in range(k)), "g_idx"
    assert config == {"bits": bits, "group_size": linear.entry["group"] or -1, "sym": linear.entry["symmetric"],
                      "desc_act": False}, "scheme"


AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # which of 8 outputs a word's fields hold, lowest first


def check_awq(linear, take, config):
    def interleaved(words):
        return [v for w in words for v in fields(w, 4, AWQ_ORDER)]

    check_turned(linear, take, interleaved)
    width = linear.n // 8
    words_of = take("qweight", [linear.k, width])
    rows = [interleaved(words_of[i * width:(i + 1) * width]) for i in range(linear.k)]
    assert [[rows[i][j] for i in range(linear.k)] for j in range(linear.n)] == linear.codes, "codes"
    assert config == {"bits": linear.bits, "group_size": linear.entry["group"] or -1, "zero_point": True}, "scheme"


# What transformers, old and new, and engines call the module that a source name stands for.
HEADS = {"vision_tower": ["vision_tower.vision_model.encoder.", "model.vision_tower.encoder.",
                          "model.vision_tower.vision_model.encoder."],
         "vision_model": ["model.vision_model.encoder."], "visual": ["visual.", "model.visual."],
         "text_model": ["model.text_model."],
         "": ["language_model.model.", "model.language_model.", "language_model."]}


def spellings(base):
    tail = re.search(r"(layers|blocks|deepstack_merger_list)\.\d+\..*$|linear_\d$|lm_head$|embed_tokens$|"
                     r"mm_projector\.\d$|merger\..*$|connector\..*$", base).group(0)
    if "lm_head" in base:
        return ["lm_head", "language_model.lm_head", "model.language_model.lm_head"]
    if "projector" in base:
        tail = {"mm_projector.0": "linear_1", "mm_projector.2": "linear_2"}.get(tail, tail)
        return ["multi_modal_projector." + tail, "model.multi_modal_projector." + tail]
    if "connector" in base:
        return ["model." + tail]
    heads = next(heads for part, heads in HEADS.items() if part in base)
    names = [head + tail for head in heads]
    for fused, members in ("qkv_proj", "qkv"), ("gate_up_proj", ("gate", "up")):
        for member in members:
            if tail.endswith(".%s_proj" % member):
                names += [head + tail[:-len(member) - 5] + fused for head in heads]
    return names


def hits(patterns, name):
    assert all(p.startswith("re:") for p in patterns), "an entry that is no regular expression"
    return any(re.match(p[3:], name) for p in patterns)


def groups_of(config, name):
    """The groups that a module belongs to; [None] when it is ignored."""
    found = [g for g in config["config_groups"].values() if hits(g["targets"], name)]
    return found + [None] * hits(config["ignore"], name)


def of_compressed_tensors(config):
    formats = {g["format"] for g in config["config_groups"].values()}
    assert config["format"] == (formats.pop() if len(formats) == 1 else "mixed-precision"), "format"
    return lambda name: groups_of(config, name)


def of_gptq(config):
    """What a module is by the first entry of `dynamic` that matches; no entry: the configuration's own scheme."""
    assert config["checkpoint_format"] == "gptq" and config["pack_dtype"] == "int32" and not config["lm_head"]
    own = {key: config[key] for key in ("bits", "group_size", "sym", "desc_act")}

    def find(name):
        for key, value in config["dynamic"].items():
            if re.match(key[2:], name):
                assert key[:2] == ("+:" if value else "-:"), key
                return [value or None]
        return [own]

    return find


def of_awq(config):
    """Within a name for engines; at its beginning or end for transformers."""
    assert config["version"] == "gemm"
    own = {key: config[key] for key in ("bits", "group_size", "zero_point")}

    def find(name):
        names = config["modules_to_not_convert"]
        engine = any(n in name for n in names)
        if name.endswith("embed_tokens"):
            return [None]  # no linear
        if not re.search(r"(qkv|gate_up)_proj$", name):
            assert engine == any(re.match(n + r"\.", name) or name.endswith(n) for n in names), name
        return [None if engine else own]

    return find


FORMATS = {"compressed-tensors": (of_compressed_tensors, check_compressed_tensors), "gptq": (of_gptq, check_gptq),
           "awq": (of_awq, check_awq)}


def check_config(find, bases, packed_bases, fused):
    chosen = {}
    for base in bases:
        for name in spellings(base):
            found = find(name)
            if not fused and re.search(r"(qkv|gate_up)_proj$", name):
                continue
            assert len(found) == 1, "%s has %d entries" % (name, len(found))
            assert (found[0] is not None) == (base in packed_bases), "%s: quantized or not" % name
            chosen.setdefault(base, found[0])
            assert chosen[base] == found[0], "%s: another group than its other spellings" % name
    return chosen


def main():
    packed, meta = read(sys.argv[1])
    linears, table = json.loads(meta["vlmp.linears"]), json.loads(meta["vlmp.tensors"])
    exported = read_folder(sys.argv[2])
    with open(os.path.join(sys.argv[2], "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    quantization = config.pop("quantization_config")
    read_config, check_linear = FORMATS[quantization["quant_method"]]
    alone = os.path.join(sys.argv[2], "quantize_config.json")
    assert os.path.exists(alone) == (check_linear is check_gptq), "quantize_config.json"
    if os.path.exists(alone):
        with open(alone, encoding="utf-8") as file:
            assert json.load(file) == quantization, "quantize_config.json"
    assert config == json.loads(meta["vlmp.config"]), "config.json changed elsewhere"
    base_of = {name: table[name + (".codes2" if entry["bits"] == 3 else ".codes")]["source"].removesuffix(".weight")
               for name, entry in linears.items()}
    is_linear = re.compile(r"(proj|qkv|fc1|fc2|linear_\d|lm_head|embed_tokens|(mm_projector|merger\.mlp)\.\d)\.weight$")
    bases = {e["source"].removesuffix(".weight") for n, e in table.items()
             if is_linear.search(e.get("source", "")) and len(packed[n][1]) == 2}
    scheme_of = {base: {k: linears[n].get(k) for k in ("bits", "group", "symmetric", "activations", "codes")}
                 for n, base in base_of.items()}
    sets = [{re.sub(r"\b[qkv]_proj$", p, b) for p in ("q_proj", "k_proj", "v_proj")} for b in bases]
    fused = all(len({str(scheme_of.get(b)) for b in s}) == 1 for s in sets)
    chosen = check_config(read_config(quantization), bases, set(base_of.values()), fused)
    for name, entry in linears.items():
        base, linear = base_of[name], (Floats if "codes" in entry else Linear)(packed, name, entry)

        def take(suffix, shape):
            tensor = exported.pop("%s.%s" % (base, suffix))
            assert tensor[1] == shape, "%s.%s: shape" % (base, suffix)
            if tensor[0] in ("F16", "F32"):
                return floats(tensor)
            if tensor[0] == "I32":
                return words(tensor)
            return tuple(array.array({"I8": "b", "I64": "q"}.get(tensor[0], "B"), tensor[2]))

        check_linear(linear, take, chosen[base])
    for name, tensor in packed.items():
        stem, _, part = name.rpartition(".")
        if name.startswith("file/") or stem in linears and part != "bias":
            continue
        assert exported.pop(table[name]["source"]) == tensor, "%s: changed" % name
    assert not exported, "more tensors: %s" % sorted(exported)
    with open(os.path.join(sys.argv[2], "tokenizer.json"), "rb") as file:
        assert file.read() == packed["file/tokenizer.json"][2], "tokenizer.json"


if __name__ == "__main__":
    try:
        main()
    except AssertionError as fault:
        sys.exit("%s: %s" % (sys.argv[2], fault))
