"""Requests of the Open Inference Protocol v2, as the model's metadata want them.

Sources: ``inference_rest.md`` of the protocol, and Triton's extension ``binary_tensor_data``: a
body is JSON, and behind it the tensor's bytes. Files are sent to models that take BYTES; for those
that take UINT8 or FP32 the pictures are resized here, before the clock runs.
"""

import json
from typing import Any, NamedTuple, Self

import numpy as np

from sightbox.errors import RequestError
from sightbox.image import ImageLimits
from sightbox.loadtest.connection import Answer
from sightbox.pictures import prepare_picture
from sightbox.preprocessing import Recipe

LENGTH_HEADER = "Inference-Header-Content-Length"

CHANNELS = 3

_NUMBERS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
"""NumPy's names of the types that scores come in."""


class Normalisation(NamedTuple):
    """Mean and standard deviation of each channel, of values scaled to 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Signature(NamedTuple):
    """What a model takes and gives.

    Attributes:
        input: Name of its input.
        datatype: BYTES, UINT8 or FP32.
        shape: Of the input; -1 is any number.
        output: Name of its output.
    """

    input: str
    datatype: str
    shape: tuple[int, ...]
    output: str

    @classmethod
    def read(cls, answer: Answer) -> Self:
        """Reads the metadata of a model.

        Raises:
            RequestError: They are none, or the model does not take one picture.
        """
        try:
            told = json.loads(answer.body)
            (given,) = told["inputs"]
            shape = tuple(int(size) for size in given["shape"])
            return cls(given["name"], given["datatype"], shape, told["outputs"][0]["name"])
        except (LookupError, TypeError, ValueError) as error:
            raise RequestError(
                "The server does not tell what its model takes, or it is not one tensor.",
                "Give another --model, or another --dialect.",
            ) from error

    def tensor(self, picture: bytes, normalisation: Normalisation) -> tuple[list[int], bytes]:
        """Returns shape and bytes of the tensor for a picture.

        Raises:
            RequestError: The model takes something else than a picture.
            ImageError: The picture cannot be read.
        """
        if self.datatype == "BYTES":
            return [1] * len(self.shape), len(picture).to_bytes(4, "little") + picture
        sizes = self.shape[-CHANNELS:]
        first = sizes[:1] == (CHANNELS,)
        side = sizes[1:] if first else sizes[:-1]
        square = len(sizes) == CHANNELS and CHANNELS in {sizes[0], sizes[-1]}
        if (
            not square
            or side[0] < 1
            or side[0] != side[1]
            or self.datatype not in {"UINT8", "FP32"}
        ):
            raise RequestError(
                f"The model takes {self.datatype} {list(self.shape)}, which is no picture.",
                "BYTES, UINT8 and FP32 can be sent: one square picture with three channels.",
            )
        recipe = Recipe(side[0], side[0], "bilinear")
        values = prepare_picture(picture, recipe, ImageLimits()).pixels
        if self.datatype == "FP32":
            scaled = (values / np.float32(255) - normalisation.mean) / normalisation.std
            values = scaled.astype("<f4")
        if first:
            values = values.transpose(2, 0, 1)
        shape = [1] * (len(self.shape) - CHANNELS) + list(values.shape)
        return shape, np.ascontiguousarray(values).tobytes()

    def write(self, picture: bytes, normalisation: Normalisation) -> tuple[dict[str, str], bytes]:
        """Returns the header fields and the body that ask about a picture.

        Raises:
            RequestError: The model takes something else than a picture.
            ImageError: The picture cannot be read.
        """
        shape, content = self.tensor(picture, normalisation)
        head = json.dumps(
            {
                "inputs": [
                    {
                        "name": self.input,
                        "datatype": self.datatype,
                        "shape": shape,
                        "parameters": {"binary_data_size": len(content)},
                    }
                ],
                "outputs": [{"name": self.output, "parameters": {"binary_data": True}}],
            }
        ).encode()
        fields = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(len(head))}
        return fields, head + content


def first_class(answer: Answer) -> str | None:
    """Returns the number of the class with the largest score; None where there are no scores."""
    try:
        length = int(answer.headers.get(LENGTH_HEADER.lower(), len(answer.body)))
        output: dict[str, Any] = json.loads(answer.body[:length])["outputs"][0]
        if "data" in output:
            return str(int(np.argmax(np.asarray(output["data"], np.float64))))
        kind = _NUMBERS[output["datatype"]]
        return str(int(np.argmax(np.frombuffer(answer.body[length:], kind))))
    except (LookupError, TypeError, ValueError):
        return None
