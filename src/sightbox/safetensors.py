"""Reads and writes safetensors, and widens stored numbers to the dtypes that Sightbox computes in.

A file is the header's length (8 bytes, little-endian), the header (JSON: per tensor its dtype,
shape and offsets), and the tensors' bytes, little-endian and in C order. The offsets must tile the
bytes exactly. Source: the "Format" section of the safetensors README.

The format's names of number kinds (``F32``, ``BF16`` ...) serve the torch formats too.
"""

import json
import math
import struct
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple, TypeGuard

import numpy as np

from sightbox.errors import CheckpointError

# The format allows 100 MB; a tensor takes about 100 bytes and our networks have some hundreds,
# while each byte of JSON can cost about 30 bytes of memory.
MAX_HEADER_BYTES = 4 << 20
MAX_DIMENSIONS = 16
# Sizes of 0 count as 1 here, so that `numpy` can make every shape that passes.
MAX_ELEMENTS = 1 << 32

KINDS: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # numpy has no bfloat16: its 16 bits, as they are
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("|i1"),
    "U8": np.dtype("|u1"),
    "BOOL": np.dtype("|u1"),
}
_METADATA = "__metadata__"  # an entry of texts about the file, no tensor
_WIDENED = {"F64": np.dtype("f4"), "F16": np.dtype("f4"), "BF16": np.dtype("f4")}


class _Entry(NamedTuple):
    """One tensor of a header; ``start`` and ``end`` count bytes from the header's end."""

    start: int
    end: int
    name: str
    kind: str
    shape: tuple[int, ...]


def load_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Return the tensors of a whole safetensors file, by name.

    float16, bfloat16 and float64 become float32; float32, bool and the integers up to 64 bits
    stay. Every array owns its memory, is C-contiguous and has the machine's byte order.

    Raises:
        CheckpointError: The bytes are cut short, too long, or no valid safetensors file.
    """
    length = _header_length(data)
    entries = sorted(_entries(_parsed(data[8 : 8 + length])))
    tensors = memoryview(data)[8 + length :]
    _check_tiling(entries, len(tensors))
    return {entry.name: _array(entry, tensors) for entry in entries}


def save_safetensors(file: BinaryIO, tensors: Mapping[str, np.ndarray]) -> None:
    """Write ``tensors`` as one safetensors file: equal tensors always give equal bytes.

    Wide dtypes come first and the header is padded with spaces to a multiple of 8 bytes, so that
    every tensor is aligned.

    Raises:
        CheckpointError: A dtype is none of float16/32/64, bool, uint8 and the signed integers.
    """
    header: dict[str, dict[str, object]] = {}
    contents = []
    end = 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name)):
        array = tensors[name]
        kind = _kind_of(name, array.dtype)
        start, end = end, end + array.nbytes
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (start, end)}
        contents.append(array.astype(KINDS[kind], copy=False))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for array in contents:
        file.write(array.tobytes())


def widened(array: np.ndarray, kind: str) -> np.ndarray:
    """Return a C-contiguous copy of ``array`` in the dtype that weights of ``kind`` become.

    Args:
        array: Stored numbers, of any strides and byte order; the 16 bits of each for ``BF16``.
        kind: One of `KINDS`.
    """
    if kind == "BF16":
        # A bfloat16 is the upper half of a float32.
        wide = np.empty(array.shape, np.float32)
        wide.view(np.uint32)[...] = array.astype(np.uint32) << 16
        return wide
    if kind == "BOOL":
        return array.astype(np.bool_, order="C")
    # A float64 beyond float32's range becomes infinite, as in torch, and needs no warning.
    with np.errstate(all="ignore"):
        return array.astype(widened_dtype(kind), order="C")


def widened_dtype(kind: str) -> np.dtype:
    """Return the dtype that `widened` gives weights of ``kind``, in the machine's byte order."""
    return _WIDENED.get(kind, KINDS[kind].newbyteorder("="))


