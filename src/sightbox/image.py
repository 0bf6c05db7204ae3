"""Turns an upload's bytes into an upright RGB picture, or says why it cannot.

The content decides what a file is, never its name. One reader of Pillow is called directly, after
the pixel limit has been checked against the header: `PIL.Image.open` would compare with a limit of
the whole process and report through `warnings`, and neither is safe with threads.

Everything here runs before a picture is queued, so that a damaged or hostile upload fails alone.
"""

import io
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from sightbox.errors import ImageError, ImageFormatError, ImageTooLargeError
from sightbox.upright import (
    lies_on_its_side,
    orientation_of,
    pillow_errors,
    to_rgb,
    turn_upright,
)

#: Longest side, px: what a JPEG can state (ITU-T T.81, B.2.2). A picture of 1 x 50,000,000 is
#: within the pixel limit, and yet resizing it would take gigabytes.
MAX_SIDE = 65_535
#: Calls to ``read`` for one picture. A photo takes tens, a PNG of 32 MB in 8 kB blocks 12,000.
MAX_READS = 200_000
#: Such calls in a row for what is no pixels. Pillow keeps objects of each piece: of 200,000 calls
#: 10 MB, which Python gives back by the MB, and only where nothing that lives longer came between.
MAX_METADATA_READS = 20_000
#: Scans in a progressive JPEG. Encoders write 3 to 20; each one passes over the whole picture.
MAX_SCANS = 100
#: EXIF blocks or colour profiles; a picture needs one.
MAX_REPEATS = 64
#: Pixels of a run-length encoded BMP, which Pillow decodes in Python, about 0.1 us a pixel.
MAX_RUN_LENGTH_PIXELS = 4_000_000

_NAMES = {"WEBP": "WebP"}
# A marker that starts a segment: neither stuffing, nor a restart, nor fill (T.81, B.1.1.2).
_SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


@dataclass(frozen=True)
class ImageLimits:
    """What `decode_image` accepts.

    Attributes:
        max_pixels: Width times height, at most.
        formats: Any of JPEG, PNG, WEBP, BMP, GIF and TIFF. TIFF is off by default: it is a large
            format with a long history of holes.
    """

    max_pixels: int = 50_000_000
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP", "GIF")


DEFAULT_LIMITS = ImageLimits()


@dataclass(frozen=True)
class DecodedImage:
    """A picture, decoded to the last pixel.

    Attributes:
        pixels: Mode RGB, upright, without metadata.
        format: One of the names in `ImageLimits.formats`.
        width: Of the upright picture at its full size, px.
        height: Of the same, px.
        orientation: How the file stores it, EXIF's number: 1 is upright, 2 to 8 were turned.
    """

    pixels: Image.Image
    format: str
    width: int
    height: int
    orientation: int = 1


def decode_image(
    data: bytes | bytearray | memoryview,
    limits: ImageLimits = DEFAULT_LIMITS,
    least_side: int | None = None,
) -> DecodedImage:
    """Decodes one picture; of an animation, the first frame alone.

    Args:
        data: The bytes of the file.
        limits: What is accepted.
        least_side: What the short side must keep, px, where a JPEG may be decoded at a half, a
            quarter or an eighth of its size, which takes less time. None decodes at full size.

    Raises:
        ImageFormatError: The format is unknown or not among ``limits.formats``.
        ImageTooLargeError: The header announces too many pixels; nothing was decoded.
        ImageError: The bytes are empty, cut short, damaged, or built to waste time.
    """
    return open_image(data, limits).decode(least_side)


@dataclass(frozen=True)
class OpenedImage:
    """A picture of which the header alone was read, and found acceptable.

    Attributes:
        width: As stored, px; `decode` may swap it with the height.
        height: Likewise.
        format: One of the names in `ImageLimits.formats`.
    """

    width: int
    height: int
    format: str
    _file: ImageFile.ImageFile

    def decode(self, least_side: int | None = None) -> DecodedImage:
        """Decodes the picture; may be called once.

        Args:
            least_side: See `decode_image`.

        Raises:
            ImageError: The bytes are cut short, damaged, or built to waste time.
        """
        image = self._file
        with _damage_told(self.format):
            if least_side is not None:
                image.draft(None, (least_side, least_side))
            image.load()
            size = self.width, self.height
            width, height = reversed(size) if lies_on_its_side(image) else size
            orientation = orientation_of(image)
            pixels = to_rgb(turn_upright(image))
        if isinstance(pixels, TiffImagePlugin.TiffImageFile):
            # Its tags live outside `info`, and only a copy leaves them behind.
            pixels = pixels.copy()
        pixels.info = {}
        return DecodedImage(pixels, self.format, width, height, orientation)


