"""Files as text: base64 (RFC 4648, section 4) and ``data:`` URLs (RFC 2397).

A ``data:`` URL holds what it names. Every other address would have to be fetched, and a server
that fetches what its clients name can be sent anywhere (SSRF): those are refused.
"""

import binascii
import re

from sightbox.errors import RequestError

NOTHING_IS_FETCHED = "No address is ever fetched here: send the picture itself"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
"""How an address begins (RFC 3986, section 3.1); no base64 has a colon."""


def decode_base64(text: str, name: str) -> bytes:
    """Returns the bytes that base64 stands for.

    Raises:
        RequestError: It is no base64.
    """
    try:
        # The module base64 would copy the text once more.
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise RequestError(f"{name} is no base64.") from error


def decode_data_url(url: str, name: str) -> bytes:
    """Returns the bytes that a ``data:`` URL holds. The type it declares does not matter.

    Raises:
        RequestError: It is another address or none, or holds no base64.
    """
    head, comma, content = url.partition(",")
    words = head.lower().split(";")
    if not words[0].startswith("data:"):
        raise RequestError(
            f"{name} is no data: URL.", f"{NOTHING_IS_FETCHED}, as data:image/jpeg;base64,..."
        )
    if not comma or words[-1].strip() != "base64":
        raise RequestError(f"{name} is a data: URL without base64.")
    return decode_base64(content, name)


def decode_text(text: str, name: str) -> bytes:
    """Returns the bytes of base64 or of a ``data:`` URL, whichever the text is.

    Raises:
        RequestError: It is an address of another kind, or no base64.
    """
    return decode_data_url(text, name) if _SCHEME.match(text) else decode_base64(text, name)
