"""Bytes to an upright RGB picture: formats, modes, orientation, and bytes that are no picture."""

import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from sightbox.errors import ImageError, ImageFormatError
from sightbox.image import DecodedImage, ImageLimits, decode_image
from sightbox.upright import array_to_image, to_rgb

ALL = ImageLimits(formats=("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"))
BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0)
Colour = tuple[int, int, int]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(width: int = 13, height: int = 11, mode: str = "RGB", seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def row(mode: str, *values: object, **info: object) -> Image.Image:
    """A picture one pixel high."""
    picture = Image.new(mode, (len(values), 1))
    for x, value in enumerate(values):
        picture.putpixel((x, 0), value)  # type: ignore[arg-type] # what the mode takes
    picture.info.update(info)
    return picture


def palette_row(*indices: int, **info: object) -> Image.Image:
    picture = row("P", *indices, **info)
    picture.putpalette([*BLACK, *RED, *GREEN])
    return picture


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def colours(decoded: DecodedImage | Image.Image) -> list[Colour]:
    image = decoded.pixels if isinstance(decoded, DecodedImage) else decoded
    assert image.mode == "RGB"
    return [tuple(pixel) for pixel in np.asarray(image)[0].tolist()]


def grey(*values: int) -> list[Colour]:
    return [(value, value, value) for value in values]


# --- formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL.formats)
def test_format_is_told_from_the_content(kind: str) -> None:
    decoded = decode_image(saved(noise(), kind), ALL)
    assert (decoded.format, decoded.width, decoded.height) == (kind, 13, 11)
    assert decoded.pixels.size == (13, 11)


@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0},
        {"subsampling": 1},
        {"subsampling": 2},
        {"progressive": True},
        {"quality": 100, "optimize": True},
        {"restart_marker_blocks": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_pixels_are_torchvisions(mode: str, options: dict[str, object]) -> None:
    assert_like_torchvision(saved(noise(30, 20, mode), "JPEG", **options))


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)], ids=str)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_thin_picture_is_decoded(kind: str, size: tuple[int, int]) -> None:
    assert_like_torchvision(saved(noise(*size), kind))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_opaque_pixels_are_torchvisions(kind: str, mode: str) -> None:
    assert_like_torchvision(saved(noise(mode=mode), kind))


def test_jpeg_with_trailing_bytes_is_decoded() -> None:
    assert_like_torchvision(saved(noise(), "JPEG") + b"\xff\xda" * 500)


def test_cmyk_jpeg_without_adobe_mark_is_read_as_pillow_does() -> None:
    data = saved(noise(mode="CMYK"), "JPEG")
    at = data.index(b"\xff\xee")
    assert_like_torchvision(data[:at] + data[at + 2 + 14 :])


def assert_like_torchvision(data: bytes) -> None:
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    assert decode_image(data).pixels.tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "MPO"])
def test_first_frame_alone_counts(kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), GREEN)
    decoded = decode_image(saved(first, kind, save_all=True, append_images=[second]))
    assert colours(decoded)[0][0] > 250
    assert decoded.format == ("JPEG" if kind == "MPO" else kind)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_are_taken(kind: Callable[[bytes], bytes]) -> None:
    assert decode_image(kind(saved(noise(), "PNG"))).width == 13


def test_threads_get_their_own_pictures() -> None:
    files = [saved(noise(seed=seed), "PNG") for seed in range(32)]
    with ThreadPoolExecutor(8) as pool:
        for seed, decoded in enumerate(pool.map(decode_image, files)):
            assert decoded.pixels.tobytes() == noise(seed=seed).tobytes()


