"""Pictures built to hurt: bombs, floods of tiny blocks, slow scans, and random damage.

The builders are in `pictures.py`; each writes the fewest bytes that would cost a lot.
"""

import io
import random
import sys
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from hostile.pictures import (
    bmp,
    chunk,
    gif,
    gif_with,
    jpeg,
    jpeg_with,
    noise,
    png,
    png_with,
    progressive,
    saved,
    segments,
    webp,
)
from sightbox import image as subject
from sightbox.errors import ImageError, ImageTooLargeError
from sightbox.image import ImageLimits, decode_image

ALL = ImageLimits(formats=("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"))
SMALL = ImageLimits(1_000_000, ALL.formats)


@pytest.mark.parametrize("kind", ALL.formats)
def test_pixel_limit_is_exact(kind: str) -> None:
    data = saved(noise(13, 11), kind)
    assert decode_image(data, ImageLimits(143, ALL.formats)).width == 13
    with pytest.raises(ImageTooLargeError, match=r"13 x 11 = .*`max_megapixels`"):
        decode_image(data, ImageLimits(142, ALL.formats))


@pytest.mark.parametrize("build", [png, bmp, gif, jpeg, webp])
@pytest.mark.parametrize("size", [(9_000, 6_000), (16_383, 3_052)], ids=str)
def test_announced_pixels_are_refused_unread(
    build: Callable[[int, int], bytes], size: tuple[int, int]
) -> None:
    with pytest.raises(ImageTooLargeError, match=f"{size[0]:,} x {size[1]:,} = .* at most 50.0"):
        decode_image(build(*size))


@pytest.mark.parametrize("size", [(12_000, 12_000), (65_535, 65_535)], ids=str)
@pytest.mark.parametrize("build", [png, bmp, gif, jpeg])
def test_gigantic_picture_is_too_large(
    build: Callable[[int, int], bytes], size: tuple[int, int]
) -> None:
    with pytest.raises(ImageTooLargeError, match=r"at most|too large to decode"):
        decode_image(build(*size))


def test_limit_may_exceed_pillows_own() -> None:
    with pytest.raises(ImageError, match="cut short"):
        decode_image(png(10_000, 20_000), ImageLimits(max_pixels=200_000_000))
    assert Image.MAX_IMAGE_PIXELS == 89_478_485


def test_side_limit_is_exact() -> None:
    assert decode_image(saved(Image.new("1", (subject.MAX_SIDE, 1)), "PNG")).height == 1
    with pytest.raises(ImageTooLargeError, match="no side may exceed 65,535"):
        decode_image(saved(Image.new("1", (1, subject.MAX_SIDE + 1)), "PNG"))


def test_gif_reader_fills_no_second_canvas() -> None:
    assert subject._Gif(io.BytesIO(gif(100, 100, flags=0b1000))).dispose is None


MANY = subject.MAX_METADATA_READS
READS_OF_A_CHUNK = 3
"""Its length and name, its data, and its checksum."""

ICC = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1000)))


@pytest.mark.parametrize(
    "data",
    [
        # Pillow joins EXIF blocks one by one: 32 MB of them would take minutes.
        jpeg_with(segments(0xE1, *[b"Exif\0\0" + bytes(10)] * 65)),
        # Each profile may inflate from 1 kB to 1 MB: 32 MB would take a minute.
        png_with(*[ICC] * 65),
        # Python objects for every few bytes: 32 MB would take seconds and a gigabyte.
        jpeg_with(b"\xff\xe0\0\2" * MANY),
        jpeg_with(segments(0xE0, b""), bytes(MANY)),
        png_with(chunk(b"aaAa", b"") * MANY),
        saved(noise(), "PNG")[:-12] + chunk(b"aaAa", b"") * MANY,
        gif_with(b"!\xfe" + b"\1a" * MANY + b"\0"),
    ],
    ids=["exif", "profiles", "segments", "junk", "chunks", "chunks behind pixels", "comments"],
)
def test_flood_is_bad_image(data: bytes) -> None:
    before = sys.getallocatedblocks()
    with pytest.raises(ImageError, match="flood of tiny or repeated pieces"):
        decode_image(data)
    # The error has not been collected, and knows all that was read until then.
    assert sys.getallocatedblocks() - before < MANY


