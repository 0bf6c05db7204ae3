"""How a picture is asked about in each protocol, and what its answer says.

The path of a dialect is used where the URL has none; a URL with a path is used as it stands.
"""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from sightbox.errors import RequestError
from sightbox.loadtest import open_inference
from sightbox.loadtest.connection import Answer
from sightbox.loadtest.loops import Reader

FILE = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}

RAW = "raw"
"""The dialect that posts the file and does not look at the answer."""

OPEN_INFERENCE = "open-inference"

SUFFIX = "_image"
"""What Sightbox appends to a model's name for the surface of the protocol that takes files."""


class Dialect(NamedTuple):
    """A protocol.

    Attributes:
        path: Returns path and query for a model; without one, for the server's default model, or
            the one that is given second where the protocol needs a name.
        write: Returns the header fields and the body that ask about a picture.
        read: What an answer says.
    """

    path: Callable[[str | None, str], str]
    write: Callable[[bytes, str | None], tuple[Mapping[str, str], bytes]]
    read: Reader


def find_dialect(name: str) -> Dialect:
    """Returns a dialect by its name.

    Raises:
        RequestError: There is none of this name.
    """
    if name not in DIALECTS:
        raise RequestError(f"There is no dialect {name!r}.", f"There are {', '.join(DIALECTS)}.")
    return DIALECTS[name]


def in_json(read: Callable[[Any], object]) -> Reader:
    """Returns a reader of answers that are JSON; those of another form name no class."""

    def first_class(answer: Answer) -> str | None:
        try:
            return str(read(json.loads(answer.body)))
        except (LookupError, TypeError, ValueError, AttributeError):
            return None

    return first_class


def _native_path(model: str | None, _: str) -> str:
    return "/v1/classify" + (f"?{urlencode({'model': model})}" if model else "")


def _under(prefix: str, suffix: str = "") -> Callable[[str | None, str], str]:
    def path(model: str | None, default: str) -> str:
        return f"{prefix}/{quote(model or default)}{suffix}"

    return path


def _open_inference_path(model: str | None, default: str) -> str:
    return f"/v2/models/{quote(model or default + SUFFIX)}/infer"


def _as_file(picture: bytes, _: str | None) -> tuple[Mapping[str, str], bytes]:
    return FILE, picture


def _as_vision(picture: bytes, model: str | None) -> tuple[Mapping[str, str], bytes]:
    """Writes PhotoPrism's request: ``internal/ai/vision/api_request.go``."""
    image = f"data:{_media_type(picture)};base64,{base64.b64encode(picture).decode()}"
    named = {"model": model} if model else {}
    return JSON, json.dumps({"id": "1", "images": [image], **named}).encode()


def _media_type(picture: bytes) -> str:
    starts = {b"\x89PNG": "image/png", b"RIFF": "image/webp", b"GIF8": "image/gif"}
    return starts.get(picture[:4], "image/jpeg")


def _largest(scores: Mapping[str, float]) -> str:
    return max(scores.items(), key=lambda item: item[1])[0]


def _most_certain(labels: list[dict[str, Any]]) -> object:
    return max(labels, key=lambda each: each["score"])["label"]


DIALECTS: dict[str, Dialect] = {
    "native": Dialect(
        _native_path, _as_file, in_json(lambda told: told["predictions"][0]["index"])
    ),
    # What is written there depends on the model's metadata: `sightbox.loadtest.testing`.
    OPEN_INFERENCE: Dialect(_open_inference_path, _as_file, open_inference.first_class),
    "torchserve": Dialect(_under("/predictions"), _as_file, in_json(_largest)),
    "huggingface": Dialect(_under("/models"), _as_file, in_json(_most_certain)),
    "photoprism": Dialect(
        lambda *_: "/api/v1/vision/labels",
        _as_vision,
        in_json(lambda told: told["result"]["labels"][0]["name"]),
    ),
    RAW: Dialect(lambda *_: "/", _as_file, lambda _: ""),
}