# --- modes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "kind", "expected"),
    [
        (row("1", 0, 255), "PNG", grey(0, 255)),
        (row("L", 0, 200), "PNG", grey(0, 200)),
        (row("L", 7, 8, transparency=7), "PNG", [WHITE, *grey(8)]),
        (row("LA", (0, 255), (0, 128), (9, 0)), "PNG", grey(0, 127, 255)),
        (palette_row(0, 1, 2), "PNG", [BLACK, RED, GREEN]),
        (palette_row(0, 1, 2, transparency=1), "PNG", [BLACK, WHITE, GREEN]),
        (palette_row(0, 1, 2, transparency=b"\x80\0\xff"), "PNG", [*grey(127), WHITE, GREEN]),
        (palette_row(0, 1, 2, transparency=1), "GIF", [BLACK, WHITE, GREEN]),
        (row("RGB", RED, GREEN, transparency=RED), "PNG", [WHITE, GREEN]),
        (row("RGBA", (*RED, 255), (*RED, 128), (*RED, 0)), "PNG", [RED, (255, 127, 127), WHITE]),
        (row("RGBA", (*RED, 255), (*RED, 0)), "WEBP", [RED, WHITE]),
        (row("CMYK", (0, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255)), "TIFF", [WHITE, RED, BLACK]),
        (row("LAB", (255, 128, 128), (0, 128, 128)), "TIFF", [(254, 255, 254), (1, 0, 1)]),
        (row("I;16", 0, 255, 256, 65_535), "PNG", grey(0, 0, 1, 255)),
        (row("I;16", 5, 65_535, transparency=65_535), "PNG", grey(0, 255)),
        (row("I;16", 0, 65_535, transparency=0), "PNG", grey(255, 255)),
        (row("I;16B", 0, 255, 256, 65_535), "TIFF", grey(0, 0, 1, 255)),
        (row("I", -1, 256, 65_535, 70_000), "TIFF", grey(0, 1, 255, 255)),
        (row("F", -5.0, 100.0, 300.0), "TIFF", grey(0, 100, 255)),
        (row("La", (0, 255), (0, 128), (0, 0)), None, grey(0, 127, 255)),
        (row("RGBa", (255, 0, 0, 255), (0, 0, 0, 0)), None, [RED, WHITE]),
        (row("RGBX", (255, 0, 0, 9)), None, [RED]),
        (row("YCbCr", (255, 128, 128), (0, 128, 128)), None, [WHITE, BLACK]),
        (row("HSV", (0, 255, 255)), None, [RED]),
        (palette_row(0, 1).convert("PA"), None, [BLACK, RED]),
    ],
    ids=lambda value: getattr(value, "mode", None),
)
def test_mode_becomes_rgb_over_white(
    picture: Image.Image, kind: str | None, expected: list[Colour]
) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    result = decode_image(saved(picture, kind, **options), ALL) if kind else to_rgb(picture)
    assert colours(result) == expected


def test_16_bit_colour_keeps_the_upper_byte() -> None:
    pixels = zlib.compress(b"\0" + bytes([1, 200, 2, 255, 255, 0]))
    assert colours(decode_image(png(1, 1, chunk(b"IDAT", pixels), depth=16))) == [(1, 2, 255)]


def test_rgb_picture_is_not_copied() -> None:
    picture = noise()
    assert to_rgb(picture) is picture


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 3), (2, 3, 4)], ids=str)
def test_array_becomes_rgb_picture(shape: tuple[int, ...]) -> None:
    array = np.full(shape, 255, np.uint8)
    array[0, 0] = [9, 8, 7, 255][: shape[2]] if len(shape) == 3 else 9
    image = array_to_image(array[:, ::-1])
    assert image.size == (3, 2)
    assert image.getpixel((2, 0)) == ((9, 8, 7) if len(shape) == 3 else (9, 9, 9))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3, 3), np.float32),
        np.zeros((2, 3, 3), bool),
        np.zeros((3, 2, 2), np.uint8),
        np.zeros((1, 2, 3, 3), np.uint8),
        np.zeros((6,), np.uint8),
        np.zeros((0, 3, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_unfit_array_is_bad_image(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"The array is .*uint8 with the shape \[H, W, 3\]"):
        array_to_image(array)


# --- orientation and metadata -------------------------------------------------------------------

UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *[orientation, 0][: 5 - kind])
    entries = struct.pack(order + "HHII", 256, 4, 1, 13) + struct.pack(order + "HHI", 274, kind, 1)
    return b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 2) + entries + value + bytes(4)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_and_metadata_dropped(kind: str, orientation: int) -> None:
    tags = Image.Exif()
    tags[274] = orientation
    plain = decode_image(saved(noise(), kind), ALL).pixels
    data = saved(noise(), kind, exif=tags, icc_profile=b"x" * 200)
    decoded = decode_image(data, ALL)
    assert np.array_equal(np.asarray(decoded.pixels), UPRIGHT[orientation](np.asarray(plain)))
    assert (decoded.width, decoded.height) == decoded.pixels.size
    assert decoded.pixels.info == {}
    assert not decoded.pixels.getexif()
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert turned.tobytes() == decoded.pixels.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_orientation_is_read_in_any_notation(order: str, kind: int) -> None:
    decoded = decode_image(saved(noise(), "JPEG", exif=exif(6, order, kind)))
    assert (decoded.width, decoded.height) == (11, 13)


