#!/usr/bin/env python3
"""The checkers of form find planted faults, and nothing in a clean tree.

    tests/style/test_checkers.py SOURCE_ROOT CC...
"""
import os
import subprocess
import sys
import tempfile

ROOT, COMPILER = sys.argv[1], sys.argv[2:]
FAILED = []


def plant(root, files):
    for name, text in files.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


CLEAN = {
    "src/base/one.h": "#pragma once\nint vlmp_one(void);\n",
    "src/base/one.c": '#include "src/base/one.h"\n\nint vlmp_one(void) { return 1; }\n',
    "src/model/two.c": '#include <png_like.h>\n#include "src/base/one.h"\n',
    "tests/unit/test_one.c": '#include <cmocka.h>\n\n#include "src/model/two.c"\n',
}


def expect(what, arguments, files, message):
    """The checker says `message` about the clean tree with `files` added; None: it says nothing."""
    with tempfile.TemporaryDirectory() as root:
        plant(root, CLEAN)
        plant(root, files)
        command = [sys.executable, os.path.join(ROOT, "scripts", arguments[0])]
        command += [root if a == "ROOT" else os.path.join(root, a[5:]) if a.startswith("ROOT/") else a
                    for a in arguments[1:]]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
    good = done.returncode == (0 if message is None else 1) and (message is None or message in done.stdout)
    print("%s: %s" % ("ok" if good else "FAILED", what))
    if not good:
        FAILED.append(what)
        print("  expected %r, exit %d:\n%s" % (message, done.returncode, done.stdout))


def layers(what, files, message):
    expect(what, ["check-layers.py", "ROOT"], files, message)


def style(what, files, message):
    expect(what, ["check-style.py", "files", "ROOT"], files, message)


def headers(what, files, message):
    expect(what, ["check-style.py", "headers", "ROOT"] + COMPILER, files, message)


def symbols(what, name, message):
    with tempfile.TemporaryDirectory() as root:
        plant(root, {"x.c": "int %s(void);\nint %s(void) { return 1; }\n" % (name, name)})
        source, unit = os.path.join(root, "x.c"), os.path.join(root, "x.o")
        subprocess.run(COMPILER + ["-c", "-o", unit, source], check=True)
        subprocess.run(["ar", "rc", os.path.join(root, "libx.a"), unit], check=True)
        expect(what, ["check-style.py", "symbols", root], {}, message)


layers("clean layers", {}, None)
layers("an include upward", {"src/base/up.c": '#include "src/model/two.c"\n'},
       "src/base/up.c:1: src/model/two.c points upward")
layers("an include upward, spaced", {"kernels/up.c": '\n\n  #  include   "src/model/two.c"\n'},
       "kernels/up.c:3: src/model/two.c points upward")
layers("a sideways include", {"src/eval/side.c": '#include "formats/x.h"\n', "formats/x.h": "\n"},
       "src/eval/side.c:1: formats/x.h points upward")
layers("a relative include", {"src/base/rel.c": '#include "one.h"\n'}, "is not a path from the root")
layers("a missing include", {"src/model/no.c": '#include "src/base/none.h"\n'}, "does not exist")
layers("an unknown folder", {"src/extra/x.c": "\n"}, "not in the table")
layers("a library outside its folder", {"src/model/png.c": "#include <png.h>\n"}, "interface of formats")
layers("a linked BLAS", {"kernels/blas.c": "#include <cblas.h>\n"}, "interface of no folder")
style("clean files", {}, None)
style("a long line", {"src/base/long.c": "/* " + "x" * 100 + " */\n"}, "src/base/long.c:1: 106 columns")
style("a wide line of wide letters", {"src/base/wide.c": "/* " + "é" * 94 + " */\n"}, None)
style("a tab", {"src/base/tab.c": "\tint x;\n"}, "src/base/tab.c:1: a tab")
style("white space", {"tools/space.c": "int x; \n"}, "tools/space.c:1: white space at the end")
style("a long file", {"src/base/many.c": "int x;\n" * 601}, "601 lines, the limit is 600")
style("a file of 600 lines", {"src/base/many.c": "int x;\n" * 600}, None)
style("no newline", {"src/base/end.c": "int x;"}, "no newline at the end")
style("assembly in a kernel", {"kernels/cuda/rows.cu": "void f() {\n    asm volatile (\"nop;\");\n}\n"},
      "kernels/cuda/rows.cu:2: assembly")
style("assembly in C", {"src/base/fast.c": '__asm__("nop");\n'}, "src/base/fast.c:1: assembly")
style("assembly where it belongs", {"kernels/cuda/ptx.cuh": 'asm("nop;");\n'}, None)
headers("clean headers", {}, None)
headers("a header that leans on others", {"src/base/lean.h": "#pragma once\nsize_t vlmp_n(void);\n"},
        "src/base/lean.h: does not compile alone")
headers("a header without a guard", {"src/base/bare.h": "typedef struct { int x; } vlmp_t;\n"},
        "src/base/bare.h: does not compile alone")
symbols("clean symbols", "vlmp_x", None)
symbols("a symbol without the prefix", "loose", "libx.a: global symbol loose")
sys.exit(1 if FAILED else 0)
