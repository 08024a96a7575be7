#!/usr/bin/env python3
"""Makes a changed copy of a model folder.

    change_model.py SOURCE TARGET CODE

CODE is Python over config, generation and tokenizer, the documents of the three JSON files (None: the
file is left out), and weights, the bytes of each tensor by name (bytearrays, whose length stays).
"""
import json
import os
import shutil
import sys

from bad_files import read_weights, write_weights

FILES = {"config": "config.json", "generation": "generation_config.json", "tokenizer": "tokenizer_config.json"}
WEIGHTS = "model.safetensors"


def main():
    source, target, code = sys.argv[1:]
    names = {}
    for name, file in FILES.items():
        with open(os.path.join(source, file), encoding="utf-8") as document:
            names[name] = json.load(document)
    header, data = read_weights(os.path.join(source, WEIGHTS))
    names["weights"] = {name: bytearray(data[slice(*header[name]["data_offsets"])])
                        for name in header if name != "__metadata__"}
    exec(code, names)  # of the test that calls this
    os.mkdir(target)
    for file in os.listdir(source):
        if file not in FILES.values() and file != WEIGHTS:
            shutil.copyfile(os.path.join(source, file), os.path.join(target, file))
    for name, file in FILES.items():
        if names[name] is not None:
            with open(os.path.join(target, file), "w", encoding="utf-8") as document:
                json.dump(names[name], document)
    entries, data = {}, b""
    for name in sorted(names["weights"], key=lambda n: header[n]["data_offsets"]):
        entries[name] = dict(header[name], data_offsets=[len(data), len(data) + len(names["weights"][name])])
        data += names["weights"][name]
    write_weights(os.path.join(target, WEIGHTS), entries, data)


if __name__ == "__main__":
    main()
