"""The JSON of a request, read within bounds, and its fields, each of the type it must be."""

import json
import re
from typing import Any, NoReturn

from sightbox.errors import BodyTooLargeError, RequestError
from sightbox.schema import Json

MAX_VALUES = 2_000_000
"""Most values and lists in the JSON of a request: 13 pictures of 3 x 224 x 224. An empty list is
2 bytes in JSON and 64 in memory, so that the body's limit alone would not bound the latter."""

UTF_8 = "It is to be UTF-8."

_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(text: bytes, no_text: str = UTF_8) -> Json:
    """Reads JSON of bounded size and depth, without the numbers that JSON does not have.

    The depth is bounded by Python's limit of recursion, 1,000 unless changed.

    Args:
        text: The JSON.
        no_text: What to do when it is no UTF-8.

    Raises:
        RequestError: It is no JSON object; says where.
        BodyTooLargeError: It has more than `MAX_VALUES` values.
    """
    if sum(map(text.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise BodyTooLargeError(
            f"The JSON has more than {MAX_VALUES:,} values.",
            "Send the tensor as bytes, or fewer pictures at once.",
        )
    try:
        value = json.loads(str(text, "utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError("The request is no JSON.", _where(error, no_text)) from error
    return as_object(value, "The request")


def as_object(value: object, name: str) -> Json:
    """Returns a value that must be an object; RequestError when it is none."""
    if not isinstance(value, dict):
        raise RequestError(f"{name} is no JSON object.")
    return value


def as_list(value: object, name: str) -> list[Any]:
    """Returns a value that must be a list; RequestError when it is none."""
    if not isinstance(value, list):
        raise RequestError(f"{name} is missing, or no list.")
    return value


def as_text(value: object, name: str) -> str:
    """Returns a value that must be a text, which an answer can say again; else RequestError."""
    if not is_text(value):
        raise RequestError(f"{name} is missing, or no text.")
    return str(value)


def is_text(value: object) -> bool:
    """Tells whether a value is a text. JSON can spell half a character, which no answer could."""
    return isinstance(value, str) and not _SURROGATE.search(value)


def _where(error: Exception, no_text: str) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}."
    if isinstance(error, RecursionError):
        return "It is nested too deeply."
    if isinstance(error, UnicodeDecodeError):
        return no_text
    return "It has a number that nobody can read."


def _refuse_constant(_text: str) -> NoReturn:
    raise ValueError
