#!/usr/bin/env python3
"""Makes tests/golden/images: small pictures with the reference's pixels, resampling, image processors and
plans of LLaVA-NeXT and Idefics3. Needs Pillow, torchvision and transformers; the versions are written to VERSIONS.

  python3 scripts/golden-images.py tests/golden/images

Pixels are stored as SHA-256 of the bytes (height, width and channel order of the manifest line), as the
comparison is for equality. Every picture that is not a file comes from pattern(), which the tests have
in C. files.txt has for each file its size, its pixels with alpha dropped (a path given to transformers) and
on white (a picture object given), and 1 where it is a variant of damaged_pictures.py that Pillow reads;
refused.txt has those that it refuses."""
import hashlib
import io
import json
import os
import struct
import sys
import warnings
import zlib

import numpy as np
import PIL
import torch
import torchvision
import transformers
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv
from transformers.image_transforms import convert_to_rgb
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import (Idefics3ImageProcessorPil,
                                                                        get_resize_output_image_size)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from damaged_pictures import damaged

warnings.simplefilter("ignore")
OUT = sys.argv[1]
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # per pixel, by PNG colour type


def noise(count, seed):
    i = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    i ^= i >> np.uint32(15)
    i *= np.uint32(2246822519)
    i ^= i >> np.uint32(13)
    return (i >> np.uint32(24)).astype(np.uint8)


def pattern(width, height, kind, seed):
    """0: noise, 1: black and white noise, 2: a slope with some noise."""
    v = noise(width * height * 3, seed).reshape(height, width, 3)
    if kind == 1:
        return (v & 1) * np.uint8(255)
    if kind == 2:
        y, x, c = np.indices(v.shape)
        return ((x + 2 * y + 40 * c + (v >> 6)) & 255).astype(np.uint8)
    return v


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def put(name, data):
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(data)


def lines(name, rows):
    put(name, "".join(" ".join(str(v) for v in row) + "\n" for row in rows).encode())


# --- files --------------------------------------------------------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, color, depth, interlaced=0, seed=1, before=b"", after=b"", entries=None):
    """Random samples under random filters, so that every path of the decoder is taken."""
    bits = SAMPLES[color] * depth
    state = [seed * 1000]

    def rows(w, h):
        out = b""
        for y in range(h if w else 0):
            state[0] += 1
            out += bytes([y % 5]) + noise((w * bits + 7) // 8, state[0]).tobytes()
        return out

    adam7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    if interlaced:
        raw = b"".join(rows((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for x, y, dx, dy in adam7)
    else:
        raw = rows(width, height)
    if color == 3:
        before += chunk(b"PLTE", noise(3 * (entries or 1 << depth), seed).tobytes())
    data = zlib.compress(raw, 9)
    half = len(data) // 2  # two IDAT chunks
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))
            + before + chunk(b"IDAT", data[:half]) + chunk(b"IDAT", data[half:]) + after + chunk(b"IEND", b""))


def tiff(order, entries):
    out = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    for tag, kind, count, value in entries:
        out += struct.pack(order + "HHI", tag, kind, count) + value
    return out + struct.pack(order + "I", 0)


def orientation(order, value):
    return tiff(order, [(0x10F, 2, 4, b"abc\0"), (0x112, 3, 1, struct.pack(order + "HH", value, 0))])


def xmp(value):
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % value


def segment(data):
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data