def open_image(
    data: bytes | bytearray | memoryview, limits: ImageLimits = DEFAULT_LIMITS
) -> OpenedImage:
    """Reads a picture's header, which takes little time and memory, whatever the bytes are.

    Args:
        data: The bytes of the file.
        limits: What is accepted.

    Raises:
        ImageFormatError: The format is unknown or not among ``limits.formats``.
        ImageTooLargeError: The header announces too many pixels.
        ImageError: The bytes are empty, or their header is damaged or a flood.
    """
    data = bytes(data)
    kind = _allowed_format(data, limits)
    with _damage_told(kind):
        image = _open(data, kind, limits)
    return OpenedImage(*image.size, kind, image)


def _damage_told(kind: str) -> AbstractContextManager[None]:
    return pillow_errors(f"The {_NAMES.get(kind, kind)} picture is damaged or cut short")


class _Source(io.BytesIO):
    """A picture's bytes, which end floods: of tiny pieces, and of metadata that may come once.

    Pillow joins EXIF blocks in a time that grows with their square (32 MB of them: minutes), and
    inflates each colour profile, up to 1 MB from 1 kB.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads = self._repeats = 0
        self._most = MAX_METADATA_READS

    def expect_pixels(self) -> None:
        """Allows what the pixels may take from here on."""
        self._most = MAX_READS

    def expect_metadata(self) -> None:
        """Allows no more than metadata may take from here on."""
        self._most = self._reads + MAX_METADATA_READS

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self._reads += 1
        self._repeats += piece[:6] == b"Exif\0\0" or piece[4:8] == b"iCCP"
        if self._reads > self._most or self._repeats > MAX_REPEATS:
            raise ImageError("The picture is a flood of tiny or repeated pieces.", _SAVE_AGAIN)
        return piece


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """The reader of a JPEG's first picture, which leaves the metadata alone."""

    def _read_dpi_from_exif(self) -> None:
        """Does nothing: Pillow's search for a print resolution takes time and may warn."""


class _Png(PngImagePlugin.PngImageFile):
    """The reader of a PNG, in which metadata may come behind the pixels too."""

    def load_end(self) -> None:
        """Reads what is there."""
        if isinstance(self.fp, _Source):
            self.fp.expect_metadata()
        super().load_end()


class _Gif(GifImagePlugin.GifImageFile):
    """The reader of a GIF's first frame, which prepares nothing for a second one."""

    @property
    def disposal_method(self) -> int:
        """Says "keep": for anything else Pillow fills a second canvas while it opens the file."""
        return 0

    @disposal_method.setter
    def disposal_method(self, value: int) -> None:
        """Ignores what the file asks for."""


_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": _Jpeg,
    "PNG": _Png,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": _Gif,
    "TIFF": TiffImagePlugin.TiffImageFile,
}


def _open(data: bytes, kind: str, limits: ImageLimits) -> ImageFile.ImageFile:
    """Reads the header, and refuses what would cost too much to decode."""
    if (announced := webp_size(data)) is not None:
        # Pillow's reader makes two canvases of this size before it tells it.
        _check_size(*announced, limits)
    source = _Source(data)
    image = _READERS[kind](source)
    _check_size(*image.size, limits)
    if kind == "JPEG" and _scans(data, source.tell()) > MAX_SCANS:
        raise ImageError(f"The JPEG picture has more than {MAX_SCANS} scans.", _SAVE_AGAIN)
    run_length = image.tile and image.tile[0].codec_name == "bmp_rle"
    if run_length and image.width * image.height > MAX_RUN_LENGTH_PIXELS:
        raise ImageError("The BMP picture is large and run-length encoded.", _SAVE_AGAIN)
    source.expect_pixels()
    return image


