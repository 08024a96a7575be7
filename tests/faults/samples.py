"""Rows C and D: pictures, data sets, recipes."""
import json
import os
import shutil
import struct
import zlib

from case import DEMO, PICTURES, chunk, png, read, row, write


def flat(width, height, color=b"\x40\x80\xc0"):
    return (b"\0" + color * width) * height


def header(width, height, depth=8, kind=2, interlace=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace))


def assemble(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def refuses_picture(case, content, pattern, name="x.png"):
    """Programs that read pictures refuse this one by name."""
    write(name, content)
    case.refused(name + ": .*" + pattern, "run", DEMO, "--image", name, "--prompt", "x")
    case.refused(name + ": .*" + pattern, "calibrate", DEMO, "--data", case.data(case.sample(name)), "-o",
                 "out.calib")


def accepts_picture(case, content, name="x.png", **options):
    write(name, content)
    return case.accepted("run", DEMO, "--image", name, "--prompt", "x", "--max-new-tokens", "1", **options)


@row("C1", "PNG of 100 000 x 100 000 zeros in a small file", "refused from its header")
def _(case):
    refuses_picture(case, png(100000, 100000, b"\0" * 100000), "100000")
    refuses_picture(case, png(0x7fffffff, 1, b""), "")


@row("C2", "PNG with huge text, profile, 10 000 chunks", "chunks skipped")
def _(case):
    image = chunk(b"IDAT", zlib.compress(flat(8, 8)))
    end = chunk(b"IEND", b"")
    accepts_picture(case, assemble(header(8, 8), chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 50_000_000)), image, end))
    accepts_picture(case, assemble(header(8, 8), chunk(b"iCCP", b"a\0\0" + zlib.compress(b"\0" * 5_000_000)), image, end))
    accepts_picture(case, assemble(header(8, 8), *[chunk(b"tEXt", b"a\0b")] * 10000, image, end))


@row("C3", "PNG of 1, 2, 4, 16 bits, interlaced, palette; wrong checksum, cut data", "read; refused")
def _(case):
    for depth, kind, width in ((1, 0, 1), (2, 0, 2), (4, 0, 4), (8, 0, 8), (16, 0, 16), (16, 2, 48), (8, 4, 16),
                               (16, 6, 64), (16, 4, 32), (8, 6, 32)):
        rows = (b"\0" + b"\x5a" * width) * 8
        accepts_picture(case, assemble(header(8, 8, depth, kind), chunk(b"IDAT", zlib.compress(rows)),
                                       chunk(b"IEND", b"")))
    palette = chunk(b"PLTE", bytes(range(12)))
    accepts_picture(case, assemble(header(8, 8, 2, 3), palette, chunk(b"tRNS", b"\0\x80"),
                                   chunk(b"IDAT", zlib.compress((b"\0" + b"\x1b" * 2) * 8)), chunk(b"IEND", b"")))
    good = png(8, 8, flat(8, 8))
    refuses_picture(case, good.replace(b"IDAT", b"IDAU"), "")
    cut = bytearray(good)
    cut[good.index(b"IDAT") + 8] ^= 0xff
    refuses_picture(case, bytes(cut), "")
    refuses_picture(case, good[:good.index(b"IDAT") + 6], "")
    refuses_picture(case, assemble(header(8, 8), chunk(b"IDAT", zlib.compress(flat(8, 4))), chunk(b"IEND", b"")), "")
    refuses_picture(case, assemble(header(8, 8), chunk(b"IEND", b"")), "")


