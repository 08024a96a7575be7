#!/usr/bin/env python3
"""What the compiler says about CUDA kernels, without a GPU: registers, spills, shared memory, inner loops.

    scripts/cuda-numbers.py check  NVCC NUMBERS.json SOURCE...    compares with what the file holds
    scripts/cuda-numbers.py update NVCC NUMBERS.json SOURCE...    writes the file
    scripts/cuda-numbers.py show   NVCC NUMBERS.json SOURCE...    a table

NVCC: the compiler, "" where there is none; its flags are those of kernels/cuda/meson.build. Sources are named
from the root. ptxas gives registers, bytes of spills, of the stack and of shared memory. nvdisasm ($NVDISASM,
beside NVCC or in PATH) gives the inner loops that load or multiply: instructions, bytes that a lane loads from
global memory, of those in 16-byte loads, and tensor-core instructions of one turn; without it loops are not
compared.

"hot" in the file names kernels that products of few rows live on: threads of a block, and weights that a lane
meets in a turn of the longest loop. For them the table also has instructions per weight, branches that a turn
does not take included, and the bytes that all threads which an H100 holds ask for in a turn.

The same release of nvcc must give the same numbers. Another one may need a quarter more registers and
instructions, and no more spills. Exit 0: as expected; 1: not, one line each; 77: no nvcc.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
FAMILIES = ("80", "90a")
OTHER_RELEASE = 1.25  # registers and instructions that another compiler may take
FIELDS = ("registers", "spills", "stack", "shared")

ENTRY = re.compile(r"Compiling entry function '(\w+)'")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")
FUNCTION = re.compile(r"^\.text\.(\w+):")
LABEL = re.compile(r"^(\.L_\w+):")
INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:\{\s*)?(?:@!?U?P\w+\s+)?([A-Z][\w.]*)(.*)")
WIDTHS = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit("%s: exit %d\n%s" % (" ".join(command), done.returncode, done.stdout))
    return done.stdout


def release(nvcc):
    return run([nvcc, "--version"]).split("release ")[1].split(",")[0]


def disassembler(nvcc):
    beside = os.path.join(os.path.dirname(nvcc), "nvdisasm")
    for path in (os.environ.get("NVDISASM"), beside, shutil.which("nvdisasm")):
        if path and os.path.exists(path):
            return path
    return None


def read_ptxas(text):
    """{mangled name: fields} from what ptxas -v prints."""
    kernels, name = {}, None
    for line in text.splitlines():
        if ENTRY.search(line):
            name = ENTRY.search(line).group(1)
            kernels[name] = dict.fromkeys(FIELDS, 0)
        elif name and FRAME.search(line):
            stack, stores, loads = map(int, FRAME.search(line).groups())
            kernels[name].update(stack=stack, spills=stores + loads)
        elif name and USED.search(line):
            registers, shared = USED.search(line).groups()
            kernels[name].update(registers=int(registers), shared=int(shared or 0))
            name = None
    return kernels


def loops_of(body):
    """Inner loops of a function's lines of SASS: from a label back to which something jumps, to the jump, with no
    other such pair inside."""
    labels, jumps = {}, []
    for at, (label, opcode, rest) in enumerate(body):
        if label:
            labels[label] = at
        elif opcode.startswith("BRA"):
            target = re.search(r"`\((\.L_\w+)\)", rest)
            if target and target.group(1) in labels:
                jumps.append((labels[target.group(1)], at))
    found = []
    for start, end in jumps:
        if any(start <= s and e <= end and (s, e) != (start, end) for s, e in jumps):
            continue
        opcodes = [opcode for label, opcode, _ in body[start:end + 1] if not label]
        loads = [next((WIDTHS[part] for part in opcode.split(".") if part in WIDTHS), 4)
                 for opcode in opcodes if opcode.split(".")[0] in ("LDG", "LDGSTS")]
        mma = sum(opcode.split(".")[0] in ("HMMA", "IMMA", "HGMMA", "IGMMA") for opcode in opcodes)
        if loads or mma:
            found.append([len(opcodes), sum(loads), sum(n for n in loads if n == 16), mma])
    return sorted(found, reverse=True)


def read_sass(text):
    """{mangled name: its inner loops}."""
    bodies, body = {}, None
    for line in text.splitlines():
        function, label, instruction = FUNCTION.match(line), LABEL.match(line), INSTRUCTION.match(line)
        if function:
            body = bodies.setdefault(function.group(1), [])
        elif body is not None and label:
            body.append((label.group(1), "", ""))
        elif body is not None and instruction:
            body.append(("", instruction.group(1), instruction.group(2)))
    return {name: loops_of(body) for name, body in bodies.items()}


def plain(names):
    """Mangled names as a reader writes them, without types of arguments."""
    text = subprocess.run(["c++filt"] + names, stdout=subprocess.PIPE, text=True, check=True).stdout
    readable = [re.sub(r"^void |\(anonymous namespace\)::", "", line) for line in text.splitlines()]
    return dict(zip(names, (re.sub(r"\((?!anonymous).*", "", line) for line in readable)))


def measure(nvcc, disasm, source, family, folder):
    """{kernel: fields and loops} of one source for one family."""
    cubin = os.path.join(folder, "%s-%s.cubin" % (os.path.basename(source), family))
    kernels = read_ptxas(run([nvcc, "-std=c++17", "-O3", "--fmad=false", "-I", ROOT, "-arch=sm_" + family,
                              "-Xptxas", "-v", "-cubin", "-o", cubin, os.path.join(ROOT, source)]))
    if disasm:
        loops = read_sass(run([disasm, "-c", cubin]))
        for name, fields in kernels.items():
            fields["loops"] = loops.get(name, [])
    names = plain(sorted(kernels)) if kernels else {}
    return {"%s %s" % (os.path.basename(source), names[name]): kernels[name] for name in sorted(kernels)}


def measure_all(nvcc, sources):
    disasm, result = disassembler(nvcc), {"release": release(nvcc)}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        jobs = [(family, pool.submit(measure, nvcc, disasm, source, family, folder))
                for family in FAMILIES for source in sources]
        for family, job in jobs:
            result.setdefault(family, {}).update(job.result())
    return result, disasm is not None


def compare(expected, found, with_loops):
    faults, same = [], expected["release"] == found["release"]

    def differ(where, what, old, new):
        if new != old if same else new > old * (OTHER_RELEASE if what in ("registers", "instructions") else 1):
            faults.append("%s: %s %s, expected %s%s" % (where, what, new, old, "" if same else " or little more"))

    for family in FAMILIES:
        for name in sorted(set(expected[family]) | set(found[family])):
            where = "%s for %s" % (name, family)
            old, new = expected[family].get(name), found[family].get(name)
            if old is None or new is None:
                faults.append("%s: %s" % (where, "no numbers are kept" if old is None else "is no kernel any more"))
                continue
            for field in FIELDS:
                differ(where, field, old[field], new[field])
            if with_loops and same:
                differ(where, "inner loops (instructions, bytes loaded, by 16, mma)", old["loops"], new["loops"])
            elif with_loops:
                differ(where, "instructions", max([n[0] for n in old["loops"]], default=0),
                       max([n[0] for n in new["loops"]], default=0))
    return faults


def write(path, numbers):
    """One kernel a line, so that a change shows."""
    with open(path, "w", encoding="utf-8") as file:
        file.write('{\n"release": %s,\n"hot": %s' % (json.dumps(numbers["release"]), json.dumps(numbers["hot"])))
        for family in FAMILIES:
            rows = ("%s: %s" % (json.dumps(name), json.dumps(fields)) for name, fields in numbers[family].items())
            file.write(',\n"%s": {\n%s\n}' % (family, ",\n".join(rows)))
        file.write("\n}\n")


def resident(fields, threads):
    """Threads that a multiprocessor of an H100 holds: registers go to warps by 256, a block takes 1 KiB more."""
    warps = 65536 // (-(-fields["registers"] * 32 // 256) * 256)
    blocks = min(warps // (threads // 32), 2048 // threads, 32, (228 << 10) // (fields["shared"] + 1024))
    return blocks * threads


def show(numbers):
    for family in FAMILIES:
        for name, fields in numbers[family].items():
            print("%-4s %-60s %s" % (family, name, " ".join("%s %d" % (field, fields[field]) for field in FIELDS)))
            for instructions, loaded, by_16, mma in fields.get("loops", []):
                print("       a turn: %4d instructions, %3d bytes loaded, %3d by 16, %2d mma" %
                      (instructions, loaded, by_16, mma))
            hot = numbers["hot"].get(name)
            if hot and fields.get("loops"):
                instructions, loaded = fields["loops"][0][:2]
                print("       at most %.2f instructions a weight, %.1f MB asked for in a turn on 132 multiprocessors" %
                      (instructions / hot["weights"], resident(fields, hot["threads"]) * 132 * loaded / 1e6))


def main():
    if len(sys.argv) < 5 or sys.argv[1] not in ("check", "update", "show"):
        sys.exit(__doc__)
    what, nvcc, path, sources = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    if not nvcc:
        print("no nvcc: nothing to read registers and spills from")
        return 77
    expected = {"hot": {}}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            expected = json.load(file)
    numbers, with_loops = measure_all(nvcc, sources)
    numbers["hot"] = expected["hot"]
    if what == "show":
        show(numbers)
        return 0
    if what == "update":
        if not with_loops:
            sys.exit("no nvdisasm: set NVDISASM, the numbers of loops would be lost")
        write(path, numbers)
        return 0
    faults = compare(expected, numbers, with_loops)
    for line in faults:
        print(line)
    if faults:
        print("if this is meant: %s update %s" % (sys.argv[0], " ".join(sys.argv[2:])))
    if not with_loops:
        print("no nvdisasm: loops not compared")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