def jpeg(width, height, mode="RGB", seed=1, **options):
    a = pattern(width, height, 2, seed)
    image = {"RGB": lambda: Image.fromarray(a), "L": lambda: Image.fromarray(a[..., 0]),
             "CMYK": lambda: Image.frombytes("CMYK", (width, height),
                                             np.concatenate([a, a[..., ::-1][..., :1] // 2], -1).tobytes())}[mode]()
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def with_segments(data, *segments):
    return data[:2] + b"".join(segment(s) for s in segments) + data[2:]


def resampled(data, old, new):
    """Another sampling of the first component with as many blocks in the picture: valid, other colours."""
    at = data.index(b"\xff\xc0") + 4 + 6 + 1
    assert data[at] == old
    return data[:at] + bytes([new]) + data[at + 1:]


def adobe(data, transform):
    at = data.index(b"Adobe") + 11
    return data[:at] + bytes([transform]) + data[at + 1:]


def without_adobe(data):
    at = data.index(b"Adobe") - 4
    return data[:at] + data[at + 2 + struct.unpack(">H", data[at + 2:at + 4])[0]:]


def before_data(data, *pieces):
    at = data.index(b"IDAT") - 4
    return data[:at] + b"".join(pieces) + data[at:]


def transparent_files():
    f, u16 = {}, lambda *v: struct.pack(f">{len(v)}H", *v)
    for depth, values in (1, (0, 1)), (2, (1, 85)), (4, (5, 0x55)), (8, (80, 0x150)), (16, (0, 77, 300)):
        for value in values:  # those below 16 bits that no sample can have match what the sample becomes
            f[f"gray{depth}-clear{value}.png"] = before_data(png(16, 9, 0, depth), chunk(b"tRNS", u16(value)))
    base = png(16, 9, 2, 8)
    first = tuple(np.array(Image.open(io.BytesIO(base)))[3, 5].tolist())
    f["color8-clear.png"] = before_data(base, chunk(b"tRNS", u16(*first)))
    f["color8-clear-high.png"] = before_data(base, chunk(b"tRNS", u16(*(v + 0x700 for v in first))))
    f["color16-clear.png"] = before_data(png(16, 9, 2, 16), chunk(b"tRNS", u16(1, 2, 3)))
    f["color8-clear-interlaced.png"] = before_data(png(16, 9, 2, 8, 1), chunk(b"tRNS", u16(1, 2, 3)))
    for depth, alpha in (1, [0]), (2, [0, 9, 255, 128]), (4, [255, 0]), (8, list(range(256))):
        f[f"palette{depth}-clear.png"] = before_data(png(16, 9, 3, depth), chunk(b"tRNS", bytes(alpha)))
    f["palette8-clear-interlaced.png"] = before_data(png(16, 9, 3, 8, 1), chunk(b"tRNS", bytes(range(200))))
    f["palette-clear-beyond.png"] = before_data(png(16, 9, 3, 8, entries=9), chunk(b"tRNS", bytes(range(100))))
    f["alpha-and-clear.png"] = before_data(png(16, 9, 6, 8), chunk(b"tRNS", u16(1, 2, 3)))
    f["clear-twice.png"] = before_data(png(16, 9, 0, 8), chunk(b"tRNS", u16(80)), chunk(b"tRNS", u16(81)))
    f["alpha-exif6.png"] = before_data(png(7, 4, 6, 8), chunk(b"eXIf", orientation("<", 6)))
    ramp = np.zeros((256, 256, 4), np.uint8)  # every colour under every alpha
    ramp[..., 3], ramp[..., :3] = np.arange(256)[:, None], np.arange(256)[None, :, None]
    out = io.BytesIO()
    Image.fromarray(ramp).save(out, "PNG", optimize=True)
    f["alpha-ramp.png"] = out.getvalue()
    return f


def webp(seed=1, size=(37, 29), alpha=False, **options):
    a = pattern(*size, 2, seed)
    if alpha:
        a = np.dstack([a, noise(size[0] * size[1], seed + 7).reshape(size[1], size[0])])
    out = io.BytesIO()
    Image.fromarray(a).save(out, "WEBP", **options)
    return out.getvalue()


def riff(kind, *pieces):
    data = b"".join(pieces)
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def webp_offset(flags):
    """An animation whose first frame covers a part of the canvas."""
    def u24(*values):
        return b"".join(struct.pack("<I", v)[:3] for v in values)
    frames = [riff(b"ANMF", u24(4, 3, 36, 28, 100), b"\0", webp(seed, lossless=True)[12:]) for seed in (1, 2)]
    return riff(b"RIFF", b"WEBP", riff(b"VP8X", bytes([flags, 0, 0, 0]), u24(59, 49)),
                riff(b"ANIM", bytes([10, 20, 30, 255, 0, 0])), *frames)


def webp_files():
    exif = b"Exif\0\0" + orientation("<", 6)
    more = [Image.fromarray(pattern(37, 29, 2, 9))]
    return {
        "lossy.webp": webp(quality=70), "lossy-odd.webp": webp(size=(13, 7), quality=30),
        "lossy-sharp.webp": webp(quality=50, use_sharp_yuv=True, method=6), "lossy-1x1.webp": webp(size=(1, 1)),
        "lossless.webp": webp(lossless=True), "lossless-1x1.webp": webp(size=(1, 1), lossless=True),
        "lossy-alpha.webp": webp(alpha=True, quality=70), "lossless-alpha.webp": webp(alpha=True, lossless=True),
        "lossless-alpha-exact.webp": webp(alpha=True, lossless=True, exact=True),
        "exif6.webp": webp(quality=70, exif=exif), "xmp8.webp": webp(lossless=True, xmp=xmp(8)),
        "profile.webp": webp(lossless=True, icc_profile=b"not a profile"),
        "animated.webp": webp(lossless=True, save_all=True, append_images=more),
        "animated-offset.webp": webp_offset(0x02), "animated-offset-alpha.webp": webp_offset(0x12),
        "animated-alpha.webp": webp(alpha=True, quality=60, save_all=True, append_images=more),
    }


def files():
    f = {**transparent_files(), **webp_files()}
    kinds = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16),
             (6, 8), (6, 16)]
    for i, (color, depth) in enumerate(kinds):
        for interlaced in 0, 1:
            name = f"color{color}-{depth}{'-interlaced' if interlaced else ''}.png"
            f[name] = png(13 + i, 22 - i, color, depth, interlaced, i + 1)
    f["interlaced-1x1.png"] = png(1, 1, 2, 8, 1)
    f["interlaced-3x2.png"] = png(3, 2, 6, 8, 1)
    f["wide.png"] = png(60, 5, 2, 8)
    f["tall.png"] = png(5, 60, 2, 8)
    base = png(16, 9, 3, 4)
    at = base.index(b"IDAT") - 4
    f["transparent-palette.png"] = base[:at] + chunk(b"tRNS", bytes([0, 128, 255, 7])) + base[at:]
    base = png(16, 9, 2, 8)
    at = base.index(b"IDAT") - 4
    f["transparent-color.png"] = base[:at] + chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)) + base[at:]
    base = png(16, 9, 0, 16)
    at = base.index(b"IDAT") - 4
    f["transparent-gray.png"] = base[:at] + chunk(b"tRNS", struct.pack(">H", 77)) + base[at:]
    f["short-palette.png"] = png(16, 9, 3, 8, entries=100)
    f["gamma-profile.png"] = png(9, 7, 2, 8, before=chunk(b"gAMA", struct.pack(">I", 10000)) + chunk(
        b"iCCP", b"name\0\0" + zlib.compress(b"not a profile")))
    for value in range(1, 9):
        order = "<>"[value % 2]
        f[f"exif{value}.png"] = png(7, 4, 2, 8, before=chunk(b"eXIf", orientation(order, value)))
        f[f"exif{value}.jpg"] = with_segments(jpeg(21, 10, seed=value), b"Exif\0\0" + orientation(order, value))
    f["exif6-late.png"] = png(7, 4, 2, 8, after=chunk(b"eXIf", orientation("<", 6)))
    raw = b"\nexif\n      40\n" + (b"Exif\0\0" + orientation(">", 8)).hex().encode() + b"\n"
    f["exif8-text.png"] = png(7, 4, 2, 8, before=chunk(b"tEXt", b"Raw profile type exif\0" + raw))
    f["exif8-compressed.png"] = png(7, 4, 2, 8, before=chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw)))
    f["xmp5.png"] = png(7, 4, 2, 8, before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(5)))
    small = jpeg(21, 10)
    namespace = b"http://ns.adobe.com/xap/1.0/\0"
    f["xmp7.jpg"] = with_segments(small, namespace + xmp(7))
    f["exif1-xmp7.jpg"] = with_segments(small, b"Exif\0\0" + orientation("<", 1), namespace + xmp(7))
    f["exif9.jpg"] = with_segments(small, b"Exif\0\0" + orientation("<", 9))
    f["exif-long.jpg"] = with_segments(small, b"Exif\0\0" + tiff(">", [(0x112, 4, 1, struct.pack(">I", 6))]))
    f["exif-void-first.jpg"] = with_segments(small, b"Exif\0\0" + tiff("<", [
        (0x112, 3, 0, b"\3\0\0\0"), (0x112, 3, 1, b"\6\0\0\0"), (0x112, 3, 1, b"\3\0\0\0")]))
    block = orientation("<", 6)
    f["exif-split.jpg"] = with_segments(small, b"Exif\0\0" + block[:15], b"Exif\0\0" + block[15:])
    for name, options in (("444", dict(subsampling=0)), ("422", dict(subsampling=1)), ("420", dict(subsampling=2)),
                          ("420-progressive", dict(subsampling=2, progressive=True)),
                          ("444-progressive", dict(subsampling=0, progressive=True)),
                          ("420-restart", dict(subsampling=2, restart_marker_blocks=2)),
                          ("422-restart-progressive", dict(subsampling=1, restart_marker_blocks=3, progressive=True)),
                          ("rgb", dict(keep_rgb=True, subsampling=0))):
        f[f"{name}.jpg"] = jpeg(37, 29, seed=len(name), quality=80, **options)
    f["440.jpg"] = resampled(jpeg(64, 64, subsampling=1), 0x21, 0x12)
    f["411.jpg"] = resampled(jpeg(64, 64, subsampling=2), 0x22, 0x41)
    f["gray.jpg"] = jpeg(37, 29, "L")
    f["gray-progressive.jpg"] = jpeg(37, 29, "L", progressive=True)
    f["1x1.jpg"] = jpeg(1, 1)
    f["cmyk.jpg"] = jpeg(37, 29, "CMYK")
    f["cmyk-progressive.jpg"] = jpeg(37, 29, "CMYK", progressive=True)
    f["cmyk-without-adobe.jpg"] = without_adobe(jpeg(37, 29, "CMYK"))
    f["ycck.jpg"] = adobe(jpeg(37, 29, "CMYK"), 2)
    return f