@pytest.mark.parametrize(
    "data",
    [
        jpeg_with(segments(0xE1, *[b"Exif\0\0" + bytes(10)] * 64)),
        jpeg_with(segments(0xE2, *[bytes(65_000)] * 255)),
        png_with(*[ICC] * 64),
        png_with(*[chunk(b"tEXt", b"key\0value")] * 1000),
        png_with(*[chunk(b"aaAa", b"")] * (MANY // READS_OF_A_CHUNK - 20)),
        saved(noise(), "PNG")[:-12]
        + chunk(b"aaAa", b"") * (MANY // READS_OF_A_CHUNK - 20)
        + chunk(b"IEND", b""),
        gif_with(b"!\xfe" + b"\1a" * 1000 + b"\0"),
    ],
    ids=["exif", "segments", "profiles", "texts", "chunks", "chunks behind pixels", "comments"],
)
def test_much_metadata_is_no_flood(data: bytes) -> None:
    assert decode_image(data).width == 13


@pytest.mark.parametrize(
    "data",
    [
        png_with(chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(2**21)))),
        saved(noise(), "PNG")[:-12] + chunk(b"iCCP", b"") + chunk(b"IEND", b""),
        png_with(chunk(b"acTL", bytes(8))),
    ],
    ids=["inflating text", "empty profile", "warning"],
)
def test_bad_chunk_is_bad_image(data: bytes) -> None:
    with pytest.raises(ImageError, match="PNG picture is damaged"):
        decode_image(data)


def test_scan_limit_is_exact() -> None:
    # At 50 megapixels each scan, 73 bytes, takes 30 ms: 32 MB would take hours.
    assert decode_image(progressive(subject.MAX_SCANS)).width == 13
    with pytest.raises(ImageError, match="more than 100 scans"):
        decode_image(progressive(subject.MAX_SCANS + 1))


def test_scan_marks_in_metadata_or_behind_the_picture_do_not_count() -> None:
    marks = b"\xff\xda\0\2" * 200
    data = progressive(90) + b"\0\2" + marks
    at = data.index(b"\xff\xda")
    at = data.index(b"\xff\xc4", at)
    assert decode_image(data[:at] + segments(0xFE, marks) + data[at:]).width == 13


def test_large_run_length_bmp_is_bad_image() -> None:
    # Pillow fills each row of it pixel by pixel in Python: 1 kB would take seconds.
    with pytest.raises(ImageError, match="large and run-length encoded"):
        decode_image(bmp(2_001, 2_000, compression=1))
    small = bmp(5, 1, compression=1)[:-2] + b"\5\1\0\1"
    assert decode_image(small).width == 5


FULL = {
    "exif": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0",
    "icc_profile": bytes(99),
}
MOVING = {"save_all": True, "append_images": [noise().rotate(180)]}
# Small files in the flavours that take different ways through Pillow.
FLAVOURS: list[tuple[str, str, dict[str, object]]] = [
    ("JPEG", "RGB", {**FULL}),
    ("JPEG", "L", {"progressive": True}),
    ("JPEG", "CMYK", {}),
    ("PNG", "RGB", {**FULL}),
    ("PNG", "P", {"transparency": b"\0\x80"}),
    ("PNG", "LA", {}),
    ("PNG", "1", {}),
    ("PNG", "RGB", {**MOVING}),
    ("WEBP", "RGB", {**FULL}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("WEBP", "RGB", {**MOVING}),
    ("BMP", "RGB", {}),
    ("BMP", "P", {}),
    ("BMP", "1", {}),
    ("BMP", "RGBA", {}),
    ("GIF", "P", {"transparency": 1}),
    ("GIF", "P", {**MOVING, "disposal": 2}),
    ("GIF", "L", {"interlace": 1}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "CMYK", {}),
    ("TIFF", "I", {}),
    ("TIFF", "F", {}),
]


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Changes, removes and repeats a few bytes, half of them near the beginning."""
    changed = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 4, 8])):
        at = dice.randrange(dice.choice([min(80, len(changed)), len(changed)]) or 1)
        match dice.randrange(6):
            case 0:
                del changed[at:]
            case 1:
                del changed[at : at + dice.randrange(20)]
            case 2:
                changed[at:at] = changed[at : at + 20]
            case _:
                byte = dice.choice([0, 1, 127, 128, 255, dice.randrange(256)])
                changed[at : at + 1] = bytes([byte])
    return bytes(changed)


def with_checksums(data: bytes) -> bytes:
    """Repairs a PNG's checksums: without it, a change gets no further than the first of them."""
    fixed, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        fixed += chunk(data[at + 4 : at + 8], data[at + 8 : end])
        at = end + 4
    return bytes(fixed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda f: "-".join([*f[:2], *f[2]]))
def test_damaged_file_is_an_image_or_bad_image(flavour: tuple[str, str, dict[str, object]]) -> None:
    kind, mode, options = flavour
    original = saved(noise(mode=mode), kind, **options)
    dice = random.Random(kind)
    refused = 0
    for _ in range(500):
        data = mutated(original, dice)
        try:
            decode_image(with_checksums(data) if kind == "PNG" else data, SMALL)
        except ImageError:
            refused += 1
    assert 10 < refused < 500
