"""What a torch file says about its tensors, checked, and the step from there to arrays.

A torch file keeps a tensor in two parts: a *storage* (a flat run of numbers, shared by any number
of tensors) and a view of it (offset, size, stride, all counted in elements). Everything here is a
number from the file until it has been checked against the storage it points into.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sightbox.errors import CheckpointError
from sightbox.safetensors import KINDS, checked_shape, is_count, shown, widened, widened_dtype

# The arrays may take this many times the file's bytes: twice for 16-bit floats, which become
# 32-bit ones, and twice for weights that two layers share. A tensor expanded by strides of 0 to
# 10^12 elements would otherwise fill the memory from a file of 1 kB.
MAX_GROWTH = 4
SPARE_BYTES = 1 << 20  # so that tiny files with expanded tensors still pass

# The hint for a file that holds more than weights.
ONLY_WEIGHTS = "Save the weights alone: torch.save(model.state_dict(), path)."


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage, or the part of one that an old file calls a view.

    Args:
        key: Its name in the file.
        kind: What its numbers are, as `sightbox.safetensors.KINDS` calls it.
        total: Elements of the whole storage.
        first: First element of the part.
        count: Elements of the part.
    """

    key: str
    kind: str
    total: int
    first: int
    count: int

    @property
    def total_bytes(self) -> int:
        """The size of the whole storage in bytes."""
        return self.total * KINDS[self.kind].itemsize


@dataclass(frozen=True, slots=True)
class Tensor:
    """A checked view of a storage; ``offset`` counts elements from the whole storage's start."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def array_bytes(self) -> int:
        """The most bytes that the array of this tensor takes; sizes of 0 count as 1."""
        elements = math.prod(max(n, 1) for n in self.size)
        return elements * widened_dtype(self.storage.kind).itemsize


@dataclass(frozen=True, slots=True)
class Archive:
    """What a torch file holds: its unpickled object and the raw bytes of its storages by key."""

    root: object
    storages: Mapping[str, memoryview]
    byte_order: Literal["<", ">"]


def checked_tensor(storage: object, offset: object, size: object, stride: object) -> Tensor:
    """Return the tensor that four values from a pickle describe.

    Raises:
        CheckpointError: They are of wrong types, negative, or reach outside the storage.
    """
    if not isinstance(storage, Storage):
        raise CheckpointError(f"A tensor is made from type {type(storage).__name__}, no storage.")
    shape = checked_shape(size)
    strides = _checked_strides(stride, shape)
    if not is_count(offset):
        raise CheckpointError("A tensor's offset is not a whole number from 0.")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.count:
        raise CheckpointError(
            f"A tensor reaches element {last} of the storage {shown(storage.key)}, "
            f"which has {storage.count}."
        )
    return Tensor(storage, storage.first + offset, shape, strides)


def build_arrays(
    tensors: Mapping[str, Tensor], archive: Archive, file_bytes: int
) -> dict[str, np.ndarray]:
    """Return each tensor as a C-contiguous array that owns its memory, widened as `widened` says.

    Raises:
        CheckpointError: The arrays would take more than `MAX_GROWTH` times ``file_bytes``.
    """
    needed = sum(tensor.array_bytes for tensor in tensors.values())
    allowed = MAX_GROWTH * file_bytes + SPARE_BYTES
    if needed > allowed:
        raise CheckpointError(
            f"The tensors would take {needed} bytes, but the file's {file_bytes} bytes "
            f"justify at most {allowed}."
        )
    return {name: _array(tensor, archive) for name, tensor in tensors.items()}


def _checked_strides(stride: object, shape: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(stride, list | tuple) or len(stride) != len(shape):
        raise CheckpointError(f"A tensor of {len(shape)} dimensions has not as many strides.")
    if not all(is_count(step) for step in stride):
        raise CheckpointError("A tensor's stride is not a whole number from 0.")
    # A stride that is never taken may be any number; it must not reach numpy.
    return tuple(step if n > 1 else 0 for n, step in zip(shape, stride, strict=True))


def _array(tensor: Tensor, archive: Archive) -> np.ndarray:
    kind = tensor.storage.kind
    dtype = KINDS[kind].newbyteorder(archive.byte_order)
    if 0 in tensor.size:
        return widened(np.empty(tensor.size, dtype), kind)
    view: np.ndarray = np.ndarray(
        tensor.size,
        dtype,
        buffer=archive.storages[tensor.storage.key],
        offset=tensor.offset * dtype.itemsize,
        strides=[step * dtype.itemsize for step in tensor.stride],
    )
    return widened(view, kind)
