"""A client's connection: HTTP/1.1 (RFC 9112), as little of it as measuring needs.

A general client would take several times the processor's time for a request, and the server on the
same machine would lack it.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import sightbox
from sightbox.errors import RequestError

MAX_ANSWER_BYTES = 64 * 1024**2
"""Longest answer that is read, in bytes: a server that is measured is not trusted."""

PORTS = {"http": 80, "https": 443}


class Target(NamedTuple):
    """Where requests go.

    Attributes:
        host: Name or address.
        port: TCP port.
        tls: Whether the connection is encrypted.
        authority: Host and port as they stand in a request (RFC 9110, section 7.2).
        path: Path and query; empty when the URL has none.
    """

    host: str
    port: int
    tls: bool
    authority: str
    path: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Reads a URL.

        Raises:
            RequestError: It is no URL of HTTP.
        """
        wrong = RequestError(
            f"{url!r} is no address of a server.", "Write it so: http://127.0.0.1:8018"
        )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise wrong from error
        plain = url.isascii() and url.isprintable() and " " not in url
        if not (plain and parts.scheme in PORTS and parts.hostname and port != 0):
            raise wrong
        if "@" in parts.netloc:
            raise RequestError("A URL with a name and a password is not asked.", "Give a --token.")
        path = "" if parts.path in {"", "/"} and not parts.query else parts.path or "/"
        query = f"?{parts.query}" if parts.query else ""
        return cls(
            parts.hostname,
            port or PORTS[parts.scheme],
            parts.scheme == "https",
            parts.netloc,
            path + query,
        )

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> bytes:
        """Returns a whole request as bytes, so that nothing is left to do when it is due."""
        fields = {
            "Host": self.authority,
            "User-Agent": f"sightbox/{sightbox.__version__}",
            "Content-Length": str(len(body)),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


class Answer(NamedTuple):
    """What a server sent back: status, header fields with names in lower case, and content."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One connection, opened for the first request and kept as long as the server keeps it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Answer:
        """Sends a request and reads its answer.

        Raises:
            OSError: The connection failed.
            EOFError: It ended within the answer.
            ValueError: The answer is no HTTP, or too long.
        """
        reader, writer = await self._open()
        writer.write(request)
        status = 100
        while 100 <= status < 200:  # interim answers: RFC 9110, section 15.2
            version, status, headers = await _read_head(reader)
        body, framed = await _read_body(reader, status, headers)
        closing = headers.get("connection", "").lower() == "close" or version == "HTTP/1.0"
        if closing or not framed:
            self.close()
        return Answer(status, headers, body)

    def close(self) -> None:
        """Closes the connection; the next request opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and self._streams[0].at_eof():
            # The server has closed it while nobody asked: RFC 9112, section 9.5.
            self.close()
        if self._streams is None:
            target = self._target
            self._streams = await asyncio.open_connection(
                target.host, target.port, ssl=target.tls or None
            )
        return self._streams


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, int, dict[str, str]]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError as error:
        raise ValueError("The head of the answer has no end.") from error
    first, *lines = head.split("\r\n")
    version, _, rest = first.partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not code.isdecimal():
        raise ValueError("The answer is no HTTP/1.")
    fields = (line.partition(":") for line in lines if line)
    return version, int(code), {name.lower(): value.strip() for name, _, value in fields}


async def _read_body(
    reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]
) -> tuple[bytes, bool]:
    """Returns the content, and whether the answer itself told its end (RFC 9112, section 6.3)."""
    if status in {204, 304}:
        return b"", True
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader), True
    if "content-length" in headers:
        return await reader.readexactly(_bounded(int(headers["content-length"]))), True
    content = await reader.read(MAX_ANSWER_BYTES)
    while more := await reader.read(MAX_ANSWER_BYTES):
        content += more
        _bounded(len(content))
    return content, False


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Reads a chunked body (RFC 9112, section 7.1); extensions and trailers are passed over."""
    content = bytearray()
    while size := int((await reader.readuntil(b"\n")).split(b";")[0], 16):
        _bounded(len(content) + size)
        content += await reader.readexactly(size)
        await reader.readexactly(2)
    while (await reader.readuntil(b"\n")).strip():
        pass
    return bytes(content)


def _bounded(length: int) -> int:
    if not 0 <= length <= MAX_ANSWER_BYTES:
        raise ValueError("The answer is too long.")
    return length
