#!/usr/bin/env python3
"""Every command, with each allocation and each call of the system failing in turn.

    torture.py TOOLS INJECT ROOT [--all | --places N | --sample N [--also FUNCTIONS]]
               [--case NAME] [--kind alloc|io]

TOOLS: folder of the programs; INJECT: the preloaded library (inject.c); ROOT: the source tree.
--all fails every call; --places N at most N calls of each place in the code (a place is a stack of
return addresses); --sample N (the default, 12) N calls a command and kind, drawn from the places by
--seed; --also adds one call of each place in the functions, which are separated by commas. A run
passes when

  * it ends with 0, and its results are those of an undisturbed run, or
  * it ends with 1, with exactly one error message, which says that memory was out or what the system
    said; every output is whole or absent, no temporary file is left.

Exit 0: all passed; 1: some did not, each with the place that failed.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

MEMORY = re.compile(r"out of memory|Cannot allocate memory|cannot start thread")
SYSTEM = re.compile(r"Input/output error|No space left|Interrupted system call|Cannot allocate memory|"
                    r"out of memory|standard output|became shorter")
VOLATILE = {"memory", "speed", "quantize_seconds", "seconds", "peak_rss_bytes", "ttft_ms", "decode_tps",
            "processor_flops"}


class Case:
    def __init__(self, name, command, outputs=(), inputs=(), documents=(), keep=()):
        self.name, self.command = name, command
        self.outputs = outputs      # compared byte by byte
        self.documents = documents  # hold times: they only have to be there
        self.inputs = inputs        # files that earlier cases wrote
        self.keep = keep            # may be left after a failure


def cases(root, work):
    golden = os.path.join(root, "tests/golden/models")
    model, other = golden + "/llava-llama", golden + "/next-qwen2"
    pictures = ["--image-root", golden + "/pictures"]
    calib, evaluation = golden + "/calib.jsonl", golden + "/eval.jsonl"
    quantize = ["vlm-quantize", model, "--group", "32", "--allow-fallbacks", "100", "-o", "o.vlmp"]
    packed = dict(outputs=["o.vlmp"], documents=["o.vlmp.run.json"],
                  keep=["o.vlmp.journal", "o.vlmp.border-0", "o.vlmp.border-1"])
    scored = ["--metrics", "ppl,kl,bleu,cider", "--samples", "3", "--max-new-tokens", "3", "--json"]
    return [
        Case("calibrate", ["vlm-calibrate", model, "--data", calib, *pictures, "-o", "o.calib",
                           "--samples", "9", "--json"], outputs=["o.calib"]),
        Case("quantize-rtn", [*quantize, "--method", "rtn"], **packed),
        Case("quantize-gptq", [*quantize, "--method", "gptq", "--calib", "i.calib"],
             inputs=["i.calib"], **packed),
        Case("quantize-awq", [*quantize, "--method", "awq", "--calib", "i.calib"],
             inputs=["i.calib"], **packed),
        Case("quantize-both", [*quantize, "--method", "awq+gptq", "--calib", "i.calib", "--json"],
             inputs=["i.calib"], **packed),
        Case("quantize-dry", ["vlm-quantize", model, "--method", "int8", "--dry-run", "--json"]),
        Case("eval", ["vlm-eval", "i.vlmp", "--reference", model, "--data", evaluation, *pictures,
                      *scored, "--report", "o.html", "--junit", "o.xml", "--summary", "o.md",
                      "--save-reference", "o.ref", "--gate", "kl.mean<=9"],
             inputs=["i.vlmp"], outputs=["o.ref"], documents=["o.html", "o.xml", "o.md"]),
        Case("eval-saved", ["vlm-eval", "i.vlmp", "--reference", "i.ref", "--data", evaluation, *pictures,
                            *scored], inputs=["i.vlmp", "i.ref"]),
        Case("run", ["vlm-run", "i.vlmp", "--image", golden + "/pictures/rotated.jpg", "--prompt",
                     "Describe it.", "--max-new-tokens", "4"], inputs=["i.vlmp"]),
        Case("run-tiles", ["vlm-run", other, "--image", golden + "/pictures/wide.png", "--prompt",
                           "Describe it.", "--max-new-tokens", "4", "--json", "--threads", "2"]),
        Case("export", ["vlm-export", "i.vlmp", "--format", "compressed-tensors", "--for", "transformers",
                        "--shard-size", "100K", "-o", "o"], inputs=["i.vlmp"], outputs=["o"]),
        Case("export-imatrix", ["vlm-export", model, "--calib", "i.calib", "--imatrix", "o.gguf", "--json"],
             inputs=["i.calib"], outputs=["o.gguf"]),
        Case("inspect", ["vlm-inspect", "i.vlmp", "--verify"], inputs=["i.vlmp"]),
        Case("inspect-json", ["vlm-inspect", "i.vlmp", "--json"], inputs=["i.vlmp"]),
        Case("inspect-explain", ["vlm-inspect", "i.vlmp", "--explain", "text.layers.0.mlp.down"], inputs=["i.vlmp"]),
        Case("inspect-diff", ["vlm-inspect", "i.vlmp", "--diff", model, "--json"], inputs=["i.vlmp"]),
        Case("inspect-folder", ["vlm-inspect", model]),
        Case("plan", ["vlm-plan", model, "--json", "--memory", "1G", "--device-spec", "t4"]),
        Case("plan-config", ["vlm-plan", os.path.join(model, "config.json"), "--json"]),
        Case("inspect-import", ["vlm-inspect", os.path.join(root, "tests/golden/import/compressed-tensors")]),
        Case("inspect-gguf", ["vlm-inspect", os.path.join(root, "tests/golden/import/gguf"), "--verify"]),
        Case("inspect-original", ["vlm-inspect", work + "/original/pad"]),
        Case("inspect-calib", ["vlm-inspect", "i.calib"], inputs=["i.calib"]),
    ]


def stable(tree):
    if isinstance(tree, dict):
        return {key: stable(value) for key, value in tree.items() if key not in VOLATILE}
    return [stable(value) for value in tree] if isinstance(tree, list) else tree


def digest(path):
    """The hash of a file, or of a folder's names and files."""
    if os.path.isdir(path):
        return [(name, digest(os.path.join(path, name))) for name in sorted(os.listdir(path))]
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


