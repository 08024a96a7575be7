"""Rows E to I: numerics, files and processes, devices, servers, artifacts."""
import os
import resource
import shutil
import signal
import subprocess
import time

from case import DEMO, ROOT, TOOLS, Wrong, find, later, read, read_weights, row, write, write_weights

DATA = os.path.join(ROOT, "demo", "calib", "data.jsonl")
EVAL = os.path.join(ROOT, "demo", "eval", "data.jsonl")


def calibrated(case, model=DEMO, samples=16):
    case.accepted("calibrate", model, "--data", DATA, "--samples", samples, "-o", "c.calib", "-q")
    return "c.calib"


def gptq(*more, model=DEMO):
    return ["quantize", model, "--method", "gptq", "--calib", "c.calib", "-o", "out.vlmp"] + list(more)


@row("E1", "second moments that do not factor (a dead input channel, one sample)", "damped, recorded")
def _(case):
    calibrated(case, samples=1)
    done = case.accepted(*gptq("--json"))
    if b"unguarded" not in done.stdout:
        raise Wrong("one sample holds none out, but nothing is called unguarded")


@row("E2", "a site without rows", "refused before work")
def _(case):
    data = case.data(*[{"prompt": "Say %d." % n, "answers": ["word %d" % n]} for n in range(10)])
    case.accepted("calibrate", DEMO, "--data", data, "-o", "c.calib", "-q")
    for component in ("vision_encoder", "projection"):
        for scheme in ("gptq_4bit", "awq_4bit"):
            write("recipe.json", ('{"%s": "%s", "default": null}' % (component, scheme)).encode())
            case.refused("(vision|projector|picture)", "quantize", DEMO, "--recipe", "recipe.json", "--calib",
                         "c.calib", "-o", "out.vlmp")


