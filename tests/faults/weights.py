"""Rows A: safetensors files."""
import json
import os
import socket
import struct

from case import Wrong, find, raw_weights, read, row, write

K = "layers.1.self_attn.k_proj.weight"
UNUSED = "layers.2.layer_norm1.weight"  # vision_feature_layer -2 never reaches the tower's last layer
EMPTY = "language_model.model.layers.%d.self_attn.rotary_emb.inv_freq"
ALL = ("quantize", "calibrate", "run", "eval", "inspect")


def tensor(header, ending=K):
    return header[find(header, ending)]


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@row("A1", "empty file; 1 to 7 bytes", "refused: shorter than the length in front")
def _(case):
    for size in range(8):
        case.weight_file(b"\x10\0\0\0\0\0\0"[:size])
        case.refuses_model("model.safetensors: .*byte", tools=ALL if size in (0, 7) else ("quantize",))


@row("A2", "header length 0, 2^63, above the limit, above the file's size", "refused, no such allocation")
def _(case):
    for length in (0, 1, 1 << 63, (1 << 64) - 1, 100_000_001, 300_000):
        case.weight_file(struct.pack("<Q", length) + b"{}" + b" " * 100)
        case.refuses_model("model.safetensors: .*(header|length|byte)")


@row("A3", "header not UTF-8; not JSON; an array; does not start with a brace", "refused with place")
def _(case):
    for header in (b'{"a\xff": 1}', b"hello", b"[]", b" {}", b"{", b'{"a": }', b'{"a": {}}x'):
        case.weight_file(raw_weights(header))
        case.refuses_model("model.safetensors: ")


@row("A4", "nesting 100 000 deep in the header", "refused, constant stack")
def _(case):
    for deep in ('{"a": ' + "[" * 100000 + "]" * 100000 + "}", '{"a": ' * 100000 + "1" + "}" * 100000):
        case.weight_file(raw_weights(deep))
        case.refuses_model("model.safetensors: .*byte")


@row("A5", "duplicate tensor name", "refused, named")
def _(case):
    def twice(header, data):
        name = find(header, K)
        return json.dumps(header)[:-1] + ", " + json.dumps(name) + ": " + json.dumps(header[name]) + "}"
    case.weights(twice)
    case.refuses_model("model.safetensors: .*k_proj")


