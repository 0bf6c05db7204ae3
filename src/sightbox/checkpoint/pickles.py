"""Reads the pickles inside torch files with an interpreter of our own that can run nothing.

A pickle is a program for a small stack machine. Python's own unpickler imports whatever the program
names and calls it, and even with ``find_class`` overridden it keeps ways to fill the memory (a memo
index of 2^31, a string of 2^40 bytes, endless duplication). State dicts need only 35 of its 68
instructions. So this one knows those 35 and no others, imports nothing, and "calls" a name by
looking it up in a table of four functions, which build descriptions of tensors. What it may take
is limited below. Each instruction makes at most one object and copies nothing that was made
before, so memory grows at most in step with the pickle's length.

Sources: the instructions are documented in the standard library's ``pickletools``; which names and
persistent ids torch writes is in ``torch/_utils.py`` and ``torch/serialization.py``.
"""

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sightbox.checkpoint.tensors import ONLY_WEIGHTS, Storage
from sightbox.checkpoint.vocabulary import CALLS, STORAGE_KINDS, Global, storage_of
from sightbox.errors import CheckpointError
from sightbox.safetensors import shown

# A ResNet-50 takes 12,000 instructions and 50 kB; a training checkpoint three times as much.
MAX_PICKLE_BYTES = 16 << 20
MAX_INSTRUCTIONS = 1_000_000
MAX_STACK = 100_000  # torch's pickler puts at most some thousands of items on the stack
MAX_NAME_BYTES = 1000

_STOP = b"."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unpickled:
    """One pickle, read: its value, where it ends in the data, and the storages it points to."""

    value: object
    end: int
    storages: dict[str, Storage]


def unpickle(data: bytes, start: int = 0) -> Unpickled:
    """Read the pickle that begins at byte ``start`` of ``data``, running nothing.

    The value consists of None, bool, int, float, str, tuple, list, dict (for an ``OrderedDict``
    too) and `Tensor`.

    Raises:
        CheckpointError: The pickle names anything but tensors and ``OrderedDict``, is damaged,
            or is larger than the limits above.
    """
    machine = _Machine(data, start)
    return Unpickled(machine.run(), machine.at, machine.storages)