class Bench:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.environment = {**os.environ, "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
        self.prefix = ["setarch", "-R"] if subprocess.run(
            ["setarch", "-R", "true"], stderr=subprocess.DEVNULL).returncode == 0 else []

    def run(self, case, fault=None):
        """Runs the case in a folder of its own; (status, stdout, stderr, files, log)."""
        folder = tempfile.mkdtemp(dir=self.work)
        log = os.path.join(self.work, os.path.basename(folder) + ".log")
        for name in case.inputs:
            os.symlink(os.path.join(self.work, name), os.path.join(folder, name))
        environment = dict(self.environment)
        if fault is not None:
            environment.update(VLMP_FAULT=fault, VLMP_FAULT_LOG=log)
        command = [os.path.join(self.options.tools, case.command[0]), *case.command[1:]]
        if "--threads" not in command:
            command += ["--threads", "1"]
        if fault is not None:
            command = ["env", "LD_PRELOAD=" + self.options.inject, *command]
        try:
            done = subprocess.run(self.prefix + command, cwd=folder, env=environment,
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
            status, out, err = done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            status, out, err = "no end", b"", ""
        files = {name: digest(os.path.join(folder, name)) for name in os.listdir(folder)
                 if name not in case.inputs}
        shutil.rmtree(folder)
        text = ""
        if os.path.exists(log):
            with open(log, encoding="utf-8", errors="replace") as file:
                text = file.read()
            os.remove(log)
        return status, out, err, files, text

    def result(self, case, out):
        if "--json" in case.command:
            return stable(json.loads(out)) if out.strip() else None
        return out

    def prepare(self):
        """Inputs of later cases: what undisturbed runs write."""
        root = self.options.root
        subprocess.run([sys.executable, root + "/tests/e2e/make_original.py", root + "/tests/golden/models",
                        self.work + "/original"], check=True)
        wanted = {"calibrate": ("o.calib", "i.calib"), "quantize-gptq": ("o.vlmp", "i.vlmp"),
                  "eval": ("o.ref", "i.ref")}
        for case in cases(self.options.root, self.work):
            if case.name not in wanted:
                continue
            made, name = wanted[case.name]
            folder = tempfile.mkdtemp(dir=self.work)
            for link in case.inputs:
                os.symlink(os.path.join(self.work, link), os.path.join(folder, link))
            command = [os.path.join(self.options.tools, case.command[0]), *case.command[1:]]
            subprocess.run(command + ["--threads", "1"], cwd=folder, env=self.environment, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            os.rename(os.path.join(folder, made), os.path.join(self.work, name))

    def judge(self, case, kind, base, got):
        """What is wrong with a disturbed run; None: nothing."""
        status, out, err, files, _ = got
        left = [name for name in files if name not in (*case.outputs, *case.documents, *case.keep)]
        if left:
            return "left behind: %s" % ", ".join(left)
        for name in case.outputs:
            if name in files and files[name] != base[3][name]:
                return "%s is not what it should be" % name
        if status == 0:
            warned = case.documents if ": warning: " in err else ()
            if any(name not in files and name not in warned for name in (*case.outputs, *case.documents)):
                return "exit 0 without an output"
            try:
                same = self.result(case, out) == self.result(case, base[1])
            except ValueError:
                same = False
            return None if same else "exit 0 with another result"
        if status != 1:
            return "exit %s" % status
        errors = [line for line in err.split("\n") if ": error: " in line]
        if len(errors) != 1:
            return "%d error messages" % len(errors)
        if not (MEMORY if kind == "alloc" else SYSTEM).search(errors[0]):
            return "the message does not say what failed"
        if "--json" in case.command and out:  # printed, and then a report could not be written
            try:
                whole = self.result(case, out) == self.result(case, base[1])
            except ValueError:
                whole = False
            return None if whole else "exit 1 with half a document"
        return None

    def numbers(self, case, log):
        """The calls to fail, from the log of a counting run."""
        places = {}
        for number, line in enumerate(log.split("\n")[:-1], 1):
            places.setdefault(line, []).append(number)
        if self.options.all:
            return sorted(n for numbers in places.values() for n in numbers)
        chance = random.Random(self.options.seed)
        if self.options.places:
            return sorted(n for numbers in places.values()
                          for n in chance.sample(numbers, min(len(numbers), self.options.places)))
        one_each = {line: chance.choice(numbers) for line, numbers in places.items()}
        drawn = chance.sample(sorted(one_each.values()), min(len(one_each), self.options.sample))
        also = set(self.options.also.split(","))
        within = functions(os.path.join(self.options.tools, case.command[0]),
                           {offset for line in one_each for offset in line.split()[2:]})
        return sorted({*drawn, *(number for line, number in one_each.items()
                                 if also.intersection(within[o] for o in line.split()[2:]))})


def functions(program, offsets):
    """The functions that the offsets in a program lie in."""
    offsets = sorted(offsets)
    found = subprocess.run(["addr2line", "-f", "-e", program], input="\n".join(offsets) + "\n",
                           capture_output=True, text=True, check=True)
    return dict(zip(offsets, found.stdout.split("\n")[::2]))


def place(tools, log):
    """The frames of the failing call as functions, where addr2line knows them."""
    words = log.split()
    frames = []
    for frame in words[2:10]:
        name, _, offset = frame.rpartition("+")
        path = os.path.join(tools, name)
        if os.path.exists(path):
            name = functions(path, [offset])[offset]
        frames.append(name)
    return "%s < %s" % (words[0], " < ".join(frames)) if words else ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tools")
    parser.add_argument("inject")
    parser.add_argument("root")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--places", type=int, default=0)
    parser.add_argument("--sample", type=int, default=12)
    parser.add_argument("--also", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--case", default="")
    parser.add_argument("--kind", default="")
    options = parser.parse_args()
    options.tools, options.root = os.path.abspath(options.tools), os.path.abspath(options.root)
    options.inject = os.path.abspath(options.inject)
    failures, runs = 0, 0
    base_folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", base_folder)) as work:
        bench = Bench(options, work)
        bench.prepare()
        for case in cases(options.root, work):
            if options.case and options.case != case.name:
                continue
            base = bench.run(case)
            if base[0] != 0:
                print("%s: the undisturbed run ends with %s: %s" % (case.name, base[0], base[2]))
                failures += 1
                continue
            for kind in ("alloc", "io"):
                if options.kind and options.kind != kind:
                    continue
                counted = bench.run(case, kind + ":0")[4]
                numbers = bench.numbers(case, counted)
                hows = ["fail", "on"] if kind == "alloc" else ["fail", "space", "short", "intr"]
                faults = ["%s:%d:%s" % (kind, n, how) for n in numbers for how in hows]
                seen = {}
                with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
                    for fault, got in zip(faults, pool.map(lambda f: bench.run(case, f), faults)):
                        runs += 1
                        if fault.endswith(":on") and re.search("ld-linux|libopenblas", got[4]):
                            continue  # what these do without any memory is theirs
                        wrong = bench.judge(case, kind, base, got)
                        if wrong is None:
                            continue
                        failures += 1
                        where = place(options.tools, got[4])
                        if seen.setdefault((wrong, where), 0) == 0:
                            errors = [line for line in got[2].split("\n") if "error" in line]
                            print("FAILED: %s, %s: %s\n    at %s\n    %s" %
                                  (case.name, fault, wrong, where, errors[0] if errors else ""))
                        seen[wrong, where] += 1
                print("%s, %s: %d calls, %d failed in turn" %
                      (case.name, kind, counted.count("\n"), len(numbers)), flush=True)
    print("%d runs, %d failures" % (runs, failures))
    return 0 if failures == 0 and runs > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
