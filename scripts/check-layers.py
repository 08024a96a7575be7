#!/usr/bin/env python3
"""Checks that every #include points downward in the table of layers.

    scripts/check-layers.py [ROOT]

Reads the C files below ROOT (default: this repository) and prints one line for each include that the
table does not allow. Exit 0: none; 1: some.
"""
import os
import re
import sys

# Folder: what its files may include besides their own folder. CONTRIBUTING.md shows the same table.
LAYERS = {
    "src/base": [],
    "kernels": ["src/base"],
    "src/store": ["src/base"],
    "src/text/unicode": ["src/base"],
    "src/text/template": ["src/base", "src/store", "src/text/unicode"],
    "src/text": ["src/base", "src/store", "src/text/unicode", "src/text/template"],
    "src/picture": ["src/base", "src/store"],
    "src/model": ["src/base", "kernels", "src/store", "src/picture"],
    "formats": ["src/base", "src/store", "src/text", "src/picture", "src/model"],
    "src/flow": ["src/base", "kernels", "src/store", "src/text", "src/picture", "src/model"],
    "src/calib": ["src/base", "kernels", "src/store", "src/text/unicode", "src/model", "src/flow"],
    "src/quant/scheme": ["src/base", "kernels", "src/store", "src/model"],
    "src/quant/method": ["src/base", "kernels", "src/quant/scheme"],
    "src/quant/run": ["src/base", "kernels", "src/store", "src/model", "src/flow", "src/calib", "src/quant/scheme",
                      "src/quant/method"],
    "src/plan": ["src/base", "kernels", "src/store", "src/picture", "src/model", "src/quant/scheme"],
    "src/runtime": ["src/base", "kernels", "src/store", "src/model", "src/flow"],
    "src/eval": ["src/base", "kernels", "src/store", "src/model", "src/flow", "src/runtime"],
    "src/budget": ["src/base", "kernels", "src/store", "src/model", "src/flow", "src/quant/scheme", "src/eval"],
    "tools": ["src/base", "kernels", "src/store", "src/text", "src/picture", "src/model", "formats", "src/flow",
              "src/calib", "src/quant/scheme", "src/quant/run", "src/plan", "src/runtime", "src/eval",
              "src/budget"],
    "tests": None,  # anything
}

# Header of a library: the one folder that wraps it. Nothing links BLAS: it is opened at run time.
LIBRARIES = {"openssl/": "src/base", "dlfcn": "kernels", "pcre2": "src/text", "png.h": "formats",
             "jpeglib": "formats", "jerror": "formats", "cblas": "no folder", "lapack": "no folder",
             "cmocka": "tests"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]*)"|<([^>\n]*)>)', re.MULTILINE)


def layer_of(path):
    """The deepest folder of the table that holds the path; a folder that is not in it, whole."""
    folder = os.path.dirname(path)
    while folder and folder not in LAYERS:
        folder = os.path.dirname(folder)
    return folder or os.path.dirname(path)


def fault(root, layer, ours, library):
    """Why a file of this layer may not have the include, or None."""
    if ours:
        target = layer_of(ours)
        if target not in LAYERS:
            return "is not a path from the root into a known folder"
        if not os.path.exists(os.path.join(root, ours)):
            return "does not exist"
        if target != layer and target not in LAYERS[layer]:
            return "points upward: %s may include %s" % (layer, ", ".join([layer] + LAYERS[layer]))
        return None
    for prefix, owner in LIBRARIES.items():
        if library.startswith(prefix) and layer != owner:
            return "belongs behind the interface of %s" % owner
    return None


def check(root):
    faults, files = [], 0
    for top in sorted({layer.split("/")[0] for layer in LAYERS}):
        for folder, folders, names in os.walk(os.path.join(root, top)):
            folders.sort()
            for name in sorted(names):
                if not name.endswith((".c", ".h", ".cu", ".cuh")):
                    continue
                path = os.path.relpath(os.path.join(folder, name), root)
                layer = layer_of(path)
                files += 1
                if layer not in LAYERS:
                    faults.append("%s: the folder is not in the table of layers" % path)
                    continue
                if LAYERS[layer] is None:
                    continue
                with open(os.path.join(root, path), encoding="utf-8") as file:
                    text = file.read()
                for match in INCLUDE.finditer(text):
                    ours, library = match.groups()
                    why = fault(root, layer, ours, library)
                    if why:
                        line = text.count("\n", 0, match.start()) + 1
                        faults.append("%s:%d: %s %s" % (path, line, ours or library, why))
    return faults, files


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    faults, files = check(os.path.normpath(root))
    if files == 0:
        faults.append("%s: no C files found" % root)
    for line in faults:
        print(line)
    print("%d files, %d includes against the layers" % (files, len(faults)))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