@row("E3", "infinite activations", "stops at the first layer, named")
def _(case):
    def huge(header, data):
        for ending in ("layers.1.mlp.up_proj.weight", "layers.1.mlp.down_proj.weight"):
            begin, end = header[find(header, ending)]["data_offsets"]
            data[begin:end] = b"\x99\x76\x96\x7e" * ((end - begin) // 4)  # 1e38
        return data
    case.weights(huge)
    data = case.data(case.sample(), case.sample(prompt="Why?"))
    for command in (["run", "model", "--prompt", "x"], ["calibrate", "model", "--data", data, "-o", "out.calib"],
                    ["eval", "model", "--data", data, "--metrics", "ppl"],
                    ["eval", "model", "--data", data, "--metrics", "bleu"]):
        case.refused("text.layers.1", *command)


@row("E4", "AWQ search whose best scale is none", "kept unscaled; what is scaled is recorded")
def _(case):
    calibrated(case)
    case.accepted("quantize", DEMO, "--method", "awq", "--calib", "c.calib", "-o", "out.vlmp")
    if '"folded"' not in read_weights("out.vlmp")[0]["__metadata__"]["vlmp.decisions"]:
        raise Wrong("the packed file does not say what was folded")


@row("E5", "scale beyond half precision", "refused, linear named")
def _(case):
    def large(header, data):
        begin, end = header[find(header, "layers.0.self_attn.q_proj.weight")]["data_offsets"]
        data[begin:end] = b"\x4a\x71" * ((end - begin) // 2)  # 1e30 in BF16
        return data
    case.weights(large, source=DEMO)
    case.refuses_model("text.layers.0.attn.q")


later("E6", "permutation (g_idx) out of range when GPTQ is read", "refused", "reading GPTQ folders is an open issue")


@row("E7", "damage above a limit", "a gate fails, exit 3")
def _(case):
    case.accepted("quantize", DEMO, "--method", "rtn", "-o", "out.vlmp")
    done, _ = case.run("eval", "out.vlmp", "--reference", DEMO, "--data", EVAL, "--samples", "4", "--metrics", "kl",
                       "--gate", "kl.mean<=1e-9")
    if done.returncode != 3:
        raise Wrong("exit %d instead of 3" % done.returncode)


@row("E8", "a packed file with another bit", "refused by its hash, tensor named")
def _(case):
    case.accepted("quantize", DEMO, "--method", "rtn", "-o", "packed.vlmp")
    header, data = read_weights("packed.vlmp")
    size = len(read("packed.vlmp"))
    for ending in ("layers.2.mlp.up.codes", "layers.2.mlp.up.scales", "text.embed.weight", "norm.weight"):
        content = bytearray(read("packed.vlmp"))
        content[size - len(data) + header[find(header, ending)]["data_offsets"][0]] ^= 4
        write("flipped.vlmp", content)
        case.refused("flipped.vlmp.*SHA-256", "inspect", "flipped.vlmp", "--verify")


@row("E9", "logits that are not finite", "refused, no empty answer with exit 0")
def _(case):
    def huge(header, data):
        begin, end = header[find(header, "lm_head.weight")]["data_offsets"]
        data[begin:end] = b"\x99\x76\x96\x7e" * ((end - begin) // 4)
        return data
    case.weights(huge)
    data = case.data(case.sample())
    case.refused("(finite|infinity|NaN)", "run", "model", "--prompt", "x")
    case.refused("(finite|infinity|NaN)", "eval", "model", "--data", data, "--metrics", "ppl")


@row("E10", "reference of another prompt, template, model or data", "refused")
def _(case):
    case.accepted("eval", DEMO, "--reference", DEMO, "--data", EVAL, "--samples", "3", "--metrics", "kl",
                  "--save-reference", "r.ref")
    case.refused("r.ref", "eval", DEMO, "--reference", "r.ref", "--data", EVAL, "--samples", "4", "--metrics", "kl")
    case.refused("r.ref", "eval", DEMO, "--reference", "r.ref", "--data", DATA, "--samples", "3", "--metrics", "kl")


def start(*arguments, **model):
    """A run of gptq in the background, some blocks done: its journal has grown."""
    process = subprocess.Popen([os.path.join(TOOLS, "vlm-quantize")] + gptq(*arguments, **model)[1:],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None and not any(
            name.endswith(".journal") and os.stat(name).st_size > 300000 for name in os.listdir(".")):
        time.sleep(0.005)
    return process


def limited(size):
    return lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))


@row("F1", "disk full", "exit 1, nothing half-written; the journal resumes")
def _(case):
    calibrated(case)
    done, errors = case.run(*gptq(), preexec_fn=limited(1 << 20))
    if done.returncode != 1 or len(errors) != 1:
        raise Wrong("exit %d: %s" % (done.returncode, errors))
    if os.path.exists("out.vlmp"):
        raise Wrong("a file under the final name")
    case.accepted(*gptq("--resume"))


@row("F2", "output exists, is a folder, is the input", "refused without --force; always")
def _(case):
    case.model()
    write("out.vlmp", b"x")
    case.refused("out.vlmp.*--force", "quantize", "model", "--method", "rtn", "-o", "out.vlmp", code=2)
    os.mkdir("folder")
    for options in ((), ("--force",)):
        case.refused("folder", "quantize", "model", "--method", "rtn", "-o", "folder", *options, code=2)
    for special in ("fifo",):
        os.mkfifo(special)
        case.refused(special, "quantize", "model", "--method", "rtn", "-o", special, "--force", code=2)


@row("F3", "no write permission, name too long, no such folder", "exit 1 or 2 before work, in words")
def _(case):
    case.model()
    for path in ("x" * 300 + ".vlmp", "/proc/out.vlmp", "missing/out.vlmp"):
        done, errors = case.run("quantize", "model", "--method", "rtn", "-o", path)
        if done.returncode not in (1, 2) or len(errors) != 1:
            raise Wrong("exit %d: %s" % (done.returncode, errors))


@row("F4", "kill -9", "no file under the final name; resumed with the same bytes")
def _(case):
    calibrated(case)
    case.accepted(*gptq())
    os.rename("out.vlmp", "whole.vlmp")
    process = start()
    process.kill()
    process.communicate()
    if os.path.exists("out.vlmp"):
        raise Wrong("ended before the kill")
    case.accepted(*gptq("--resume"))
    if read("out.vlmp") != read("whole.vlmp"):
        raise Wrong("other bytes after --resume")


@row("F5", "SIGINT, SIGTERM; closed pipe", "saved, 130 and 143; quiet end")
def _(case):
    calibrated(case)
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        for name in os.listdir("."):
            if name.startswith("out.vlmp"):
                os.remove(name)
        process = start()
        process.send_signal(number)
        said = process.communicate()[1].decode()
        case.seen.append((process.returncode, said.strip().splitlines()[-1]))
        if process.returncode != status or "--resume" not in said:
            raise Wrong("exit %d instead of %d: %s" % (process.returncode, status, said[-200:]))


@row("F6", "two runs to one output", "the second refused")
def _(case):
    calibrated(case)
    process = start()
    try:
        done, errors = case.run(*gptq("--force"))
        if process.poll() is None and (done.returncode == 0 or len(errors) != 1):
            raise Wrong("exit %d: %s" % (done.returncode, errors))
    finally:
        process.communicate()


def interrupted(case, *options):
    """Leaves an unfinished journal behind."""
    calibrated(case)
    process = start(*options)
    process.terminate()
    process.communicate()
    if process.returncode != 143:
        raise Wrong("ended before it was interrupted")
    return next(name for name in os.listdir(".") if name.endswith(".journal"))


@row("F7", "journal damaged, cut, of another recipe", "valid part used; refused with the field")
def _(case):
    journal = interrupted(case)
    content = read(journal)
    case.refused("(group|recipe|scheme|bits)", *gptq("--resume", "--group", "64"))
    for change in (content[:-7], content[:len(content) // 2], content[:-100] + b"x" * 100):
        write(journal, change)
        case.accepted(*gptq("--resume"))
        os.remove("out.vlmp")
        for name in os.listdir("."):
            if name.startswith("out.vlmp"):
                os.remove(name)
    write(journal, b"no journal at all")
    case.refused("journal", *gptq("--resume"))


@row("F8", "inputs changed before --resume", "refused, what changed is named")
def _(case):
    shutil.copytree(DEMO, "model")
    calibrated(case, "model")
    process = start(model="model")
    process.terminate()
    process.communicate()
    header, data = read_weights("model/model.safetensors")
    data = bytearray(data)
    data[header[find(header, "layers.3.self_attn.k_proj.weight")]["data_offsets"][0]] ^= 1
    write_weights("model/model.safetensors", header, data)
    done, errors = case.run(*gptq("--resume", model="model"))
    if done.returncode != 4 or len(errors) != 1:
        raise Wrong("exit %d: %s" % (done.returncode, errors))


@row("F9", "locale with a decimal comma, odd TZ", "same output")
def _(case):
    outputs = []
    for extra in ({}, {"LC_ALL": "de_DE.UTF-8", "TZ": "nowhere"}, {"LC_ALL": "C", "LANG": "tr_TR.UTF-8"}):
        done = case.accepted("eval", DEMO, "--data", EVAL, "--samples", "2", "--metrics", "ppl", "-q",
                             env=dict(os.environ, NO_COLOR="1", **extra))
        outputs.append(b"\n".join(line.split(b"MB")[0] for line in done.stdout.split(b"\n")))
    if b"," in outputs[1].split(b"\n")[2]:
        raise Wrong("a decimal comma: %r" % outputs[1])


@row("F10", "standard output full or closed", "exit 1 or quiet end")
def _(case):
    with open("/dev/full", "wb") as full:
        case.refused("standard output", "eval", DEMO, "--data", EVAL, "--samples", "2", "--metrics", "ppl", "--json",
                     code=1, stdout=full)
    pipe = subprocess.run(["bash", "-c", "'%s' '%s' | head -1" % (os.path.join(TOOLS, "vlm-inspect"), DEMO)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    if pipe.returncode != 0:
        raise Wrong("exit %d into a closed pipe" % pipe.returncode)


@row("F11", "output on another file system than the temporary folder", "written")
def _(case):
    if not os.path.isdir("/dev/shm"):
        raise Wrong("no second file system here")
    path = "/dev/shm/vlmp-%d.vlmp" % os.getpid()
    try:
        case.accepted("quantize", case.model(), "--method", "rtn", "-o", path, "--work", ".")
    finally:
        for left in (path, path + ".run.json"):
            if os.path.exists(left):
                os.remove(left)


@row("F12", "permissions of outputs", "0666 less umask")
def _(case):
    for mask, mode in ((0o022, 0o644), (0o077, 0o600)):
        case.accepted("quantize", case.model(), "--method", "rtn", "-o", "out.vlmp", "--force",
                      preexec_fn=lambda m=mask: os.umask(m))
        found = os.stat("out.vlmp").st_mode & 0o777
        if found != mode:
            raise Wrong("mode %o instead of %o" % (found, mode))


@row("G1", "no GPU, no driver", "with --device cuda exit 1, with auto the CPU")
def _(case):
    case.refused("cuda", "run", case.model(), "--prompt", "x", "--device", "cuda", code=1)
    case.accepted("run", "model", "--prompt", "x", "--max-new-tokens", "1", "--device", "auto")


for one in (("G2", "too little device memory", "both numbers"), ("G3", "device lost", "exit 1"),
            ("G6", "several devices, odd CUDA_VISIBLE_DEVICES", "said")):
    later(*one, "no device; on the emulated one by tests/emu/test_cuda.c")
later("G5", "cuBLAS or cuSOLVER fails", "named", "neither is used")


@row("G4", "host memory too small", "exit 1, out of memory")
def _(case):
    case.data()
    for limit in (24, 40, 80, 160):
        done, errors = case.run("run", DEMO, "--image", "good.png", "--prompt", "x", "--max-new-tokens", "1",
                                preexec_fn=lambda n=limit: resource.setrlimit(resource.RLIMIT_AS, (n << 20, n << 20)))
        if done.returncode not in (0, 1, 127):  # 127: not even the loader found room
            raise Wrong("exit %d under %d MB: %s" % (done.returncode, limit, errors))
        if done.returncode == 1 and not (errors and "memory" in errors[0]):
            raise Wrong("under %d MB: %s" % (limit, done.stderr[-200:]))


for one in (("H1", "oversized bodies, keys, depth, slow senders", "413, 400, 408"),
            ("H2", "numbers out of range in a request", "400"), ("H3", "pictures as URL, bombs", "400"),
            ("H4", "client leaves in the stream", "cancelled"), ("H5", "overload", "429, 503"),
            ("H6", "cache keys of different pictures or tenants", "never shared"), ("H7", "wrong key", "401"),
            ("H8", "texts of errors", "fixed"), ("H9", "SIGTERM under load", "drained"),
            ("H10", "reload to a broken folder", "the old model serves"),
            ("H11", "stop strings and UTF-8 across events", "whole characters")):
    later(*one, "there is no server")


@row("I1", "a bit flipped, a file cut", "refused by --verify, place named")
def _(case):
    case.accepted("quantize", case.model(), "--method", "rtn", "-o", "packed.vlmp")
    content = read("packed.vlmp")
    for at in (4, 200, len(content) // 2, len(content) - 1):
        write("bad.vlmp", content[:at] + bytes([content[at] ^ 1]) + content[at + 1:])
        case.refused("bad.vlmp", "inspect", "bad.vlmp", "--verify")
    for cut in (0, 8, 100, len(content) - 1):
        write("bad.vlmp", content[:cut])
        case.refused("bad.vlmp", "inspect", "bad.vlmp", "--verify")


for one in (("I2", "signed bundles", "as their vectors say"), ("I3", "emitted YAML with odd names", "escaped"),
            ("I4", "engine outside the tested range", "said")):
    later(*one, "exports are an open issue")
