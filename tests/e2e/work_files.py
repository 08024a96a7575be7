#!/usr/bin/env python3
"""Changes models, calibrations and saved references into ones that are sound but not the same.

    work_files.py pad MODEL TARGET ROWS [VALUE]   vocabulary padded to ROWS rows of VALUE (0)
    work_files.py json MODEL TARGET FILE CODE     MODEL whose FILE went through CODE, which sees d
    work_files.py forge FILE TARGET CODE          a .calib or .ref whose document d and tensors t
                                                  (name: [type, shape, bytearray]) went through CODE;
                                                  its hashes are good
"""
import hashlib
import json
import os
import struct
import sys

from bad_files import folder, read_weights, write_weights


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def pad(model, target, rows, value="0"):
    rows = int(rows)
    folder(model, target, "model.safetensors")
    header, data = read_weights(os.path.join(model, "model.safetensors"))
    metadata = header.pop("__metadata__", None)
    out, body = {}, b""
    if metadata is not None:
        out["__metadata__"] = metadata
    for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = tensor["data_offsets"]
        part = data[begin:end]
        if name.endswith(("embed_tokens.weight", "lm_head.weight")):
            number = struct.pack("<f", float(value))[2:]  # the bits of a BF16
            part += number * ((rows - tensor["shape"][0]) * tensor["shape"][1])
            tensor["shape"][0] = rows
        tensor["data_offsets"] = [len(body), len(body) + len(part)]
        out[name] = tensor
        body += part
    write_weights(os.path.join(target, "model.safetensors"), out, body)
    edit(os.path.join(target, "config.json"), "d['text_config']['vocab_size'] = %d" % rows)


def edit(path, code):
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    exec(code, {"d": document})  # pylint: disable=exec-used
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file)


def change_json(model, target, name, code):
    folder(model, target, None)
    edit(os.path.join(target, name), code)


def forge(source, target, code):
    header, data = read_weights(source)
    metadata = header.pop("__metadata__")
    key = next(k for k in metadata if k in ("vlmp.calibration", "vlmp.reference"))
    document = json.loads(metadata[key])
    tensors = {name: [t["dtype"], t["shape"], bytearray(data[slice(*t["data_offsets"])])]
               for name, t in header.items()}
    exec(code, {"d": document, "t": tensors, "struct": struct})  # pylint: disable=exec-used
    out, body = {}, b""
    for name, (dtype, shape, part) in tensors.items():
        out[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(part)]}
        body += bytes(part)
    lines = "".join("%s %s %s %s\n" % (name, t[0], ",".join(map(str, t[1])), sha256(t[2]))
                    for name, t in sorted(tensors.items()))
    zeros = "0" * 64
    out["__metadata__"] = {key: json.dumps(document), "vlmp.header": zeros, "vlmp.digest": sha256(lines.encode()),
                           "vlmp.tensors": json.dumps({name: {"sha256": sha256(t[2])}
                                                       for name, t in tensors.items()})}
    text = json.dumps(out, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = struct.pack("<Q", len(text)) + text
    sealed = head.replace(b'"vlmp.header":"' + zeros.encode(), b'"vlmp.header":"' + sha256(head).encode())
    with open(target, "wb") as file:
        file.write(sealed + body)


if __name__ == "__main__":
    {"pad": pad, "json": change_json, "forge": forge}[sys.argv[1]](*sys.argv[2:])