class _Machine:
    """The stack machine: one method an instruction, named in `_INSTRUCTIONS`."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.at = start
        self.limit = min(len(data), start + MAX_PICKLE_BYTES)
        self.stack: list[object] = []
        self.marks: list[int] = []
        # A dict, so that a large index costs no more than a small one.
        self.memo: dict[int, object] = {}
        self.storages: dict[str, Storage] = {}

    def run(self) -> object:
        for _ in range(MAX_INSTRUCTIONS):
            code = self.take(1)
            if code == _STOP:
                return self.pop(object)
            name, step = _INSTRUCTIONS.get(code, (code.hex(), None))
            if step is None:
                raise CheckpointError(
                    f"The pickle has the instruction {name} at byte {self.at - 1}, "
                    "which no state dict needs.",
                    ONLY_WEIGHTS,
                )
            step(self)
            if len(self.stack) + len(self.marks) > MAX_STACK:
                raise CheckpointError(f"The pickle stacks more than {MAX_STACK} objects.")
        raise CheckpointError(f"The pickle has more than {MAX_INSTRUCTIONS} instructions.")

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > self.limit:
            raise CheckpointError(
                f"The pickle ends too early: {count} bytes are needed at byte {self.at}, "
                f"{self.limit - self.at} are there."
            )
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def pop(self, kind: type[T]) -> T:
        if not self.stack:
            raise CheckpointError(f"The pickle takes from an empty stack at byte {self.at - 1}.")
        top = self.stack.pop()
        if not isinstance(top, kind):
            raise CheckpointError(
                f"The pickle has type {type(top).__name__} where {kind.__name__} must be, "
                f"at byte {self.at - 1}."
            )
        return top

    def pop_to_mark(self) -> list[object]:
        if not self.marks:
            raise CheckpointError(f"The pickle has no mark to go back to at byte {self.at - 1}.")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def push_text(self, length: int) -> None:
        self.stack.append(_decoded(self.take(length)))

    def push_tuple(self, length: int) -> None:
        items = [self.pop(object) for _ in range(length)]
        self.stack.append(tuple(reversed(items)))

    def push_from_memo(self, index: int) -> None:
        if index not in self.memo:
            raise CheckpointError(f"The pickle recalls number {index}, which it never stored.")
        self.stack.append(self.memo[index])

    def memoize(self, index: int) -> None:
        top = self.pop(object)
        self.stack.append(top)
        self.memo[index] = top

    def push_global(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full not in CALLS and full not in STORAGE_KINDS:
            raise CheckpointError(
                f"The file wants to use {shown(full)}. Only tensors and OrderedDict are read; "
                "nothing was run.",
                ONLY_WEIGHTS,
            )
        self.stack.append(Global(full))

    def append(self) -> None:
        self.extend([self.pop(object)])

    def extend(self, items: list[object]) -> None:
        target = self.pop(list)
        target.extend(items)
        self.stack.append(target)

    def set_item(self) -> None:
        value = self.pop(object)
        self.update([self.pop(object), value])

    def update(self, items: list[object]) -> None:
        target = self.pop(dict)
        if len(items) % 2:
            raise CheckpointError(f"The pickle has a key without a value at byte {self.at - 1}.")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_checked_key(key)] = value
        self.stack.append(target)

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, min(self.limit, self.at + MAX_NAME_BYTES))
        if end < 0:
            raise CheckpointError(f"The pickle has a name without an end at byte {self.at}.")
        text = self.take(end - self.at)
        self.take(1)
        return _decoded(text)

    def stack_global(self) -> None:
        name = self.pop(str)
        self.push_global(self.pop(str), name)

    def call(self) -> None:
        arguments = self.pop(tuple)
        target = self.pop(Global).name
        if target not in CALLS:
            raise CheckpointError(f"The pickle calls {target}, which is no function.")
        self.stack.append(CALLS[target](arguments))

    def build(self) -> None:
        # The state of an OrderedDict is its `_metadata`: versions of modules, of no use here.
        self.pop(object)
        self.stack.append(self.pop(dict))

    def point_to_storage(self) -> None:
        storage = storage_of(self.pop(tuple))
        known = self.storages.setdefault(storage.key, storage)
        if (known.kind, known.total) != (storage.kind, storage.total):
            raise CheckpointError(f"The storage {shown(storage.key)} is described in two ways.")
        self.stack.append(storage)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"The pickle has a text that is not UTF-8 ({error}).") from error


def _checked_key(key: object) -> str | int:
    # Tuples hash recursively and huge numbers can be made to collide; a text does neither.
    if type(key) is str or (type(key) is int and abs(key) < 1 << 32):
        return key
    raise CheckpointError(f"A dict has a key of type {type(key).__name__}; only texts are needed.")


# Everything that `torch.save` writes for tensors, numbers, texts, lists and dicts, with pickle
# protocols 2 (its default) to 5.
_STEPS: dict[str, Callable[[_Machine], object]] = {
    "PROTO": lambda m: m.take(1),
    "FRAME": lambda m: m.take(8),
    "MARK": lambda m: m.marks.append(len(m.stack)),
    "NONE": lambda m: m.stack.append(None),
    "NEWTRUE": lambda m: m.stack.append(True),
    "NEWFALSE": lambda m: m.stack.append(False),
    "BININT": lambda m: m.stack.append(m.number("<i")),
    "BININT1": lambda m: m.stack.append(m.number("<B")),
    "BININT2": lambda m: m.stack.append(m.number("<H")),
    "LONG1": lambda m: m.stack.append(
        int.from_bytes(m.take(m.number("<B")), "little", signed=True)
    ),
    "BINFLOAT": lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0]),
    "BINUNICODE": lambda m: m.push_text(m.number("<I")),
    "SHORT_BINUNICODE": lambda m: m.push_text(m.number("<B")),
    "EMPTY_TUPLE": lambda m: m.push_tuple(0),
    "TUPLE1": lambda m: m.push_tuple(1),
    "TUPLE2": lambda m: m.push_tuple(2),
    "TUPLE3": lambda m: m.push_tuple(3),
    "TUPLE": lambda m: m.stack.append(tuple(m.pop_to_mark())),
    "EMPTY_LIST": lambda m: m.stack.append([]),
    "APPEND": _Machine.append,
    "APPENDS": lambda m: m.extend(m.pop_to_mark()),
    "EMPTY_DICT": lambda m: m.stack.append({}),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda m: m.update(m.pop_to_mark()),
    "BINPUT": lambda m: m.memoize(m.number("<B")),
    "LONG_BINPUT": lambda m: m.memoize(m.number("<I")),
    "MEMOIZE": lambda m: m.memoize(len(m.memo)),
    "BINGET": lambda m: m.push_from_memo(m.number("<B")),
    "LONG_BINGET": lambda m: m.push_from_memo(m.number("<I")),
    "GLOBAL": lambda m: m.push_global(m.line(), m.line()),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.point_to_storage,
}
_INSTRUCTIONS = {
    op.code.encode("latin-1"): (op.name, _STEPS.get(op.name)) for op in pickletools.opcodes
}