def checked_shape(shape: object) -> tuple[int, ...]:
    """Return ``shape`` as a tuple if it is a list or tuple of sizes that an array can have.

    Raises:
        CheckpointError: It holds anything but whole numbers from 0 up, more than `MAX_DIMENSIONS`
            of them, or asks for more than `MAX_ELEMENTS`.
    """
    if not isinstance(shape, list | tuple):
        raise CheckpointError(f"A tensor's size is of type {type(shape).__name__}, not a list.")
    if len(shape) > MAX_DIMENSIONS:
        raise CheckpointError(
            f"A tensor has {len(shape)} dimensions; at most {MAX_DIMENSIONS} are allowed."
        )
    if not all(is_count(n) for n in shape):
        raise CheckpointError("A tensor's size holds something other than whole numbers from 0.")
    if math.prod(max(n, 1) for n in shape) > MAX_ELEMENTS:
        raise CheckpointError(f"A tensor has more than {MAX_ELEMENTS} elements.")
    return tuple(shape)


def is_count(number: object) -> TypeGuard[int]:
    """Return whether a value from a file is a whole number from 0 that fits a signed int64."""
    return type(number) is int and 0 <= number < 1 << 63


def shown(name: str) -> str:
    """Return a name from a file as it may stand in a sentence: quoted, escaped, not too long."""
    return repr(name if len(name) <= 80 else name[:77] + "...")


def _header_length(data: bytes) -> int:
    if len(data) < 8:
        raise CheckpointError(f"The file has {len(data)} bytes, too few for safetensors.")
    length = int(struct.unpack_from("<Q", data)[0])
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"The safetensors header says it has {length} bytes; "
            f"at most {MAX_HEADER_BYTES} are allowed."
        )
    if length > len(data) - 8:
        raise CheckpointError(
            f"The safetensors header says it has {length} bytes; only {len(data) - 8} follow."
        )
    return length


def _parsed(text: bytes) -> dict[str, object]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The safetensors header is no valid JSON ({error}).") from error
    if not isinstance(header, dict):
        raise CheckpointError("The safetensors header is no JSON object.")
    return header


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise CheckpointError("The safetensors header has the same name twice.")
    return entries


def _entries(header: dict[str, object]) -> list[_Entry]:
    return [_entry(name, value) for name, value in header.items() if name != _METADATA]


def _entry(name: str, value: object) -> _Entry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(
            f"The tensor {shown(name)} does not have exactly a dtype, a shape and data_offsets."
        )
    kind, offsets = value["dtype"], value["data_offsets"]
    if not isinstance(kind, str) or kind not in KINDS:
        named = shown(kind) if isinstance(kind, str) else f"of type {type(kind).__name__}"
        raise CheckpointError(
            f"The tensor {shown(name)} has the dtype {named}; known are {', '.join(KINDS)}."
        )
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(is_count, offsets)):
        raise CheckpointError(f"The data_offsets of {shown(name)} are not two whole numbers.")
    return _Entry(offsets[0], offsets[1], name, kind, checked_shape(value["shape"]))


def _check_tiling(entries: list[_Entry], available: int) -> None:
    end = 0
    for entry in entries:
        if entry.start != end:
            raise CheckpointError(
                f"The tensor {shown(entry.name)} starts at byte {entry.start}, not {end}: "
                "tensors must follow each other without gap or overlap."
            )
        size = math.prod(entry.shape) * KINDS[entry.kind].itemsize
        if entry.end != entry.start + size:
            raise CheckpointError(
                f"The tensor {shown(entry.name)} needs {size} bytes but has "
                f"{entry.end - entry.start}."
            )
        end = entry.end
    if end != available:
        raise CheckpointError(f"The tensors take {end} bytes, but {available} follow the header.")


def _array(entry: _Entry, tensors: memoryview) -> np.ndarray:
    flat = np.frombuffer(tensors[entry.start : entry.end], KINDS[entry.kind])
    return widened(flat.reshape(entry.shape), entry.kind)


def _kind_of(name: str, dtype: np.dtype) -> str:
    if name == _METADATA:
        raise CheckpointError(f"A tensor must not be named {_METADATA}.")
    if dtype == np.bool_:
        return "BOOL"
    for kind, stored in KINDS.items():
        if kind != "BF16" and stored == dtype.newbyteorder("<"):
            return kind
    raise CheckpointError(f"The tensor {shown(name)} has the dtype {dtype}, which is not stored.")