@row("C4", "JPEG with a huge frame, cut, lossless, 12 bits", "refused; told apart: damaged, not supported")
def _(case):
    good = read(os.path.join(PICTURES, sorted(n for n in os.listdir(PICTURES) if n.endswith(".jpg"))[0]))
    at = max(good.find(b"\xff\xc0"), good.find(b"\xff\xc2"))
    refuses_picture(case, good[:at + 5] + struct.pack(">HH", 65500, 65500) + good[at + 9:], "65500", "x.jpg")
    refuses_picture(case, good[:len(good) // 2], "", "x.jpg")
    refuses_picture(case, good[:20], "", "x.jpg")
    refuses_picture(case, good[:at + 1] + b"\xc3" + good[at + 2:], "support", "x.jpg")
    refuses_picture(case, good[:at + 1] + b"\xc1" + good[at + 2:at + 4] + b"\x0c" + good[at + 5:], "support", "x.jpg")
    refuses_picture(case, good[:at + 9] + b"\x05" + good[at + 10:], "", "x.jpg")


@row("C5", "EXIF orientation 1 to 8 in both byte orders; loops, wrong counts, 64 KB", "applied; else ignored")
def _(case):
    good = read(os.path.join(PICTURES, sorted(n for n in os.listdir(PICTURES) if n.endswith(".jpg"))[0]))

    def with_exif(tiff):
        body = b"Exif\0\0" + tiff
        return good[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + good[2:]
    for order, mark in (("<", b"II*\0"), (">", b"MM\0*")):
        for value in (0, 1, 3, 6, 8, 9, 65535):
            accepts_picture(case, with_exif(mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x112, 3, 1, value, 0, 0)),
                            "x.jpg")
    for tiff in (b"", b"II*\0", b"II*\0" + struct.pack("<I", 8), b"II*\0" + struct.pack("<IH", 8, 65535),
                 b"II*\0" + struct.pack("<IHI", 8, 0, 8), b"II*\0" + struct.pack("<I", 0xffffffff), b"x" * 65500):
        accepts_picture(case, with_exif(tiff), "x.jpg")


@row("C6", "1 x 1, 1 x 2000, 2000 x 1, 0 x 5", "read as the reference; refused")
def _(case):
    for width, height in ((1, 1), (1, 2000), (2000, 1)):
        accepts_picture(case, png(width, height, flat(width, height)))
    refuses_picture(case, png(0, 5, b""), "")


@row("C7", "GIF, BMP, TIFF, SVG, PDF, text as .png; a JPEG named .png", "kind named; read by content")
def _(case):
    for content, kind in ((b"GIF89a" + b"\0" * 100, "GIF"), (b"BM" + b"\0" * 100, "BMP"),
                          (b"II*\0" + b"\0" * 100, "TIFF"), (b"MM\0*" + b"\0" * 100, "TIFF"),
                          (b"<svg xmlns='x'/>", "SVG"), (b"%PDF-1.7\n", "PDF"), (b"no picture\n", ""),
                          (b"\0\0\0\x1cftypheic" + b"\0" * 40, "HEI"), (b"", "")):
        refuses_picture(case, content, kind)
    jpeg = read(os.path.join(PICTURES, sorted(n for n in os.listdir(PICTURES) if n.endswith(".jpg"))[0]))
    accepts_picture(case, jpeg)


@row("C8", "picture missing, unreadable, a folder, a FIFO, 4 GB", "refused by name, never blocks")
def _(case):
    data = case.data(case.sample("x.png"))
    for make, remove in ((lambda: None, lambda: None), (lambda: os.mkdir("x.png"), lambda: os.rmdir("x.png")),
                         (lambda: os.mkfifo("x.png"), lambda: os.remove("x.png"))):
        make()
        case.refused("x.png", "run", DEMO, "--image", "x.png", "--prompt", "x")
        case.refused("x.png", "calibrate", DEMO, "--data", data, "-o", "out.calib")
        remove()
    with open("x.png", "wb") as file:
        file.write(png(8, 8, flat(8, 8)))
        file.truncate(4 << 30)
    case.refused("x.png", "run", DEMO, "--image", "x.png", "--prompt", "x")


@row("C9", "broken pictures among good ones", "refused; --skip-broken N lets N through, each listed")
def _(case):
    write("x.png", b"no picture")
    data = case.data(case.sample(), case.sample("x.png"), case.sample("gone.png"))
    case.refused("x.png", "calibrate", DEMO, "--data", data, "-o", "out.calib")
    case.refused("gone.png", "calibrate", DEMO, "--data", data, "-o", "out.calib", "--skip-broken", "1")
    done = case.accepted("calibrate", DEMO, "--data", data, "-o", "out.calib", "--skip-broken", "2", "--json")
    assert b"x.png" in done.stdout and b"gone.png" in done.stdout
    case.accepted("eval", DEMO, "--data", data, "--metrics", "ppl", "--skip-broken", "2", "--json")


@row("C10", "animated PNG", "first picture read")
def _(case):
    image = zlib.compress(flat(8, 8))
    accepts_picture(case, assemble(
        header(8, 8), chunk(b"acTL", struct.pack(">II", 2, 0)),
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 1, 0, 0)), chunk(b"IDAT", image),
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", 1, 8, 8, 0, 0, 1, 1, 0, 0)),
        chunk(b"fdAT", struct.pack(">I", 2) + image), chunk(b"IEND", b"")))


def refuses_data(case, pattern, *lines):
    data = case.data(*lines)
    case.refused(pattern, "calibrate", DEMO, "--data", data, "-o", "out.calib")
    case.refused(pattern, "eval", DEMO, "--data", data, "--metrics", "ppl")


@row("D1", "empty data set; more samples asked than there are", "refused; all taken and said")
def _(case):
    refuses_data(case, "data.jsonl: .*(no|empty)")
    refuses_data(case, "data.jsonl: .*(no|empty)", "", " ")
    data = case.data(case.sample(), case.sample(prompt="What is this?"))
    case.accepted("calibrate", DEMO, "--data", data, "-o", "out.calib", "--samples", "100", warns="2")
    os.mkdir("folder")
    case.refused("folder", "calibrate", DEMO, "--data", "folder", "-o", "two.calib")


@row("D2", "picture path absolute, with .., a URL, file://, a data URI", "refused with line; never fetched")
def _(case):
    shutil.copyfile(os.path.join(PICTURES, "0000.png"), "../outside.png")
    try:
        for path in ("/etc/passwd", "../outside.png", "a/../../outside.png", "https://example.org/a.png",
                     "file:///etc/passwd", "data:image/png;base64,iVBORw0KGgo="):
            refuses_data(case, "data.jsonl:2", case.sample(), case.sample(path))
    finally:
        os.remove("../outside.png")


