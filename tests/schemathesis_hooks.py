"""What schemathesis sends as a file: small pictures of each format, so that answers are answers."""

import base64
import io

import schemathesis
from hypothesis import strategies
from PIL import Image

from sightbox.image import DEFAULT_LIMITS

COLOURS = ("black", "white", "teal")
SIZES = ((1, 1), (8, 5), (1, 40))


def _files(name: str) -> list[bytes]:
    files = []
    for colour, size in zip(COLOURS, SIZES, strict=True):
        file = io.BytesIO()
        Image.new("RGB", size, colour).save(file, name)
        files.append(file.getvalue())
    return files


_every = []
for _name in DEFAULT_LIMITS.formats:
    _every += _files(_name)
    schemathesis.openapi.media_type(
        f"image/{_name.lower()}", strategies.sampled_from(_files(_name))
    )
schemathesis.openapi.media_type("application/octet-stream", strategies.sampled_from(_every))

_texts = [base64.b64encode(file).decode() for file in _every]
schemathesis.openapi.format("byte", strategies.sampled_from(_texts))
schemathesis.openapi.format(
    "data-url", strategies.sampled_from([f"data:;base64,{text}" for text in _texts])
)


@schemathesis.deserializer("application/octet-stream")
def _read_bytes(_context: object, response: schemathesis.Response) -> str:
    """Takes tensors for text of any kind: tests/test_open_inference.py reads them."""
    return response.content.decode("latin-1")
