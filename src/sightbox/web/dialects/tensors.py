"""Tensors of the Open Inference Protocol v2: JSON or bytes to arrays, and back.

Bytes are little-endian and row-major, without padding. An element of ``BYTES`` is its length, an
unsigned number of 4 bytes, and then itself (``extension_binary_data.md``).
"""

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightbox.errors import RequestError
from sightbox.schema import Json
from sightbox.web.dialects.encoded import decode_base64
from sightbox.web.dialects.messages import OutputTensor, Tensor

NUMBERS: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}
"""The types of numbers that are read here, as they stand in bytes."""

BYTES = "BYTES"

_LENGTH = struct.Struct("<I")

_JSON_TYPES: dict[str, set[type]] = {"FP32": {int, float}, "UINT8": {int}, BYTES: {str}}
"""What Python makes of the JSON values of a type; true and false are no numbers."""


@dataclass(frozen=True)
class TensorSpec:
    """What a model says of an input or an output.

    Attributes:
        name: Its name.
        datatype: The protocol's name of its type.
        shape: Its sizes; -1 for any.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_json(self) -> Json:
        """Returns it as it stands in the metadata of a model."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def admits(self, shape: Sequence[int]) -> bool:
        """Tells whether a tensor may have this shape."""
        return len(shape) == len(self.shape) and all(
            wanted in {-1, size} for wanted, size in zip(self.shape, shape, strict=True)
        )


def raw_tensor(spec: TensorSpec, body: bytes) -> Tensor:
    """Returns the tensor of a body that is one, for a batch of one picture.

    Of ``BYTES`` it is the only element, without its length.
    """
    data = pack_elements([body]) if spec.datatype == BYTES else body
    shape = tuple(1 if size == -1 else size for size in spec.shape)
    return Tensor(spec.name, spec.datatype, shape, {}, memoryview(data))


def read_numbers(tensor: Tensor) -> NDArray[Any]:
    """Returns a tensor of numbers, of its shape: float32 or uint8, all finite.

    Raises:
        RequestError: Its values are none of its type, or not as many as its shape says.
    """
    kind = NUMBERS[tensor.datatype]
    count = math.prod(tensor.shape)
    if isinstance(tensor.data, memoryview):
        if len(tensor.data) != count * kind.itemsize:
            raise RequestError(
                f"The input {tensor.name} has {len(tensor.data)} bytes; "
                f"{tensor.datatype} {list(tensor.shape)} has {count * kind.itemsize}."
            )
        array = np.frombuffer(tensor.data, kind)
    else:
        array = _numbers(tensor, _values(tensor, tensor.data))
    if not np.isfinite(array).all():
        raise RequestError(f"The input {tensor.name} has values that are no finite numbers.")
    return array.reshape(tensor.shape)


def read_elements(tensor: Tensor) -> list[bytes]:
    """Returns the elements of a tensor of ``BYTES``, in row-major order.

    In JSON they are base64, and the input's parameter ``content_type`` says so.

    Raises:
        RequestError: They are not as many as its shape says, damaged, or of another encoding.
    """
    count = math.prod(tensor.shape)
    if isinstance(tensor.data, memoryview):
        elements = list(_split(tensor, tensor.data, count))
    else:
        if tensor.parameters.get("content_type") != "base64":
            raise RequestError(
                f"The input {tensor.name} has pictures as text of an unknown encoding.",
                'Give the input "parameters": {"content_type": "base64"}, or send bytes.',
            )
        name = f"A value of the input {tensor.name}"
        elements = [decode_base64(text, name) for text in _values(tensor, tensor.data)]
    return elements


def numbers_out(spec: TensorSpec, values: NDArray[np.float32], *, binary: bool) -> OutputTensor:
    """Returns a tensor of float32 to send."""
    data: list[Any] | bytes
    data = values.astype("<f4").tobytes() if binary else values.ravel().tolist()
    return OutputTensor(spec.name, spec.datatype, values.shape, data)


def texts_out(name: str, rows: Sequence[Sequence[str]], *, binary: bool) -> OutputTensor:
    """Returns a tensor of texts to send, [rows, columns]."""
    texts = [text for row in rows for text in row]
    shape = (len(rows), len(rows[0]))
    if not binary:
        return OutputTensor(name, BYTES, shape, texts)
    return OutputTensor(name, BYTES, shape, pack_elements([text.encode() for text in texts]))


def pack_elements(elements: Iterable[bytes]) -> bytes:
    """Returns elements of ``BYTES`` as they stand in a tensor of bytes."""
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


def _values(tensor: Tensor, data: list[Any]) -> list[Any]:
    """Returns the values of JSON data, flat already or nested as the shape says."""
    level = data
    if data and isinstance(data[0], list):
        if len(data) != tensor.shape[0]:
            raise _no_shape(tensor)
        for size in tensor.shape[1:]:
            if not all(type(item) is list and len(item) == size for item in level):
                raise _no_shape(tensor)
            level = list(chain.from_iterable(level))
    if len(level) != math.prod(tensor.shape):
        raise _no_shape(tensor)
    if not set(map(type, level)) <= _JSON_TYPES[tensor.datatype]:
        raise RequestError(f"The input {tensor.name} has values that are no {tensor.datatype}.")
    return level


def _no_shape(tensor: Tensor) -> RequestError:
    return RequestError(
        f"The data of the input {tensor.name} have another shape than {list(tensor.shape)}.",
        "They are one flat list in row-major order, or nested lists of exactly these sizes.",
    )


def _numbers(tensor: Tensor, values: list[Any]) -> NDArray[Any]:
    try:
        # Too large for float32 becomes infinity here, which is refused afterwards.
        with np.errstate(over="ignore"):
            return np.array(values, NUMBERS[tensor.datatype])
    except OverflowError as error:
        raise RequestError(
            f"The input {tensor.name} has values beyond those of {tensor.datatype}."
        ) from error


def _split(tensor: Tensor, data: memoryview, count: int) -> Iterable[bytes]:
    offset = 0
    for number in range(count):
        start = offset + _LENGTH.size
        if start > len(data):
            raise RequestError(
                f"The input {tensor.name} has {number} elements in its bytes; "
                f"its shape says {count}."
            )
        (length,) = _LENGTH.unpack_from(data, offset)
        offset = start + length
        if offset > len(data):
            raise RequestError(
                f"Element {number} of the input {tensor.name} says it has {length} bytes; "
                f"{len(data) - start} are left."
            )
        yield bytes(data[start:offset])
    if offset != len(data):
        raise RequestError(
            f"The input {tensor.name} has {len(data) - offset} bytes behind its last element."
        )
