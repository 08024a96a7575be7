#!/usr/bin/env python3
"""Makes one bad input.

    bad_files.py KIND SOURCE TARGET

SOURCE is a good model folder or file, TARGET the bad copy to make.
"""
import json
import os
import shutil
import struct
import sys
import zlib


def read_weights(path):
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)), file.read()


def write_weights(path, header, data, text=None):
    text = (text or json.dumps(header)).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def folder(source, target, without):
    os.mkdir(target)
    for name in os.listdir(source):
        if name != without:
            shutil.copyfile(os.path.join(source, name), os.path.join(target, name))


def find(header, ending):
    return next(name for name in sorted(header) if name.endswith(ending))


def weights(change):
    """A model folder whose model.safetensors went through change(header, data)."""
    def make(source, target):
        folder(source, target, "model.safetensors")
        header, data = read_weights(os.path.join(source, "model.safetensors"))
        changed = change(header, bytearray(data))
        text = changed if isinstance(changed, str) else None
        if isinstance(changed, (bytes, bytearray)):
            data = changed
        write_weights(os.path.join(target, "model.safetensors"), header, data, text)
    return make


def raw(change):
    """A model folder whose model.safetensors has the bytes change(bytes)."""
    def make(source, target):
        folder(source, target, "model.safetensors")
        with open(os.path.join(source, "model.safetensors"), "rb") as file:
            data = file.read()
        with open(os.path.join(target, "model.safetensors"), "wb") as file:
            file.write(change(data))
    return make


def overlap(header, data):
    """Twice as long, so that it reaches into what follows."""
    tensor = header[find(header, "layers.3.self_attn.k_proj.weight")]
    begin, end = tensor["data_offsets"]
    tensor["shape"][0] *= 2
    tensor["data_offsets"] = [begin, 2 * end - begin]


def duplicate(header, data):
    name = find(header, "layers.3.self_attn.k_proj.weight")
    return json.dumps(header)[:-1] + ", " + json.dumps(name) + ": " + json.dumps(header[name]) + "}"


def past_end(header, data):
    last = max(header, key=lambda n: header[n]["data_offsets"][1] if n != "__metadata__" else -1)
    tensor = header[last]
    tensor["shape"] = [2 * tensor["shape"][0]] + tensor["shape"][1:]
    begin, end = tensor["data_offsets"]
    tensor["data_offsets"] = [begin, begin + 2 * (end - begin)]


def overflow(header, data):
    header[find(header, "layers.3.self_attn.k_proj.weight")]["shape"] = [1 << 33, 1 << 33]


def transposed(header, data):
    tensor = header[find(header, "layers.3.self_attn.k_proj.weight")]
    tensor["shape"] = tensor["shape"][::-1]


def length_differs(header, data):
    header[find(header, "layers.3.self_attn.k_proj.weight")]["shape"][0] += 1


def unknown_type(header, data):
    header[find(header, "layers.3.self_attn.k_proj.weight")]["dtype"] = "Q9"


def missing(header, data):
    header["spare"] = header.pop(find(header, "layers.3.self_attn.k_proj.weight"))


def poison(bits):
    def change(header, data):
        tensor = header[find(header, "layers.3.self_attn.k_proj.weight")]
        at = tensor["data_offsets"][0] + 2 * 1000
        data[at:at + 2] = struct.pack("<H", bits)
        return data
    return change


def other_model(header, data):
    """Valid, but other weights."""
    at = header[find(header, "layers.3.self_attn.k_proj.weight")]["data_offsets"][0]
    data[at] ^= 1
    return data


def index_outside(source, target):
    folder(source, target, "model.safetensors")
    header, data = read_weights(os.path.join(source, "model.safetensors"))
    write_weights(target + ".safetensors", header, data)
    shard = "../" + os.path.basename(target) + ".safetensors"
    with open(os.path.join(target, "model.safetensors.index.json"), "w", encoding="utf-8") as file:
        json.dump({"metadata": {}, "weight_map": {n: shard for n in header if n != "__metadata__"}},
                  file)