@row("D3", "a line of 20 MB; NUL bytes; not UTF-8; half a line at the end", "refused with line")
def _(case):
    refuses_data(case, "data.jsonl:2", case.sample(), b"x" * 20_000_000)
    refuses_data(case, "data.jsonl:2", case.sample(), b'{"image": "good.png", "prompt": "a\0b"}')
    refuses_data(case, "data.jsonl:2", case.sample(), b'{"image": "good.png", "prompt": "\xff\xfe", "answers": ["a"]}')
    refuses_data(case, "data.jsonl:2", case.sample(), b'{"image": "good.png", "pro')


@row("D4", "picture marks and pictures differ; assistant first; empty turns; unknown role",
     "refused with record; falls under --skip-broken")
def _(case):
    good = {"id": "1", "image": "good.png", "conversations": [{"from": "human", "value": "<image>\nWhat?"},
                                                              {"from": "gpt", "value": "a cat"}]}
    bad = ({"conversations": [{"from": "gpt", "value": "x"}]},
           {"image": "good.png", "conversations": [{"from": "human", "value": "<image><image>\nWhat?"},
                                                   {"from": "gpt", "value": "x"}]},
           {"image": "good.png", "conversations": [{"from": "robot", "value": "x"}, {"from": "gpt", "value": "y"}]},
           {"image": "good.png", "conversations": [{"from": "human", "value": "<image>\nx"}, {"from": "gpt", "value": ""}]},
           {"image": "good.png", "conversations": []}, {"image": "good.png"}, 7)
    for one in bad:
        case.data(json.dumps([good, one]), name="llava.json")
        case.refused("llava.json", "calibrate", DEMO, "--data", "llava.json", "-o", "out.calib")
    for one in bad[:-1]:
        case.data(json.dumps([good, one]), name="llava.json")
        case.accepted("calibrate", DEMO, "--data", "llava.json", "-o", "out.calib", "--force", "--skip-broken", "1")


@row("D5", "sample longer than the context", "left out and counted")
def _(case):
    data = case.data(case.sample(), case.sample(prompt="word " * 600))
    done = case.accepted("calibrate", DEMO, "--data", data, "-o", "out.calib", "--json")
    assert b'"too_long":1' in done.stdout.replace(b" ", b"").replace(b"\n", b"") or b"long" in done.stdout
    case.accepted("eval", DEMO, "--data", data, "--metrics", "ppl", "--json")


@row("D6", "duplicates; evaluation on samples of calibration", "counted; refused")
def _(case):
    data = case.data(case.sample(), case.sample(), case.sample(prompt="What is this?"))
    done = case.accepted("calibrate", DEMO, "--data", data, "-o", "out.calib")
    assert b"1 duplicate" in done.stdout + done.stderr
    case.accepted("quantize", DEMO, "--method", "gptq", "--calib", "out.calib", "-o", "out.vlmp")
    case.refused("calibrat", "eval", "out.vlmp", "--reference", DEMO, "--data", data, "--metrics", "kl")


@row("D7", "only text in the calibration data of a model that sees", "said; refused where a tower needs it")
def _(case):
    data = case.data(*[{"prompt": "Say %d." % n, "answers": ["word %d" % n]} for n in range(10)])
    case.accepted("calibrate", DEMO, "--data", data, "-o", "out.calib", warns="picture")
    write("recipe.json", b'{"vision_encoder": "gptq_4bit", "default": null}')
    case.refused("(picture|vision)", "quantize", DEMO, "--recipe", "recipe.json", "--calib", "out.calib", "-o",
                 "out.vlmp")


@row("D8", "recipe: unknown key, wrong type, twice the same key, a rule that matches nothing", "refused, named")
def _(case):
    for text in ('{"version": 1, "colour": 1, "rules": [{"match": "*", "scheme": null}]}', '{"version": 1}',
                 '{"version": 1, "rules": [{"match": "nothing.*", "scheme": "int8"}, {"match": "*", "scheme": null}]}',
                 '{"default": 7}', '{"default": "int8", "default": null}', '{"llm_layers_7_9": "int8", "default": null}',
                 '{"vision_encoder": "int8"}', '{"default": "int8"', "[]", '{"version": 1, "rules": [{"match": "*", '
                 '"scheme": {"method": "rtn", "bits": 5}}]}', '{"default": "int8", "lm_haed": null}', "[" * 100000):
        write("recipe.json", text.encode())
        case.refused("recipe.json", "quantize", DEMO, "--recipe", "recipe.json", "-o", "out.vlmp")


@row("D9", "recipe of another version", "refused")
def _(case):
    write("recipe.json", b'{"version": 2, "rules": [{"match": "*", "scheme": null}]}')
    case.refused("recipe.json.*version", "quantize", DEMO, "--recipe", "recipe.json", "-o", "out.vlmp")
