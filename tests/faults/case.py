"""What a row of the fault table works with: copies of a tiny model, the programs, what they said."""
import json
import os
import re
import shutil
import struct
import subprocess
import sys

ROOT = os.environ["VLMP_ROOT"]
TOOLS = os.environ["VLMP_TOOLS"]
SOURCE = os.path.join(ROOT, "tests", "golden", "models", "llava-llama")
DEMO = os.path.join(ROOT, "demo", "model")
PICTURES = os.path.join(ROOT, "demo", "calib", "images")
SECONDS = 60  # for one program: none of these inputs is large

sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
from bad_files import chunk, find, noise_rows, png, read_weights, write, write_weights  # noqa: E402,F401

ROWS = []  # (id, fault, expected, check or None, why there is none)


def row(name, fault, expected):
    def add(check):
        ROWS.append((name, fault, expected, check, None))
        return check
    return add


def later(name, fault, expected, why):
    """A row about something that vlmpack does not have."""
    ROWS.append((name, fault, expected, None, why))


class Wrong(Exception):
    """A program did something else than the row says."""


def read(path):
    with open(path, "rb") as file:
        return file.read()


def raw_weights(header, data=b""):
    """A safetensors file with this header text, padded with nothing."""
    header = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(header)) + header + data


class Case:
    """One row's run, in an empty current folder."""

    def __init__(self):
        self.seen = []  # (exit status, message), a run each

    # --- inputs ---------------------------------------------------------------------------------

    @staticmethod
    def model(name="model", source=SOURCE):
        """A fresh copy of the tiny model."""
        shutil.rmtree(name, ignore_errors=True)
        shutil.copytree(source, name)
        os.chmod(name, 0o755)
        for entry in os.listdir(name):
            os.chmod(os.path.join(name, entry), 0o644)
        return name

    def weights(self, change, name="model", source=SOURCE):
        """A model whose weight file went through change(header, data); what it returns, if anything, is
        the header's text or the data."""
        self.model(name, source)
        path = os.path.join(name, "model.safetensors")
        header, data = read_weights(path)
        data = bytearray(data)
        changed = change(header, data)
        text = changed if isinstance(changed, str) else None
        write_weights(path, header, changed if isinstance(changed, (bytes, bytearray)) else data, text)
        return name

    def weight_file(self, content, name="model"):
        """A model whose weight file has this content."""
        self.model(name)
        write(os.path.join(name, "model.safetensors"), content)
        return name

    def json(self, file, change, name="model", source=SOURCE):
        """A model one of whose JSON files went through change(document)."""
        self.model(name, source)
        path = os.path.join(name, file)
        document = json.loads(read(path))
        change(document)
        write(path, json.dumps(document).encode())
        return name

    def config(self, change, name="model"):
        return self.json("config.json", change, name)

    def text(self, file, content, name="model"):
        self.model(name)
        write(os.path.join(name, file), content if isinstance(content, bytes) else content.encode())
        return name

    @staticmethod
    def data(*lines, name="data.jsonl"):
        """A JSONL file beside good.png; lines are objects or text."""
        shutil.copyfile(os.path.join(PICTURES, "0000.png"), "good.png")
        with open(name, "wb") as file:
            for line in lines:
                line = line if isinstance(line, (bytes, str)) else json.dumps(line)
                file.write((line.encode() if isinstance(line, str) else line) + b"\n")
        return name

    @staticmethod
    def sample(image="good.png", prompt="Describe the picture.", answers=("a cat",), **more):
        return dict(more, image=image, prompt=prompt, answers=list(answers))

    # --- programs -------------------------------------------------------------------------------

    def run(self, tool, *arguments, **options):
        """Runs a program; its exit status, standard output and error."""
        options.setdefault("env", dict(os.environ, NO_COLOR="1", LC_ALL="C.UTF-8"))
        try:
            done = subprocess.run([os.path.join(TOOLS, "vlm-" + tool)] + [str(a) for a in arguments],
                                  stdin=subprocess.DEVNULL, stdout=options.pop("stdout", subprocess.PIPE),
                                  stderr=subprocess.PIPE, timeout=SECONDS, check=False, **options)
        except subprocess.TimeoutExpired:
            raise Wrong("vlm-%s %s: no end after %d s" % (tool, " ".join(map(str, arguments)), SECONDS))
        errors = [line for line in done.stderr.decode("utf-8", "replace").splitlines()
                  if ": error: " in line]
        self.seen.append((done.returncode, errors[0] if errors else ""))
        return done, errors

    def refused(self, pattern, tool, *arguments, code=4, **options):
        """The program exits with the code and one message that matches, and leaves nothing."""
        before = set(os.listdir("."))
        done, errors = self.run(tool, *arguments, **options)
        what = "vlm-%s %s" % (tool, " ".join(map(str, arguments)))[:200]
        if done.returncode != code:
            raise Wrong("exit %d instead of %d: %s: %s" % (done.returncode, code, what, errors[:1]))
        if len(errors) != 1:
            raise Wrong("%d error messages: %s" % (len(errors), what))
        if not re.search(pattern, errors[0]):
            raise Wrong("the message does not match '%s': %s" % (pattern, errors[0][:300]))
        if re.search("[\x00-\x08\x0b-\x1f\x7f]", errors[0]):
            raise Wrong("control characters in a message: %r" % errors[0][:300])
        left = set(os.listdir(".")) - before
        if left:
            raise Wrong("left behind: %s: %s" % (sorted(left), what))

    def accepted(self, tool, *arguments, warns=None, **options):
        """The program exits with 0; warns: a pattern of what it says on standard error."""
        done, errors = self.run(tool, *arguments, **options)
        what = "vlm-%s %s" % (tool, " ".join(map(str, arguments)))[:200]
        if done.returncode != 0:
            raise Wrong("exit %d instead of 0: %s: %s" % (done.returncode, what, errors[:1]))
        said = done.stderr.decode("utf-8", "replace")
        if warns is not None and not re.search(warns, said):
            raise Wrong("no notice that matches '%s': %s: %s" % (warns, what, said[-300:]))
        return done

    def refuses_model(self, pattern, name="model", tools=("quantize",)):
        """Programs that read weights refuse a model folder."""
        for tool in tools:
            self.refused(pattern, tool, name, *{
                "quantize": ("--method", "rtn", "-o", "out.vlmp"),
                "calibrate": ("--data", self.data(self.sample()), "-o", "out.calib"),
                "run": ("--prompt", "x", "--max-new-tokens", "1"),
                "eval": ("--data", self.data(self.sample()), "--metrics", "ppl"),
                "inspect": (),
            }[tool])

    def accepts_model(self, name="model"):
        self.accepted("quantize", name, "--method", "rtn", "-o", "out.vlmp", "--force")
        self.accepted("inspect", "out.vlmp", "--verify")
        os.remove("out.vlmp")