@pytest.mark.parametrize("mode", ["RGBA", "I;16", "P", "1"])
def test_converted_picture_is_turned_too(mode: str) -> None:
    picture = row(mode, *[(1, 2, 3, 0)] * 3) if mode == "RGBA" else Image.new(mode, (3, 1))
    assert decode_image(saved(picture, "PNG", exif=exif(6))).height == 3


@pytest.mark.parametrize(
    "broken",
    [
        b"Exif\0\0",
        b"Exif\0\0no TIFF at all",
        exif(0),
        exif(9),
        exif(6)[:-8],
        exif(6)[:14] + b"\xff\xff",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(2000),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_is_ignored(kind: str, broken: bytes) -> None:
    assert decode_image(saved(noise(), kind, exif=broken)).width == 13


@pytest.mark.parametrize("key", ["exif", "transparency", "icc_profile", "interlace", "gamma"])
def test_text_chunk_cannot_pose_as_metadata(key: str) -> None:
    text = PngInfo()
    text.add_itxt(key, "nonsense")
    data = saved(noise(), "PNG", pnginfo=text)
    if key in {"transparency", "interlace"}:  # Pillow believes these two
        with pytest.raises(ImageError, match="picture"):
            decode_image(data)
    else:
        assert decode_image(data).width == 13


# --- bytes that are no picture ------------------------------------------------------------------


def ftyp(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + bytes(12)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ftyp(b"heic"), "HEIC.*JPEG, PNG, WebP, BMP, GIF.*Convert it as JPEG or PNG"),
        (ftyp(b"mif1"), "HEIC"),
        (ftyp(b"avif"), "AVIF"),
        (ftyp(b"qt  "), "MOV video.*Send one frame"),
        (ftyp(b"isom"), "MP4 video.*Send one frame"),
        (ftyp(b"crx "), "camera raw"),
        (b"II*\0\x10\0\0\0CR\2\0", "camera raw"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw"),
        (saved(noise(), "TIFF"), "TIFF.*`allow_tiff`"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (saved(noise(), "ICO"), "ICO"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\3\4", "ZIP"),
        (b'\xef\xbb\xbf <?xml version="1.0"?>\n<svg/>', "SVG"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"<?xml version='1.0'?><a/>", "XML"),
        (b"\n<!DOCTYPE html><html>", "HTML.*picture's bytes themselves"),
        (b'{"image": "x"}', "JSON"),
        (b"data:image/png;base64,AAAA", "base64 text.*Decode"),
        (b"/9j/4AAQSkZJRg", "base64 text"),
        (b"hello, world", "This is text"),
        (b"\x01\x02\x03\x04", "of no known picture format"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_format_is_named(data: bytes, message: str) -> None:
    with pytest.raises(ImageFormatError, match=message):
        decode_image(data)


def test_format_that_is_off_is_refused() -> None:
    with pytest.raises(ImageFormatError, match="This is PNG; accepted are JPEG"):
        decode_image(saved(noise(), "PNG"), ImageLimits(formats=("JPEG",)))


def test_no_bytes_are_bad_image() -> None:
    with pytest.raises(ImageError, match="empty: 0 bytes"):
        decode_image(b"")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ALL.formats)
def test_truncated_file_is_bad_image(kind: str, share: float) -> None:
    data = saved(noise(60, 50), kind)
    with pytest.raises(ImageError, match=r"damaged or cut short: .*send the whole file again"):
        decode_image(data[: int(len(data) * share)], ALL)


def test_callers_damaged_picture_is_bad_image() -> None:
    picture = Image.open(io.BytesIO(saved(noise(60, 50), "JPEG")[:-900]))
    with pytest.raises(ImageError, match="pixels cannot be read"):
        to_rgb(picture)
    with pytest.raises(ImageError, match="0 x 5 pixels"):
        to_rgb(Image.new("RGB", (0, 5)))