def row(name, data, is_damaged):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    dropped, white = np.array(image.convert("RGB")), convert_to_rgb(image, return_numpy=True)
    return name, dropped.shape[1], dropped.shape[0], sha(dropped), sha(white), is_damaged


def make_files():
    whole = files()
    rows, refused = [row(name, data, 0) for name, data in sorted(whole.items())], []
    for name, data in whole.items():
        put(name, data)
    names = "wide.png", "422.jpg", "420-restart.jpg", "gray-progressive.jpg", "lossy.webp", "lossless.webp"
    for name, data in damaged({name: whole[name] for name in names}):
        put(name, data)
        try:
            rows.append(row(name, data, 1))
        except Exception:
            refused.append((name,))
    lines("files.txt", rows)
    lines("refused.txt", refused)


# --- resampling ---------------------------------------------------------------------------------


def make_resize():
    sizes = [(50, 40, 17, 13), (17, 13, 50, 40), (50, 40, 17, 60), (20, 30, 45, 11), (7, 1, 3, 5), (1, 9, 6, 4),
             (64, 64, 64, 20), (64, 64, 20, 64), (33, 33, 33, 33), (300, 2, 11, 3), (2, 900, 3, 10), (3, 301, 5, 7),
             # the order of the passes turns when the height shrinks by more than twice what the width does
             (40, 60, 30, 40), (40, 60, 30, 39), (40, 60, 39, 58), (40, 60, 39, 57), (40, 60, 41, 59), (40, 60, 41, 61)]
    rows, seed = [], 0
    for width, height, to_width, to_height in sizes:
        for code in range(6):
            seed += 1
            a = pattern(width, height, seed % 3, seed)
            got = np.array(Image.fromarray(a).resize((to_width, to_height), code))
            rows.append((width, height, seed % 3, seed, to_width, to_height, code, 0, sha(got)))
            mode = {2: InterpolationMode.BILINEAR, 3: InterpolationMode.BICUBIC}.get(code)
            if mode is not None:
                t = tv.resize(torch.from_numpy(a).permute(2, 0, 1).contiguous(), [to_height, to_width],
                              interpolation=mode, antialias=True)
                rows.append((width, height, seed % 3, seed, to_width, to_height, code, 1, sha(t.permute(1, 2, 0).numpy())))
    lines("resize.txt", rows)


