"""Answers that a browser keeps: compressed where it takes that, with a tag for each encoding."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property

from flask import Response, current_app, request

TAG_DIGITS = 16
"""Digits of a body's sha256 in its tag: two bodies share one by chance in 2^64."""


@dataclass(frozen=True)
class Content:
    """A body and its media type; what is made of it is made once, when it is first asked for."""

    body: bytes
    media_type: str

    @cached_property
    def tag(self) -> str:
        """See `tag_of`."""
        return tag_of(self.body)

    @cached_property
    def gzipped(self) -> bytes | None:
        """The body compressed (RFC 1952); None where that is no smaller."""
        packed = gzip.compress(self.body, mtime=0)
        return packed if len(packed) < len(self.body) else None


def tag_of(body: bytes) -> str:
    """Returns what names these bytes and no others."""
    return hashlib.sha256(body).hexdigest()[:TAG_DIGITS]


def answer_with(content: Content) -> Response:
    """Returns the answer to the current request: the content in an encoding that its client takes.

    A client that has it already gets 304. Each encoding has its own tag (RFC 9110, section 8.8.3).
    Nothing secret may be in a body that repeats a client's words: its compressed length would tell.
    """
    packed = content.gzipped if _takes_gzip() else None
    response = current_app.response_class(
        content.body if packed is None else packed, mimetype=content.media_type
    )
    if packed is not None:
        response.content_encoding = "gzip"
    response.vary.add("Accept-Encoding")
    if request.method in {"GET", "HEAD"}:
        response.set_etag(content.tag if packed is None else f"{content.tag}-gzip")
        response.make_conditional(request)
    return response


def _takes_gzip() -> bool:
    asked = request.accept_encodings
    return asked.quality("gzip") > 0 and asked.quality("gzip") >= asked.quality("identity")
