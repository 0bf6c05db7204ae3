"""The words of torch's pickles, and what they mean here.

A pickle names classes and functions, and points to storages outside it. These are all the names
that have a meaning, taken from ``torch/_utils.py`` and ``torch/serialization.py``; the functions
describe tensors and check every value, for all of them come from the file.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sightbox.checkpoint.tensors import Storage, Tensor, checked_tensor
from sightbox.errors import CheckpointError
from sightbox.safetensors import is_count

STORAGE_KINDS = {
    "torch.DoubleStorage": "F64",
    "torch.FloatStorage": "F32",
    "torch.HalfStorage": "F16",
    "torch.BFloat16Storage": "BF16",
    "torch.LongStorage": "I64",
    "torch.IntStorage": "I32",
    "torch.ShortStorage": "I16",
    "torch.CharStorage": "I8",
    "torch.ByteStorage": "U8",
    "torch.BoolStorage": "BOOL",
}


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle may use, such as ``torch.FloatStorage``; never the thing itself."""

    name: str


def storage_of(identity: tuple[object, ...]) -> Storage:
    """Return the storage that torch's persistent id names.

    It is ("storage", class, key, device, elements), in old files followed by None or by
    (key of the view, first element, elements).
    """
    if len(identity) not in (5, 6) or identity[0] != "storage":
        raise CheckpointError("The pickle points to something outside it that is no storage.")
    kind, key, total = identity[1], identity[2], identity[4]
    if not isinstance(kind, Global) or kind.name not in STORAGE_KINDS:
        raise CheckpointError("A storage has a class that is none of torch's.")
    if type(key) is not str or not is_count(total):
        raise CheckpointError("A storage's key is no text, or its size no whole number from 0.")
    first, count = _part(identity[5] if len(identity) == 6 else None, total)
    return Storage(key, STORAGE_KINDS[kind.name], total, first, count)


def _part(view: object, total: int) -> tuple[int, int]:
    if view is None:
        return 0, total
    if not isinstance(view, tuple) or len(view) != 3:
        raise CheckpointError("A storage's view is not a key and two numbers.")
    _, first, count = view
    if not is_count(first) or not is_count(count):
        raise CheckpointError("A storage's view is not a key and two numbers.")
    if first + count > total:
        raise CheckpointError(f"A view ends at element {first + count} of {total} in its storage.")
    return first, count


def _ordered_dict(arguments: tuple[object, ...]) -> object:
    if arguments:
        raise CheckpointError("An OrderedDict is made from arguments, which torch never does.")
    return {}


def _rebuild_tensor(arguments: tuple[object, ...]) -> object:
    # Version 2 adds whether a gradient is wanted, hooks, and since 2.0 perhaps some metadata.
    if len(arguments) not in (4, 6, 7):
        raise CheckpointError(f"A tensor is made from {len(arguments)} values, not 4, 6 or 7.")
    storage, offset, size, stride = arguments[:4]
    return checked_tensor(storage, offset, size, stride)


def _rebuild_parameter(arguments: tuple[object, ...]) -> object:
    if len(arguments) != 3 or not isinstance(arguments[0], Tensor):
        raise CheckpointError("A parameter is not made from a tensor and two settings.")
    return arguments[0]


CALLS: dict[str, Callable[[tuple[object, ...]], object]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}
