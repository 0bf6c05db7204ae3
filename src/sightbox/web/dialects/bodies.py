"""The body of a request, inflated where its client compressed it."""

import zlib
from typing import IO

from flask import request

from sightbox.errors import BodyTooLargeError, RequestError
from sightbox.web.api import body_limit_bytes
from sightbox.web.dialects.fields import JsonLimits
from sightbox.web.service import current_service

READ_BYTES = 65_536
"""How many compressed bytes are looked at a time."""

WINDOWS = {"gzip": 31, "deflate": 15}
"""zlib's window bits for each content coding: RFC 9110, section 8.4.1, has zlib's format, and no
bare stream, in mind when it says deflate."""

ENCODING_HEADER = {
    "name": "Content-Encoding",
    "in": "header",
    "description": "How the body is compressed.",
    "schema": {"enum": ["identity", *WINDOWS]},
}
"""The header that `read_body` reads, as a Parameter Object (OpenAPI 3.1, section 4.8.12)."""


class InflatedTooLargeError(BodyTooLargeError):
    """A compressed body becomes larger than the server accepts."""

    code = "inflated_too_large"


class EncodingError(RequestError):
    """A body is compressed in a way that is not known here."""

    code = "unsupported_encoding"
    title = "The body's encoding is not supported"
    status = 415


BODY_ERRORS = (EncodingError, InflatedTooLargeError)
"""What can be wrong with a body that its client compressed."""


def read_body() -> bytes:
    """Returns the body of the current request as it was before its client compressed it.

    Raises:
        InflatedTooLargeError: It is larger than the setting `max_inflated_mb`; what lies beyond was
            not inflated.
        EncodingError: The encoding is unknown.
        RequestError: The compressed data are damaged, cut short, or followed by others.
    """
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding == "identity":
        return request.get_data(cache=False)
    if coding not in WINDOWS:
        raise EncodingError(
            f"The encoding {coding!r} is not known here.", f"Known are {', '.join(WINDOWS)}."
        )
    most = body_limit_bytes(current_service().settings.max_inflated_mb)
    return inflate(request.stream, WINDOWS[coding], most)


def json_limits() -> JsonLimits:
    """Returns what the JSON of a request may hold."""
    settings = current_service().settings
    return JsonLimits(settings.max_json_values, settings.max_json_depth)


def inflate(stream: IO[bytes], window: int, max_bytes: int) -> bytes:
    """Inflates a stream and stops one byte behind `max_bytes`.

    Args:
        stream: The compressed bytes.
        window: zlib's window bits, which choose the format too.
        max_bytes: Most bytes, inflated.

    Raises:
        InflatedTooLargeError: There are more.
        RequestError: The compressed data are damaged, cut short, or followed by others.
    """
    inflater = zlib.decompressobj(window)
    whole = bytearray()
    try:
        while packed := inflater.unconsumed_tail or stream.read(READ_BYTES):
            # One more than may be, or 0, which would mean "without limit".
            whole += inflater.decompress(packed, max_bytes - len(whole) + 1)
            if len(whole) > max_bytes:
                raise InflatedTooLargeError(
                    f"The body is larger than {max_bytes / 1e6:g} MB once it is inflated.",
                    "Send fewer pictures at once, or raise the setting max_inflated_mb.",
                )
            if inflater.eof:
                break
    except zlib.error as error:
        raise RequestError("The compressed body is damaged.") from error
    if not inflater.eof:
        raise RequestError("The compressed body is cut short.")
    if inflater.unused_data or stream.read(1):
        raise RequestError("The compressed body is followed by something else.")
    return bytes(whole)