def webp_size(data: bytes | bytearray) -> tuple[int, int] | None:
    """Reads width and height of a WebP picture, px, from its first bytes (RFC 9649, section 2).

    None where it is another format, or damaged.
    """
    if len(data) < 30 or data[8:12] != b"WEBP":
        return None
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if data[12:16] == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        # RFC 6386, section 9.1: the two upper bits are a scale.
        width, height = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
        return width & 0x3FFF, height & 0x3FFF
    return None


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"The picture has {width:,} x {height:,} = {width * height / 1e6:,.1f} megapixels; "
            f"at most {limits.max_pixels / 1e6:,.1f} are accepted.",
            "Make it smaller, or raise the setting `max_megapixels`.",
        )
    if max(width, height) > MAX_SIDE:
        raise ImageTooLargeError(
            f"The picture is {width:,} x {height:,} pixels; no side may exceed {MAX_SIDE:,}.",
            "Cut it into shorter pieces.",
        )


def _scans(data: bytes, start: int) -> int:
    """Counts a JPEG's scans, up to one more than are allowed; ``start`` is inside the first."""
    count = 1
    while count <= MAX_SCANS and (found := _SEGMENT.search(data, start)):
        marker = data[found.end() - 1]
        if marker == 0xD9:  # EOI
            break
        count += marker == 0xDA  # SOS
        start = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return count


_SAVE_AGAIN = "Open it in an image program and save it again as JPEG or PNG."

# Offset, bytes there, name; the first match counts.
_SIGNATURES: tuple[tuple[int, bytes | tuple[bytes, ...], str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, (b"GIF87a", b"GIF89a"), "GIF"),
    (0, b"BM", "BMP"),
    (8, b"CR\x02", "camera raw"),
    (0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF"),
    (4, b"ftypavi", "AVIF"),
    (4, (b"ftyphe", b"ftypmif1", b"ftypmsf1"), "HEIC"),
    (4, b"ftypcrx ", "camera raw"),
    (0, (b"FUJIFILMCCD-RAW", b"IIR", b"IIU\0"), "camera raw"),
    (4, (b"ftypqt", b"moov"), "MOV video"),
    (4, b"ftyp", "MP4 video"),
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska video"),
    (8, b"AVI ", "AVI video"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL \r\n\x87\n", "JPEG XL"),
    (4, b"jP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"PK\3\4", "ZIP"),
)
# How texts begin, in small letters and without leading blanks; base64 of JPEG, PNG, WebP and GIF.
_TEXTS: tuple[tuple[bytes | tuple[bytes, ...], str], ...] = (
    ((b"<svg", b"<!doctype svg"), "SVG"),
    ((b"<!doctype html", b"<html"), "HTML"),
    ((b"data:", b"/9j/", b"ivborw0kggo", b"uklgr", b"r0lgod"), "base64 text"),
    ((b"{", b"["), "JSON"),
)
_HINTS = {
    "TIFF": "Turn on the setting `allow_tiff`, or convert it to JPEG or PNG.",
    "base64 text": "Decode the base64 text and send the bytes.",
    **dict.fromkeys(("HTML", "JSON", "XML", "text"), "Send the picture's bytes themselves."),
}


def _allowed_format(data: bytes, limits: ImageLimits) -> str:
    if not data:
        raise ImageError("The picture is empty: 0 bytes.", "Send the picture's bytes.")
    kind = _sniff(data)
    if kind in limits.formats:
        return kind
    accepted = ", ".join(_NAMES.get(name, name) for name in limits.formats)
    if not kind:
        raise ImageFormatError(
            "The bytes are of no known picture format.", f"Accepted are {accepted}."
        )
    hint = "Send one frame" if kind.endswith("video") else "Convert it"
    raise ImageFormatError(
        f"This is {_NAMES.get(kind, kind)}; accepted are {accepted}.",
        _HINTS.get(kind, f"{hint} as JPEG or PNG."),
    )


def _sniff(data: bytes) -> str:
    """Names the format by the first bytes; empty where they tell nothing."""
    for offset, signature, name in _SIGNATURES:
        if data.startswith(signature, offset):
            return name
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, name in _TEXTS:
        if start.startswith(beginning):
            return name
    if start.startswith((b"<?xml", b"<!--")):
        return "SVG" if b"<svg" in start else "XML"
    return "text" if start and not re.search(rb"[^\t\n\r -\x7e]", start) else ""
