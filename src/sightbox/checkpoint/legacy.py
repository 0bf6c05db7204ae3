"""Opens the format that ``torch.save`` wrote before torch 1.6, and still writes on request.

Five pickles follow each other: a magic number, the protocol's version, facts about the system,
the object, and the list of the storages' keys. Then come the storages in that order, each as its
number of elements (int64) and its bytes, always little-endian. Source: ``_legacy_save`` in
``torch/serialization.py``.
"""

import struct

from sightbox.checkpoint.pickles import unpickle
from sightbox.checkpoint.tensors import Archive, Storage
from sightbox.errors import CheckpointError
from sightbox.safetensors import shown

LEGACY_START = b"\x80"  # the instruction that begins every binary pickle
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def open_legacy(data: bytes) -> Archive:
    """Return what a whole file in torch's older format holds.

    Raises:
        CheckpointError: The file is damaged, is a pickle of something else, or is refused.
    """
    magic = unpickle(data)
    if magic.value != _MAGIC:
        raise CheckpointError("The file is a pickle, but torch did not write it.")
    protocol = unpickle(data, magic.end)
    if protocol.value != _PROTOCOL:
        raise CheckpointError(f"The file's protocol is not {_PROTOCOL}, the only one there was.")
    system = unpickle(data, protocol.end)
    model = unpickle(data, system.end)
    keys = unpickle(data, model.end)
    storages = _storages(data, keys.end, _checked_keys(keys.value, model.storages))
    return Archive(model.value, storages, byte_order="<")


def _checked_keys(keys: object, storages: dict[str, Storage]) -> list[Storage]:
    """Return the storages in the order of ``keys``, which must name each of them once."""
    if not isinstance(keys, list) or any(type(key) is not str for key in keys):
        raise CheckpointError("The list of storages is no list of texts.")
    if len(keys) != len(storages) or set(keys) != storages.keys():
        raise CheckpointError(
            f"The file lists {len(keys)} storages that are not the {len(storages)} of its tensors."
        )
    return [storages[key] for key in keys]


def _storages(data: bytes, at: int, storages: list[Storage]) -> dict[str, memoryview]:
    found = {}
    for storage in storages:
        end = at + 8 + storage.total_bytes
        if end > len(data):
            raise CheckpointError(
                f"The file ends inside the storage {shown(storage.key)}, "
                f"{end - len(data)} bytes too early."
            )
        (count,) = struct.unpack_from("<q", data, at)
        if count != storage.total:
            raise CheckpointError(
                f"The storage {shown(storage.key)} says it has {count} elements; "
                f"its tensors need {storage.total}."
            )
        found[storage.key] = memoryview(data)[at + 8 : end]
        at = end
    if at != len(data):
        raise CheckpointError(f"{len(data) - at} bytes follow the last storage.")
    return found