@row("A6", "overlap of two tensors; hole; bytes after the last tensor", "refused, place named")
def _(case):
    def overlap(header, data):
        tensor(header)["data_offsets"][1] += 4
        tensor(header)["shape"] = [(tensor(header)["data_offsets"][1] - tensor(header)["data_offsets"][0]) // 4]

    def hole(header, data):
        for one in header.values():
            if "data_offsets" in one and one["data_offsets"][0] >= tensor(header)["data_offsets"][1]:
                one["data_offsets"] = [at + 8 for at in one["data_offsets"]]
        return bytes(data[:tensor(header)["data_offsets"][1]]) + b"\0" * 8 + \
            bytes(data[tensor(header)["data_offsets"][1]:])
    for change in (overlap, hole, lambda header, data: data + b"PK\3\4"):
        case.weights(change)
        case.refuses_model("model.safetensors: .*byte")


@row("A7", "end before begin; negative offset; offsets 1e3, 1.5, \"12\", 01", "refused, named")
def _(case):
    for offsets in ("[8, 4]", "[-4, 0]", "[0, 1e3]", "[0, 1.5]", '[0, "12"]', "[00, 04]", "[0]", "[0, 4, 8]",
                    "[0, 18446744073709551620]", "null"):
        case.weight_file(raw_weights('{"a": {"dtype": "F32", "shape": [1], "data_offsets": %s}}' % offsets,
                                     b"\0" * 4))
        case.refuses_model("model.safetensors: ")


@row("A8", "shape overflows; negative dimension; 10 000 dimensions", "refused, named")
def _(case):
    shapes = ([1 << 33, 1 << 33], [1 << 62], [1 << 61, 8], [-1], [1] * 10000, [(1 << 64) - 1])
    for shape in shapes:
        case.weights(lambda header, data, shape=shape: tensor(header).update(shape=shape))
        case.refuses_model("model.safetensors: .*(k_proj|byte)")


@row("A9", "length differs from shape times type", "refused with both numbers")
def _(case):
    case.weights(lambda header, data: tensor(header)["shape"].insert(0, 2))
    case.refuses_model(r"k_proj.*[0-9]+.*[0-9]+", tools=("quantize", "run", "inspect"))


@row("A10", "a type that is unknown, or that is not computed with", "refused where used, passed through else")
def _(case):
    case.weights(lambda header, data: tensor(header).update(dtype="Q9"))
    case.refuses_model("k_proj.*Q9")

    def to_bytes(header, data):
        one = tensor(header)
        one["dtype"] = "F8_E4M3"
        one["shape"][1] *= 4
    case.weights(to_bytes)
    case.refuses_model("k_proj.*F8_E4M3")
    for dtype, size in (("F8_E4M3", 1), ("F8_E5M2", 1), ("F8_E8M0", 1), ("C64", 8), ("U16", 2), ("U32", 4),
                        ("U64", 8), ("I64", 8), ("F64", 8), ("BOOL", 1), ("I8", 1)):
        def unused(header, data, dtype=dtype, size=size):
            one = tensor(header, UNUSED)
            begin, end = one["data_offsets"]
            one.update(dtype=dtype, shape=[(end - begin) // size])
        case.weights(unused)
        case.accepted("inspect", "model")
        case.accepts_model()


@row("A11", "zero-size tensor that shares an offset", "accepted")
def _(case):
    def empty(header, data):
        at = tensor(header)["data_offsets"][0]
        header[EMPTY % 0] = entry("F32", [0, 4], [at, at])
        header[EMPTY % 1] = entry("F32", [0], [len(data), len(data)])
    case.weights(empty)
    case.accepted("inspect", "model")


@row("A12", "__metadata__ not text; 50 MB of it", "refused; accepted within the header's limit")
def _(case):
    for metadata in ({"a": 1}, {"a": None}, [], "x", {"a": {"b": "c"}}):
        case.weights(lambda header, data, m=metadata: header.update(__metadata__=m))
        case.refuses_model("model.safetensors: .*(metadata|byte)")
    case.weights(lambda header, data: header.update(__metadata__={"note": "x" * 50_000_000}))
    case.accepted("inspect", "model")


@row("A13", "file cut in its data part", "refused with sizes")
def _(case):
    case.model()
    content = read("model/model.safetensors")
    for size in (len(content) - 1, len(content) // 2, 5000):
        write("model/model.safetensors", content[:size])
        case.refuses_model("model.safetensors: .*byte", tools=ALL if size == 5000 else ("quantize",))


@row("A14", "tensor name with NUL, newline, escape sequence; 10 MB long", "refused or shown escaped")
def _(case):
    for name in ("a\0b", "a\nb", "a\x1b[2Jb", "a\u202eb", "n" * 10_000_000, "\x7f"):
        def rename(header, data, name=name):
            header[name] = header.pop(find(header, K))
        case.weights(rename)
        case.refuses_model("model.safetensors|model: ")
        done, _ = case.run("inspect", "model")
        if any(byte < 32 and byte not in b"\n\t" for byte in done.stdout + done.stderr):
            raise Wrong("control characters in the output of vlm-inspect")


@row("A15", "a Git LFS pointer or an HTML error page", "refused with that hint")
def _(case):
    case.weight_file(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    case.refuses_model("pointer", tools=ALL)
    for page in (b"<!DOCTYPE html><html><head><title>404</title></head></html>", b"<html>\n<body>Not found"):
        case.weight_file(page)
        case.refuses_model("(HTML|page)")


@row("A16", "a folder, FIFO, device or socket", "refused, never blocks")
def _(case):
    path = "model/model.safetensors"

    def make_socket():
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path)
    for make in (lambda: os.mkdir(path), lambda: os.mkfifo(path), lambda: os.symlink("/dev/zero", path),
                 make_socket):
        case.model()
        os.remove(path)
        make()
        case.refuses_model("model.safetensors", tools=("quantize", "run", "inspect"))
    case.model()
    os.remove("model/config.json")
    os.mkfifo("model/config.json")
    case.refuses_model("config.json", tools=("quantize", "run"))


@row("A17", "NaN or infinity in a weight, quantized or kept", "refused before work, tensor named")
def _(case):
    for ending in (K, "embed_tokens.weight", "lm_head.weight", "norm.weight", "linear_1.weight", "linear_1.bias",
                   "position_embedding.weight", "layers.0.self_attn.v_proj.bias", "class_embedding",
                   "patch_embedding.weight", "pre_layrnorm.bias"):
        for value in (float("nan"), float("-inf")):
            def poison(header, data, ending=ending, value=value):
                at = tensor(header, ending)["data_offsets"][1] - 4
                data[at:at + 4] = struct.pack("<f", value)
                return data
            case.weights(poison)
            case.refuses_model("model.safetensors|model: ", tools=("quantize", "run"))


@row("A18", "all-zero tensor; constant rows; denormals; weights beyond half precision", "packed; refused")
def _(case):
    def fill(value):
        def change(header, data):
            begin, end = tensor(header)["data_offsets"]
            data[begin:end] = struct.pack("<f", value) * ((end - begin) // 4)
            return data
        return change
    for value in (0.0, 0.25, 1e-40, -3.0):
        case.weights(fill(value))
        case.accepts_model()
    case.weights(fill(1e30))  # per channel, whose scales are single precision
    case.accepts_model()
