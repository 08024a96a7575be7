#!/usr/bin/env python3
"""Checks what CONTRIBUTING.md says about form and a program can see.

    scripts/check-style.py files   [ROOT]        length of files and lines, tabs, white space, assembly
    scripts/check-style.py headers ROOT CC...    every header compiles alone, with this compiler
    scripts/check-style.py symbols FOLDER        every global symbol of the libraries below starts with vlmp_

Exit 0: nothing found; 1: faults, one a line.
"""
import os
import re
import subprocess
import sys
import tempfile

FOLDERS = ("src", "kernels", "formats", "tools", "tests", "scripts")
C_LIKE = (".c", ".h", ".cpp", ".cu", ".cuh")
SOURCES = C_LIKE + (".py", ".sh")
FILE_WISH, FILE_LIMIT, LINE_LIMIT = 500, 600, 100
GENERATED = ("unicode_tables.c",)  # tables: long by nature
PREFIXES = ("vlmp_",)
ASSEMBLY = re.compile(r"\b(__asm__|__asm|asm)\s*(volatile|__volatile__|goto|inline)?\s*\(")
# PTX stands behind one header, which says it twice; a switch of fibers is no C.
ASSEMBLERS = ("kernels/cuda/ptx.cuh", "tests/emu/fiber.cpp")
FOREIGN = ("libemu.a", "libcuda_emulated.a")  # the names of CUDA, and C++
COMPILER_MADE = ("__asan_", "__odr_asan", "__ubsan")


def sources(root, endings):
    for top in FOLDERS:
        for folder, folders, names in os.walk(os.path.join(root, top)):
            folders.sort()
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.join(folder, name)


def check_files(root):
    faults, count = [], 0
    for path in sources(root, SOURCES):
        count += 1
        name = os.path.relpath(path, root)
        with open(path, "rb") as file:
            data = file.read()
        try:
            lines = data.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            faults.append("%s: not UTF-8: %s" % (name, error))
            continue
        if lines[-1] != "":
            faults.append("%s: no newline at the end" % name)
        lines = lines[:-1]
        if os.path.basename(path) not in GENERATED:
            if len(lines) > FILE_LIMIT:
                faults.append("%s: %d lines, the limit is %d: split it by subject" %
                              (name, len(lines), FILE_LIMIT))
            elif len(lines) > FILE_WISH:
                print("%s: warning: %d lines, the wish is %d" % (name, len(lines), FILE_WISH))
        laid_out = False  # by hand, between clang-format off and on
        for number, line in enumerate(lines, 1):
            if line.startswith("/* clang-format "):
                laid_out = line.startswith("/* clang-format off")
            if len(line) > LINE_LIMIT and path.endswith(C_LIKE) and not laid_out:
                faults.append("%s:%d: %d columns, the limit is %d" % (name, number, len(line), LINE_LIMIT))
            if path.endswith(C_LIKE) and ASSEMBLY.search(line) and name not in ASSEMBLERS:
                faults.append("%s:%d: assembly; what PTX alone can say goes into %s" % (name, number, ASSEMBLERS[0]))
            if "\t" in line:
                faults.append("%s:%d: a tab" % (name, number))
            if line != line.rstrip():
                faults.append("%s:%d: white space at the end" % (name, number))
    if count == 0:
        faults.append("%s: no sources found" % root)
    print("%d files" % count)
    return faults


def check_headers(root, compiler):
    faults, count = [], 0
    with tempfile.TemporaryDirectory() as folder:
        unit = os.path.join(folder, "header.c")
        for path in sources(root, (".h",)):
            name = os.path.relpath(path, root)
            count += 1
            with open(unit, "w", encoding="utf-8") as file:
                # Twice: the guard works. The level names the copy of the vector kernels.
                file.write('#include "%s"\n#include "%s"\nextern int vlmp_nothing;\n' % (name, name))
            done = subprocess.run(
                compiler + ["-std=c17", "-D_GNU_SOURCE", "-DVLMP_LEVEL=test", "-DVLMP_SOURCE_ROOT=\"\"",
                            "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function",
                            "-Wno-psabi", "-I", root, unit],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if done.returncode != 0:
                faults.append("%s: does not compile alone:\n%s" % (name, done.stdout.rstrip()))
    if count == 0:
        faults.append("%s: no headers found" % root)
    print("%d headers" % count)
    return faults


def check_symbols(root):
    faults, count = [], 0
    for library in sorted(os.path.join(folder, name) for folder, _, names in os.walk(root)
                          for name in names if name.endswith(".a")):
        if os.path.basename(library) in FOREIGN:
            continue
        done = subprocess.run(["nm", "-g", "--defined-only", library], stdout=subprocess.PIPE, text=True,
                              check=True)
        for line in done.stdout.splitlines():
            parts = line.split()
            if len(parts) != 3:
                continue
            count += 1
            if not parts[2].startswith(PREFIXES + COMPILER_MADE):
                faults.append("%s: global symbol %s does not start with %s" %
                              (os.path.basename(library), parts[2], PREFIXES[0]))
    if count == 0:
        faults.append("no symbols found")
    print("%d symbols" % count)
    return faults


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "files":
        faults = check_files(os.path.normpath(
            rest[0] if rest else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")))
    elif what == "headers" and len(rest) >= 2:
        faults = check_headers(os.path.normpath(rest[0]), rest[1:])
    elif what == "symbols" and len(rest) == 1:
        faults = check_symbols(rest[0])
    else:
        sys.exit(__doc__)
    for line in faults:
        print(line)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
