"""Builders of pictures that lie, repeat themselves, or are larger than they look."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(width: int = 13, height: int = 11, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def bmp(width: int, height: int, compression: int = 0) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, 0, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078, 0, 0, 1078) + header + bytes(1024) + b"\0\1"


def gif(width: int, height: int, flags: int = 0) -> bytes:
    """A GIF whose screen is one pixel and whose frame is larger."""
    control = b"!\xf9\4" + bytes([flags, 0, 0, 0, 0])
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08\1\0\0;"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + control + frame


def jpeg(width: int, height: int) -> bytes:
    """A JPEG that claims a size."""
    data = saved(noise(), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def webp(width: int, height: int) -> bytes:
    bits = struct.pack("<I", (width - 1) | (height - 1) << 14)
    body = b"VP8L" + struct.pack("<I", 16) + b"\x2f" + bits + bytes(11)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def segments(marker: int, *contents: bytes) -> bytes:
    """JPEG segments of one kind."""
    return b"".join(struct.pack(">BBH", 255, marker, len(c) + 2) + c for c in contents)


def jpeg_with(*extra: bytes) -> bytes:
    data = saved(noise(), "JPEG")
    return data[:2] + b"".join(extra) + data[2:]


def png_with(*extra: bytes) -> bytes:
    data = saved(noise(), "PNG")
    return data[:33] + b"".join(extra) + data[33:]


def gif_with(extra: bytes) -> bytes:
    data = saved(noise(mode="L"), "GIF")
    at = 13 + 3 * 2 ** ((data[10] & 7) + 1) * (data[10] >> 7)
    return data[:at] + extra + data[at:]


def progressive(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = saved(noise(mode="L"), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + data[-2:]