# --- image processors ---------------------------------------------------------------------------


def squared(image, mean):
    """On a square of the mean colour, in the middle."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), tuple(int(m * 255) for m in mean))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def make_processors():
    e = 48
    square = dict(size={"shortest_edge": e}, crop_size={"height": e, "width": e})
    pinpoints = [[e, 2 * e], [2 * e, e], [2 * e, 2 * e], [3 * e, e], [e, 3 * e]]
    processors = {
        "clip": CLIPImageProcessorPil(**square),
        "clip-uncropped": CLIPImageProcessorPil(size={"height": e, "width": e + 7}, do_center_crop=False),
        "clip-large-crop": CLIPImageProcessorPil(size={"shortest_edge": e}, crop_size={"height": e + 9, "width": e - 5}),
        "clip-bounded": CLIPImageProcessorPil(size={"shortest_edge": e, "longest_edge": e + 20}, resample=1,
                                              crop_size={"height": e, "width": e + 13}),
        "clip-raw": CLIPImageProcessorPil(do_resize=False, do_rescale=False, crop_size={"height": e, "width": e}),
        "llava-pad": LlavaImageProcessorPil(do_pad=True, **square),
        "llava-crop": LlavaImageProcessorPil(do_normalize=False, **square),
        "next": LlavaNextImageProcessorPil(image_grid_pinpoints=pinpoints, **square),
        "siglip": SiglipImageProcessorPil(size={"height": e, "width": e}, resample=2),
        "idefics3": Idefics3ImageProcessorPil(size={"longest_edge": 4 * e}, max_image_size={"longest_edge": e}),
        "smolvlm-whole": SmolVLMImageProcessorPil(size={"longest_edge": 2 * e}, max_image_size={"longest_edge": e},
                                                  do_image_splitting=False),
        "idefics3-sides": Idefics3ImageProcessorPil(size={"height": e + 1, "width": 2 * e}, resample=3,
                                                    max_image_size={"longest_edge": e}),
        "onevision": LlavaOnevisionImageProcessorPil(image_grid_pinpoints=pinpoints, size={"height": e, "width": e}),
        "onevision-several": LlavaOnevisionImageProcessorPil(image_grid_pinpoints=pinpoints, image_mean=[0.5, 0.4, 0.3],
                                                             size={"height": e, "width": e}),
    }
    sizes = [(100, 40), (40, 100), (50, 50), (48, 48), (1000, 90), (9, 31), (1, 1), (2, 77)]
    rows, seed = [], 5000
    for i, (name, processor) in enumerate(processors.items()):
        text = json.loads(processor.to_json_string())
        if i % 2:  # as transformers 5 saves it
            text = {"processor_class": "LlavaProcessor", "image_processor": text, "patch_size": 14}
        put(name + ".json", (json.dumps(text, indent=1, sort_keys=True) + "\n").encode())
        for width, height in sizes + ([(28, 28), (30, 900), (4000, 3000)] if name == "idefics3" else []):
            if name == "clip-uncropped" and width == 1000:
                continue
            seed += 1
            a = pattern(width, height, seed % 3, seed)
            images = Image.fromarray(a)
            if name == "onevision-several":
                images = [[images, images]]
            v = processor(images=images, return_tensors="np")["pixel_values"]
            v = v[0] if v.ndim == 5 else v
            assert v.dtype == np.float32
            if name == "llava-pad":  # as LLaVA's own code does it, for whose folders it stands in
                own = CLIPImageProcessorPil(**square)(images=squared(images, processor.image_mean), return_tensors="np")
                assert (v == own["pixel_values"]).all()
            rows.append((name + ".json", width, height, seed % 3, seed, v.shape[0], v.shape[2], v.shape[3], sha(v)))
    lines("processors.txt", rows)


# --- LLaVA-NeXT plans ---------------------------------------------------------------------------


class Counter:
    """What LlavaNextProcessor's counting needs of itself."""

    patch_size, num_additional_image_tokens = 14, 1
    _get_unpadded_features = LlavaNextProcessor._get_unpadded_features

    def __init__(self, pinpoints):
        self.image_processor = type("P", (), {"image_grid_pinpoints": pinpoints})


