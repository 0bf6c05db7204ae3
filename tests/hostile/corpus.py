"""Hostile requests, each built by script, with the statuses that are right for it.

README.md beside this file tells why each group is here.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO

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

HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"
POST = b"POST /v1/classify HTTP/1.1\r\n" + HOST + CLOSE
CHUNKED = b"Transfer-Encoding: chunked\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
END = b"\r\n--b--\r\n"

PIECES = 64
"""Into how many parts a file is cut, to end after each of them."""

FLIPS = 40
"""Copies of each file in which bits are turned over."""

REFUSED = frozenset({400, 415, 422})
FINE = frozenset({200})
CLOSED = frozenset({0})
"""The connection ends without an answer: there was no whole request."""


@dataclass(frozen=True)
class Case:
    """A request.

    Attributes:
        name: What it is.
        request: Its bytes, from the request line on.
        allowed: The statuses that are right; 0 for none.
        ends: Whether the client closes its half of the connection behind it.
    """

    name: str
    request: bytes
    allowed: frozenset[int]
    ends: bool = False


def post(body: bytes, more: bytes = b"") -> bytes:
    """Returns the request that classifies a body."""
    return POST + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def picture(name: str, data: bytes, allowed: frozenset[int], more: bytes = b"") -> Case:
    """Returns the case that sends a picture."""
    return Case(name, post(data, more), allowed)


def files() -> dict[str, bytes]:
    """Returns a small sound file of each kind."""
    image = noise(61, 47)
    return {
        "jpeg": saved(image, "JPEG"),
        "progressive": saved(image, "JPEG", progressive=True),
        "png": saved(image, "PNG"),
        "webp": saved(image, "WEBP"),
        "gif": saved(image, "GIF"),
        "bmp": saved(image, "BMP"),
    }


def truncations() -> Iterator[Case]:
    """Cuts each file behind every 64th of it."""
    for kind, data in files().items():
        for piece in range(PIECES):
            cut = data[: len(data) * piece // PIECES]
            yield picture(f"{kind} {piece}/{PIECES}", cut, REFUSED)


def bit_flips() -> Iterator[Case]:
    """Turns one to eight bits over, half of them in the first hundred bytes."""
    dice = random.Random(5)
    for kind, data in files().items():
        for number in range(FLIPS):
            changed = bytearray(data)
            for _ in range(dice.randint(1, 8)):
                at = dice.randrange(dice.choice([100, len(changed)]))
                changed[at] ^= 1 << dice.randrange(8)
            yield picture(f"{kind} {number}", bytes(changed), REFUSED | FINE)


def bombs() -> Iterator[Case]:
    """Files that become far larger than they are."""
    for build in (png, bmp, gif, jpeg, webp):
        huge = build(16_383, 16_383)
        yield picture(f"{build.__name__} of 268 megapixels", huge, frozenset({422}))
    black = png(4_000, 4_000, chunk(b"IDAT", zlib.compress(bytes(4_000 * 12_001), 9)))
    yield picture("16 megapixels in 47 kB", black, FINE)
    more = png(13, 11, chunk(b"IDAT", zlib.compress(bytes(50_000_000), 9)))
    yield picture("50 MB for 13 x 11 pixels", more, REFUSED | FINE)
    tall = saved(Image.new("1", (1, 65_536)), "PNG")
    yield picture("a side beyond what JPEG can state", tall, frozenset({422}))
    yield picture("101 scans", progressive(101), frozenset({400}))
    yield picture("run lengths", bmp(2_001, 2_000, compression=1), frozenset({400}))


def metadata() -> Iterator[Case]:
    """Colour profiles, EXIF and texts of giants, and floods of them."""
    yield picture("16 MB of ICC", jpeg_with(segments(0xE2, *[bytes(65_000)] * 255)), FINE)
    yield picture("64 kB of EXIF", jpeg_with(segments(0xE1, b"Exif\0\0" + bytes(65_000))), FINE)
    exif = jpeg_with(segments(0xE1, *[b"Exif\0\0" + bytes(60_000)] * 200))
    yield picture("200 blocks of EXIF", exif, frozenset({400}))
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50_000_000)))
    yield picture("a profile of 50 MB in 50 kB", png_with(profile), REFUSED | FINE)
    text = zlib.compress(bytes(50_000_000))
    yield picture("a text of 50 MB", png_with(chunk(b"zTXt", b"k\0\0" + text)), frozenset({400}))
    inflating = chunk(b"iTXt", b"k\0\1\0\0\0" + text)
    yield picture("an iTXt of 50 MB", png_with(inflating), frozenset({400}))
    plain = chunk(b"iTXt", b"k\0\0\0\0\0" + b"x" * 20_000_000)
    yield picture("an iTXt of 20 MB as it is", png_with(plain), REFUSED | FINE)
    yield picture("a GIF of comments", gif_with(b"!\xfe" + b"\1a" * 300_000 + b"\0"), REFUSED)
    yield picture("a JPEG of segments", jpeg_with(b"\xff\xe0\0\2" * 300_000), REFUSED)
    yield picture("a PNG of chunks", png_with(chunk(b"aaAa", b"") * 300_000), REFUSED)


def frames() -> Iterator[Case]:
    """Pictures that hold many: only the first is decoded."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2D\1\0"
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    yield picture("a GIF of 10,000 frames", screen + frame * 10_000 + b";", FINE)
    # MPF (CIPA DC-007): a table of pictures in the file, of which each may hold such a table.
    table = b"MPF\0II*\0\x08\0\0\0" + b"\1\0\1\xb0\4\0\1\0\0\0\xff\xff\0\0" + bytes(4)
    inner = jpeg_with(segments(0xE2, table))
    for _ in range(12):
        inner = jpeg_with(segments(0xE2, table)) + inner
    yield picture("pictures in pictures (MPO)", inner, FINE)
    thumbnail = b"Exif\0\0II*\0\x08\0\0\0" + saved(noise(), "JPEG")
    yield picture("a JPEG in a JPEG's EXIF", jpeg_with(segments(0xE1, thumbnail)), FINE | REFUSED)
    moving = BytesIO()
    images = [noise().rotate(90 * turn) for turn in range(1, 100)]
    noise().save(moving, "PNG", save_all=True, append_images=images)
    yield picture("an animated PNG", moving.getvalue(), FINE)