def index_missing(source, target):
    folder(source, target, "model.safetensors")
    with open(os.path.join(target, "model.safetensors.index.json"), "w", encoding="utf-8") as file:
        json.dump({"metadata": {}, "weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}, file)


def flip_bit(source, target, at):
    with open(source, "rb") as file:
        data = bytearray(file.read())
    data[at] ^= 4
    with open(target, "wb") as file:
        file.write(data)


def flip_codes(source, target):
    header, _ = read_weights(source)
    with open(source, "rb") as file:
        start = 8 + struct.unpack("<Q", file.read(8))[0]
    flip_bit(source, target, start + header[find(header, "layers.2.mlp.up.codes")]["data_offsets"][0])


def flip_metadata(source, target):
    with open(source, "rb") as file:
        data = file.read()
    flip_bit(source, target, data.index(b"calibration_samples") + 30)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + \
        chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def noise_rows(width, height):
    state, rows = 1, bytearray()
    for _ in range(height):
        rows.append(0)
        for _ in range(3 * width):
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            rows.append(state >> 56)
    return bytes(rows)


def huge_png(source, target):
    write(target, png(100000, 100000, b"\0" * 100000))


def noise_png(source, target):
    write(target, png(96, 96, noise_rows(96, 96)))


def corrupt_png(source, target):
    with open(source, "rb") as file:
        data = bytearray(file.read())
    at = data.index(b"IDAT") + 40
    data[at] ^= 0xff
    write(target, data)


def truncated_file(source, target):
    with open(source, "rb") as file:
        data = file.read()
    write(target, data[:len(data) // 2])


def huge_jpeg(source, target):
    """The frame header of a real JPEG says 65500 x 65500."""
    with open(source, "rb") as file:
        data = bytearray(file.read())
    at = min(at for at in (data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) if at > 0)
    data[at + 5:at + 9] = struct.pack(">HH", 65500, 65500)
    write(target, data)


def many_cuts(source, target):
    """A SentencePiece model of the pieces a, aa, … of 512 letters: each can be cut wherever one likes."""
    def text(content):
        return b"\x0a" + bytes([len(content) & 127 | 128, len(content) >> 7]) + content
    pieces = [text(b"<unk>") + b"\x18\x02"] + [text(b"a" * n) for n in range(1, 513)]
    write(target, b"".join(map(text, pieces)) + b"\x12\x02\x18\x02\x1a\x02\x20\x00")


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


KINDS = {
    "truncated-header": raw(lambda d: d[:1000]),
    "truncated-data": raw(lambda d: d[:-1000]),
    "trailing": raw(lambda d: d + b"x"),
    "tiny": raw(lambda d: d[:5]),
    "empty": raw(lambda d: b""),
    "length-huge": raw(lambda d: struct.pack("<Q", 1 << 63) + d[8:]),
    "not-json": raw(lambda d: d[:8] + b"[" + d[9:]),
    "pointer": raw(lambda d: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "overlap": weights(overlap),
    "duplicate": weights(duplicate),
    "past-end": weights(past_end),
    "overflow": weights(overflow),
    "transposed": weights(transposed),
    "length-differs": weights(length_differs),
    "unknown-type": weights(unknown_type),
    "missing": weights(missing),
    "nan": weights(poison(0x7fc0)),
    "infinite": weights(poison(0xff80)),
    "other-model": weights(other_model),
    "index-outside": index_outside,
    "index-missing": index_missing,
    "flip-codes": flip_codes,
    "flip-metadata": flip_metadata,
    "huge-png": huge_png,
    "noise-png": noise_png,
    "corrupt-png": corrupt_png,
    "huge-jpeg": huge_jpeg,
    "truncated-file": truncated_file,
    "many-cuts": many_cuts,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](sys.argv[2], sys.argv[3])