def make_plans():
    sets = [LlavaNextImageProcessorPil.image_grid_pinpoints,
            [[336 * i, 336 * j] for i in range(1, 7) for j in range(1, 7) if i * j <= 6]]
    random = np.random.default_rng(20)
    rows = []
    for i in range(400):
        width, height = (int(x) for x in (np.exp(random.uniform(0, 8.3, 2)) if i % 3 else random.integers(1, 2500, 2)))
        if i % 5 == 0:  # shapes whose products are whole numbers up to rounding noise
            height, width = int(random.integers(1, 40)) * 7, int(random.integers(1, 40)) * 12
        s = i % 2
        best = select_best_resolution((height, width), sets[s])
        image = np.broadcast_to(np.uint8(0), (3, height, width))
        new = get_patch_output_size(image, best, "channels_first")
        tokens = LlavaNextProcessor._get_number_of_features(Counter(sets[s]), height, width, 336, 336) - 1
        rows.append((height, width, s, *best, *new, tokens))
    lines("anyres.txt", rows)


# --- Idefics3's plans ---------------------------------------------------------------------------


class Sizes(Idefics3ImageProcessorPil):
    """Pictures of no memory, which only have sizes."""

    def resize(self, image, size, **_):
        new = get_resize_output_image_size(image, size.longest_edge) if size.longest_edge else (size.height, size.width)
        return np.broadcast_to(np.uint8(0), (3, *new))


def make_splits():
    random = np.random.default_rng(21)
    rows = []
    for i in range(400):
        width, height = (int(x) for x in (np.exp(random.uniform(0, 8.5, 2)) if i % 3 else random.integers(1, 5000, 2)))
        longest, tile = ((1536, 384), (2048, 512), (1456, 364), (5000, 512))[i % 4]
        processor = Sizes(size={"longest_edge": longest}, max_image_size={"longest_edge": tile})
        resized = processor.resize(np.broadcast_to(np.uint8(0), (3, height, width)), processor.size)
        canvas = processor.resize_for_vision_encoder(resized, tile)
        _, grid_rows, grid_cols = processor.split_images(canvas, {"longest_edge": tile})
        rows.append((height, width, longest, tile, *resized.shape[1:], *canvas.shape[1:], grid_rows, grid_cols))
    lines("splits.txt", rows)


os.makedirs(OUT, exist_ok=True)
make_files()
make_resize()
make_processors()
make_plans()
make_splits()
lines("VERSIONS", [("Pillow", PIL.__version__), ("transformers", transformers.__version__),
                   ("torchvision", torchvision.__version__.split("+")[0])])
