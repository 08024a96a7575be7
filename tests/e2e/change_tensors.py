"""Rewrites FOLDER/model.safetensors and FOLDER/config.json after a statement has changed them.

    change_tensors.py FOLDER STATEMENT

The statement sees t, a dict from a tensor's name to (type, shape, bytes), and c, the configuration.
"""
import json
import os
import struct
import sys


def main():
    folder, statement = sys.argv[1:]
    path, config = (os.path.join(folder, name) for name in ("model.safetensors", "config.json"))
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    with open(config, encoding="utf-8") as file:
        c = json.load(file)
    header.pop("__metadata__", None)
    t = {name: (e["dtype"], e["shape"], data[slice(*e["data_offsets"])]) for name, e in header.items()}
    exec(statement, {"t": t, "c": c})  # pylint: disable=exec-used
    header, out = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, content) in t.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(out), len(out) + len(content)]}
        out += content
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + out)
    with open(config, "w", encoding="utf-8") as file:
        json.dump(c, file)


if __name__ == "__main__":
    main()