def disguises() -> Iterator[Case]:
    """Files that are called something else, and files that are two things at once."""
    sound = files()
    for kind in (b"image/png", b"text/html", b"application/x-www-form-urlencoded", b"x", b"/"):
        yield picture(
            f"JPEG called {kind.decode()}", sound["jpeg"], FINE, b"Content-Type: " + kind + b"\r\n"
        )
    for name, start in {
        "HTML": b"<!doctype html><script>",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "PDF": b"%PDF-1.7\n" + sound["jpeg"],
        "PostScript": b"%!PS\n(/etc/passwd) (r) file",
        "ZIP": b"PK\3\4" + sound["png"],
        "program": b"\x7fELF" + bytes(100),
        "TIFF": saved(noise(), "TIFF"),
    }.items():
        yield picture(
            f"{name} called JPEG", start, frozenset({415}), b"Content-Type: image/jpeg\r\n"
        )
    yield picture("JPEG and ZIP", sound["jpeg"] + b"PK\3\4" + bytes(100), FINE)
    yield picture("PNG and HTML", sound["png"] + b"<script>alert(1)</script>", FINE)
    yield picture("GIF and script", b"GIF89a/*" + bytes(40) + b"*/=1;alert(1)", REFUSED)
    yield picture("BMP and HTML", b"BM<script>alert(1)</script>" + bytes(60), REFUSED)
    yield picture("PHP in a text", png_with(chunk(b"tEXt", b"k\0<?php system('id');")), FINE)


def forms() -> Iterator[Case]:
    """Multipart bodies that are malformed, cut, or far too many."""
    sound = files()["jpeg"]
    one = PART + sound + END
    for name, body, allowed in (
        ("sound", one, FINE),
        ("empty", b"", frozenset({400})),
        ("end alone", b"--b--\r\n", frozenset({400})),
        ("no end", PART + sound, frozenset({400})),
        ("half a boundary", PART + sound + b"\r\n--", frozenset({400})),
        ("no blank line", PART[:-2] + sound + END, frozenset({400})),
        ("bare line feeds", one.replace(b"\r\n", b"\n"), frozenset({200, 400})),
        ("part without a name", one.replace(b'name="image"; ', b""), frozenset({400})),
        ("part without headers", b"--b\r\n\r\n" + sound + END, frozenset({400})),
        ("another boundary", one.replace(b"--b", b"--c"), frozenset({400})),
        ("path as a name", one.replace(b'"x"', b'"../../../etc/passwd"'), FINE),
        ("NUL in a name", one.replace(b'"x"', b'"\0\xff"'), frozenset({200, 400})),
        ("two names", one.replace(b'name="image"', b'name="image"; name="x"'), REFUSED | FINE),
        ("form in a form", PART.replace(b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed; "
         b"boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--") + END, FINE),
        ("257 parts", (PART + b"x\r\n") * 257 + b"--b--\r\n", frozenset({413})),
        ("10,000 empty parts", b"--b\r\n\r\n\r\n" * 10_000 + b"--b--\r\n", frozenset({400, 413})),
        ("endless head of a part", PART[:-4] + b"x" * 600_000, frozenset({413})),
        ("a text of 600 kB", PART.replace(b'; filename="x"', b"").replace(b"image", b"note")
         + b"x" * 600_000 + END, frozenset({413})),
    ):  # fmt: skip
        yield Case(name, post(body, FORM), allowed)
    for boundary in (b"", b"boundary=", b"boundary=" + b"b" * 5_000, b'boundary="\xe9"'):
        kind = b"Content-Type: multipart/form-data; " + boundary + b"\r\n"
        yield Case(f"{boundary[:20]!r}", post(one, kind), frozenset({400}))


