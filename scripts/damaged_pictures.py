"""Damaged pictures for golden-images.py: what the reference makes of each is in the goldens. Whole pictures
come in as a dictionary of bytes; every variant is one deliberate fault."""
import struct
import zlib


def chunks(data):
    """The chunks of a PNG, whole."""
    at, out = 8, []
    while at < len(data):
        size = 12 + struct.unpack(">I", data[at:at + 4])[0]
        out.append(data[at:at + size])
        at += size
    return out


def chunk(kind, data, fault=0):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ fault)


def png_variants(data):
    signature, parts = data[:8], chunks(data)
    head, end = parts[0], parts[-1]
    body = b"".join(p[8:-4] for p in parts if p[4:8] == b"IDAT")
    half, text = len(body) // 2, b"key\0value"
    idat = chunk(b"IDAT", body)

    def made(*pieces):
        return signature + b"".join(pieces)

    return {
        "no-end": made(head, idat),
        "end-cut": made(head, idat, end[:-2]),
        "end-long": made(head, idat, chunk(b"IEND", b"abc")),
        "end-checksum": made(head, idat, chunk(b"IEND", b"", 1)),
        "text-checksum-before": made(head, chunk(b"tEXt", text, 1), idat, end),
        "text-checksum-after": made(head, idat, chunk(b"tEXt", text, 1), end),
        "text-cut-after": made(head, idat, chunk(b"tEXt", text)[:-6]),
        "header-checksum": made(chunk(b"IHDR", head[8:-4], 1), idat, end),
        "data-checksum": made(head, chunk(b"IDAT", body[:half], 1), chunk(b"IDAT", body[half:]), end),
        "data-interrupted": made(head, chunk(b"IDAT", body[:half]), chunk(b"tEXt", text), chunk(b"IDAT", body[half:]), end),
        "data-cut": made(head, idat[:-30]),
        "data-cut-late": made(head, idat[:-6]),
        "data-long": made(head, chunk(b"IDAT", body + b"more"), end),
        "data-claims-more": made(head, struct.pack(">I", len(body) + 1000) + idat[4:], end),
        "sum-missing": made(head, chunk(b"IDAT", body[:-4]), end),
        "sum-wrong": made(head, chunk(b"IDAT", body[:-1] + bytes([body[-1] ^ 1])), end),
        "rows-missing": made(head, chunk(b"IDAT", zlib.compress(zlib.decompress(body)[:-5])), end),
        "junk-before": made(head, b"junk\1", idat, end),
        "junk-after": made(head, idat, end, b"junk"),
        "unknown-critical": made(head, chunk(b"CRIT", b"x"), idat, chunk(b"CRIT", b"x"), end),
        "color-late": made(head, idat, chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)), end),
        "color-short": made(head, chunk(b"tRNS", b"\0\1"), idat, end),
    }


def segments(data):
    """(place, size, marker) of a JPEG up to its first scan's header."""
    at, out = 2, []
    while not out or out[-1][2] != 0xDA:
        size = 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
        out.append((at, size, data[at + 1]))
        at += size
    return out


def jpeg_variants(data):
    parts = segments(data)
    scan = sum(parts[-1][:2])
    frame = next(at for at, _, marker in parts if marker in (0xC0, 0xC2))
    tables = next(at for at, _, marker in parts if marker == 0xC4)
    middle = (scan + len(data)) // 2
    out = {
        "scan-zeros": data[:scan - 3] + b"\0\0\0" + data[scan:],
        "scan-odd": data[:scan - 3] + b"\1\x3e\x11" + data[scan:],
        "no-end": data[:-2],
        "end-half": data[:-1],
        "cut": data[:middle],
        "end-early": data[:middle] + b"\xff\xd9" + data[middle:],
        "junk-after": data + b"junk",
        "junk-between": data[:tables] + b"\x12\x34" + data[tables:],
        "fill-between": data[:tables] + b"\xff\xff\xff" + data[tables:],
        "bit": data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1:],
        "segment-in-data": data[:middle] + b"\xff\xfe\0\4ab" + data[middle:],
        "height": data[:frame + 5] + struct.pack(">H", 200) + data[frame + 7:],
        "second-scan": data[:scan] + data[parts[-1][0]:scan] + data[scan:],
        "lossless": data[:frame + 1] + b"\xc3" + data[frame + 2:],
        "12-bit": data[:frame + 4] + b"\x0c" + data[frame + 5:],
        "no-tables": b"".join([data[:2]] + [data[at:at + size] for at, size, marker in parts if marker != 0xC4]) + data[scan:],
    }
    restarts = [i for i in range(scan, len(data) - 2) if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]
    if restarts:
        i = restarts[len(restarts) // 2]
        out["restart-wrong"] = data[:i + 1] + bytes([0xD0 | (data[i + 1] + 3) % 8]) + data[i + 2:]
        out["restart-missing"] = data[:i] + data[i + 2:]
        out["restart-twice"] = data[:i] + data[i:i + 2] + data[i:]
    return out


def webp_variants(data):
    return {
        "cut": data[:len(data) * 2 // 3],
        "cut-late": data[:-1],
        "junk-after": data + b"junk",
        "size": data[:4] + struct.pack("<I", len(data) + 100) + data[8:],
        "bit": data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1:],
        "kind": data[:12] + b"VP8?" + data[16:],
    }


VARIANTS = {".png": png_variants, ".jpg": jpeg_variants, ".webp": webp_variants}


def damaged(pictures):
    """Name and bytes of every variant; the names say of which picture."""
    for name, data in pictures.items():
        stem, kind = name.rsplit(".", 1)
        for fault, bytes_ in VARIANTS["." + kind](data).items():
            yield f"bad-{stem}-{fault}.{kind}", bytes_
