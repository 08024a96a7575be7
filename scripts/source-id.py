"""Writes a C file with the SHA-256 of what computes: the sources, and how they are compiled.

    source-id.py ROOT OUT.c DEPFILE COMPILER

What a program has measured and kept may be used by another one of the same sources.
"""
import hashlib
import pathlib
import sys

FOLDERS = ("src", "kernels", "formats")


def main():
    root, out, depfile = map(pathlib.Path, sys.argv[1:4])
    files = sorted(f for d in FOLDERS for f in (root / d).rglob("*") if f.suffix in (".c", ".h", ".cu", ".cuh", ".build"))
    files += sorted(root.glob("tools/sensitivity*.[ch]"))
    digest = hashlib.sha256(sys.argv[4].encode())
    for f in files:
        digest.update(f"{f.relative_to(root)} {f.stat().st_size}\n".encode())
        digest.update(f.read_bytes())
    out.write_text('#include "tools/source_id.h"\n\n'
                   f'const char *vlmp_source_id(void)\n{{\n    return "{digest.hexdigest()}";\n}}\n')
    depfile.write_text(f"{out}: " + " ".join(str(f).replace(" ", "\\ ") for f in files) + "\n")


main()
