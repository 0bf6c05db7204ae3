"""The JSON of a request, read within bounds, and its fields, each of the type it must be."""

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from sightbox.errors import BodyTooLargeError, RequestError
from sightbox.schema import Json

UTF_8 = "It is to be UTF-8."

_SURROGATE = re.compile("[\ud800-\udfff]")

_TEXT = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
"""A text in JSON. It matches behind every quotation mark, so that none is searched twice."""

_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True)
class JsonLimits:
    """What `read_json` accepts.

    Attributes:
        max_values: Most values and lists: 2,000,000 are 13 pictures of 3 x 224 x 224. An empty list
            is 2 bytes in JSON and 64 in memory, so that the body's limit would not bound them.
        max_depth: How many lists and objects may stand inside each other.
    """

    max_values: int = 2_000_000
    max_depth: int = 32


DEFAULT_LIMITS = JsonLimits()


class TooManyValuesError(BodyTooLargeError):
    """The JSON of a request has more values than the server accepts."""

    code = "too_many_values"
    title = "The JSON has too many values"


class TooDeepError(RequestError):
    """The JSON of a request is nested deeper than the server accepts."""

    code = "json_too_deep"
    title = "The JSON is nested too deeply"


JSON_ERRORS = (TooManyValuesError, TooDeepError)
"""What can be wrong with JSON that is well-formed."""


def read_json(text: bytes, limits: JsonLimits = DEFAULT_LIMITS, no_text: str = UTF_8) -> Json:
    """Reads JSON of bounded size and depth, without the numbers that JSON does not have.

    Args:
        text: The JSON.
        limits: How many values it may have, and how deep.
        no_text: What to do when it is no UTF-8.

    Raises:
        RequestError: It is no JSON object; says where.
        TooManyValuesError: It has more values than may be.
        TooDeepError: It is nested deeper than may be.
    """
    commas, *opening = map(text.count, (b",", b"[", b"{"))
    if commas + sum(opening) > limits.max_values:
        raise TooManyValuesError(
            f"The JSON has more than {limits.max_values:,} values.",
            "Send the tensor as bytes, or fewer pictures at once, or raise the setting "
            "max_json_values.",
        )
    try:
        value = json.loads(str(text, "utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep(limits) from None
    except ValueError as error:
        raise RequestError("The request is no JSON.", _where(error, no_text)) from error
    # Few brackets cannot be nested deeply, and are the usual case.
    if sum(opening) > limits.max_depth and _depth(text) > limits.max_depth:
        raise _too_deep(limits)
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
    if isinstance(error, UnicodeDecodeError):
        return no_text
    return "It has a number that nobody can read."


def _depth(text: bytes) -> int:
    """Returns how many lists and objects of well-formed JSON stand inside each other at most."""
    brackets = np.frombuffer(_TEXT.sub(b"", text).translate(None, _NO_BRACKETS), np.uint8)
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
    return int(steps.cumsum().max(initial=0))


def _too_deep(limits: JsonLimits) -> TooDeepError:
    return TooDeepError(
        f"The JSON is nested deeper than {limits.max_depth} lists and objects.",
        "Nest it less, or raise the setting max_json_depth.",
    )


def _refuse_constant(_text: str) -> NoReturn:
    raise ValueError