def smuggling() -> Iterator[Case]:
    """Requests that two servers could read differently (RFC 9112, sections 6.3 and 11.2)."""
    inner = b"0\r\n\r\nGET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
    length = b"Content-Length: %d\r\n" % len(inner)
    bad = frozenset({400})
    yield Case("length, then chunks", POST + length + CHUNKED + b"\r\n" + inner, bad)
    yield Case("chunks, then length", POST + CHUNKED + length + b"\r\n" + inner, bad)
    for name, lines in {
        "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
        "the same length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n",
        "a list of lengths": b"Content-Length: 5, 5\r\n",
        "a length with a sign": b"Content-Length: +5\r\n",
        "a length below zero": b"Content-Length: -5\r\n",
        "a hexadecimal length": b"Content-Length: 0x5\r\n",
        "no length": b"Content-Length:\r\n",
        "a length of 5,000 digits": b"Content-Length: " + b"9" * 5_000 + b"\r\n",
        "a blank before the colon": b"Transfer-Encoding : chunked\r\n",
        "a tab before the colon": b"Content-Length\t: 5\r\n",
        "a name with a NUL": b"X\0Y: 1\r\n",
        "a bare line feed": b"X: 1\nContent-Length: 5\r\n",
        "a bare carriage return": b"X: 1\rContent-Length: 5\r\n",
        "a folded first line": b" folded: 1\r\n",
        "no colon": b"nothing\r\n",
    }.items():
        head = POST.removesuffix(CLOSE) if name.startswith("a folded") else POST
        start = head.split(b"\r\n")[0] + b"\r\n" if name.startswith("a folded") else head
        yield Case(name, start + lines + b"\r\nabcde", bad)
    for coding in (b"gzip", b"xchunked", b"chunked, gzip", b"\x0bchunked", b"identity"):
        lines = b"Transfer-Encoding: " + coding + b"\r\n"
        # 501 is what RFC 9112, section 6.1, asks for.
        yield Case(f"encoding {coding!r}", POST + lines + b"\r\n" + inner, frozenset({400, 501}))
    old = POST.replace(b"1.1", b"1.0")
    yield Case("chunks in HTTP/1.0", old + CHUNKED + b"\r\n" + inner, bad)
    other = b"GET http://other.example/livez HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"
    yield Case("another host in the address", other, frozenset({200, 400, 403}))
    two = b"GET /livez HTTP/1.1\r\n" + HOST + b"Host: other.example\r\n" + CLOSE + b"\r\n"
    yield Case("two hosts", two, frozenset({400, 403}))


def heads() -> Iterator[Case]:
    """Heads that are floods, other protocols, or nonsense."""
    live = b"GET /livez HTTP/1.1\r\n" + HOST + CLOSE
    large = frozenset({431})
    yield Case("300 headers", live + b"X: 1\r\n" * 300 + b"\r\n", FINE)
    yield Case("5,000 headers", live + b"X: 1\r\n" * 5_000 + b"\r\n", large)
    yield Case("a header of 1 MB", live + b"X: " + b"1" * 1_000_000 + b"\r\n\r\n", large)
    yield Case("an address of 1 MB", live.replace(b"livez", b"x" * 1_000_000) + b"\r\n", large)
    yield Case("a cookie of 15 kB", live + b"Cookie: " + b"x" * 15_000 + b"\r\n\r\n", FINE)
    for name, line in {
        "unknown method": b"BREW / HTTP/1.1",
        "TRACE": b"TRACE / HTTP/1.1",
        "CONNECT": b"CONNECT other.example:443 HTTP/1.1",
        "small letters": b"get / HTTP/1.1",
        "HTTP/2": b"PRI * HTTP/2.0",
        "HTTP/9.9": b"GET /nope HTTP/9.9",
        "two blanks": b"GET  /livez  HTTP/1.1",
        "no address": b"GET HTTP/1.1",
        "bracket": b"GET http://[ HTTP/1.1",
        "way up": b"GET /static/../../../../etc/passwd HTTP/1.1",
        "hidden way up": b"GET /static/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1",
        "name with NUL": b"GET /v1/models/%00 HTTP/1.1",
        "no UTF-8": b"GET /v1/models/%ff%fe HTTP/1.1",
        "unknown parameter": b"GET /v1/labels?%ff=%00 HTTP/1.1",
    }.items():
        request = line + b"\r\n" + HOST + CLOSE + b"\r\n"
        yield Case(
            name,
            request,
            frozenset({400, 403, 404, 405, 501} | ({200} if "star" in name else set())),
        )
    # Either has a meaning: the page in HTTP/1.0, and what this server can (RFC 9110, 9.3.7).
    yield Case("no version", b"GET /\r\n" + HOST + CLOSE + b"\r\n", FINE)
    star = b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"
    yield Case("star", star, frozenset({200, 400, 404}))
    yield Case("TLS", b"\x16\3\1\2\0\1\0\1\xfc\3\3" + bytes(100) + b"\r\n\r\n", frozenset({400}))
    yield Case("SSH", b"SSH-2.0-OpenSSH_9.9\r\n\r\n", frozenset({400}))
    # It reads as HTTP without a version, of a client that names no host.
    yield Case("SMTP", b"EHLO other.example\r\n\r\n", frozenset({400, 403}))
    yield Case("blank lines", b"\r\n" * 1_000, CLOSED, ends=True)
    yield Case("NULs", bytes(20_000), large, ends=True)


def lengths() -> Iterator[Case]:
    """Bodies that are not as long as they claim."""
    sound = files()["jpeg"]
    says = b"Content-Length: %d\r\n\r\n"
    yield Case("too short", POST + says % (len(sound) + 9) + sound, CLOSED, ends=True)
    yield Case("no body", POST + says % 9, CLOSED, ends=True)
    yield Case("half a head", POST[:40], CLOSED, ends=True)
    yield Case("too long", POST + says % (len(sound) // 2) + sound, frozenset({400}))
    yield Case("no length", POST + b"\r\n" + sound, frozenset({400}))
    yield Case("33 MB", POST + says % 33_000_000, frozenset({413}))
    yield Case("9 EB", POST + says % 9_000_000_000_000_000_000, frozenset({413}))
    waits = b"Expect: 100-continue\r\n"
    yield Case("33 MB on request", POST + waits + says % 33_000_000, frozenset({413}))


def chunks() -> Iterator[Case]:
    """Bodies in pieces that do not fit together (RFC 9112, section 7.1)."""
    sound = files()["jpeg"]
    whole = b"%x\r\n" % len(sound) + sound + b"\r\n0\r\n\r\n"
    start = POST + CHUNKED + b"\r\n"
    bad = frozenset({400})
    yield Case("sound", start + whole, FINE)
    yield Case(
        "byte by byte",
        start + b"".join(b"1\r\n%c\r\n" % byte for byte in sound) + b"0\r\n\r\n",
        FINE,
    )
    yield Case("with a trailer", start + whole[:-2] + b"X: 1\r\n\r\n", FINE)
    yield Case("with an extension", start + whole.replace(b"\r\n", b";a=b\r\n", 1), FINE)
    for name, body in {
        "no number": b"z\r\nabc\r\n0\r\n\r\n",
        "below zero": b"-1\r\nabc\r\n0\r\n\r\n",
        "with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
        "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
        "with a blank": b"3 \r\nabc\r\n0\r\n\r\n",
        "longer than it says": b"3\r\nabcdef\r\n0\r\n\r\n",
        "bare line feeds": b"3\nabc\n0\n\n" + b"x" * 17_000,
        "bad extension": b"3;\0\r\nabc\r\n0\r\n\r\n",
        "endless number": b"0" * 20_000,
        "endless trailer": b"0\r\nX: " + b"x" * 20_000,
        "nothing": b"0\r\n\r\n",
    }.items():
        yield Case(name, start + body, bad)
    yield Case("larger than any", start + b"F" * 15 + b"\r\nabc", CLOSED, ends=True)
    yield Case("cut", start + whole[: len(whole) // 2], CLOSED, ends=True)
    many = b"8000\r\n" + bytes(0x8000) + b"\r\n"
    yield Case("33 MB", start + many * 1_010, frozenset({413}))


GROUPS: tuple[Callable[[], Iterator[Case]], ...] = (
    truncations,
    bit_flips,
    bombs,
    metadata,
    frames,
    disguises,
    forms,
    smuggling,
    heads,
    lengths,
    chunks,
)
