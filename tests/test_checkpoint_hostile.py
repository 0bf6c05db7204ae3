"""Weights files that were made to do harm: each is refused, in words of its own, running nothing.

The pickles are written here instruction by instruction, since no pickler would write them.
"""

import io
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sightbox.checkpoint import read_checkpoint
from sightbox.checkpoint.pickles import MAX_INSTRUCTIONS, MAX_PICKLE_BYTES, MAX_STACK
from sightbox.checkpoint.zipped import MAX_MEMBERS
from sightbox.errors import CheckpointError

FLOATS = b"\0\0\x80\x3f" * 4  # four times 1.0
PROTO = b"\x80\x02"


def pickled(value: object) -> bytes:
    """Return the instructions that push ``value``; bytes are instructions already."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        raw = value.encode()
        return b"X" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, tuple):
        return b"(" + b"".join(map(pickled, value)) + b"t"
    if isinstance(value, int):
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw
    return b"N"


def named(full: str) -> bytes:
    module, _, name = full.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def storage(kind: str = "torch.FloatStorage", key: object = "0", total: object = 4) -> bytes:
    return pickled(("storage", named(kind), key, "cpu", total)) + b"Q"


def tensor(
    where: object = None, offset: object = 0, size: object = (4,), stride: object = (1,)
) -> bytes:
    values = (where or storage(), offset, size, stride, b"\x89", b"}")
    return named("torch._utils._rebuild_tensor_v2") + pickled(values) + b"R"


def state_dict(*entries: bytes) -> bytes:
    """Return the pickle of a dict with the given tensors, named 0, 1 ..."""
    items = b"".join(pickled(str(i)) + entry for i, entry in enumerate(entries))
    return PROTO + b"}(" + items + b"u."


def archive(
    pickle_bytes: bytes = state_dict(tensor()),
    members: Sequence[tuple[str | zipfile.ZipInfo, bytes]] = (("archive/data/0", FLOATS),),
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as target:
        warnings.simplefilter("ignore")  # zipfile warns of doubled names
        target.writestr("archive/data.pkl", pickle_bytes)
        for name, content in members:
            target.writestr(name, content)
    return file.getvalue()


def patched(data: bytes, old: bytes, new: bytes, place: int = 0) -> bytes:
    """Replace the occurrence number ``place`` (-1: the last) of ``old`` by as many bytes."""
    assert len(old) == len(new)
    starts = [i for i in range(len(data)) if data.startswith(old, i)]
    return data[: starts[place]] + new + data[starts[place] + len(old) :]


def central(name: str, offset: int, form: str, value: int) -> bytes:
    """Return the good archive with one field of a central directory entry changed."""
    data = bytearray(archive())
    entry = data.rindex(name.encode()) - 46
    assert data[entry : entry + 4] == b"PK\x01\x02"
    struct.pack_into(form, data, entry + offset, value)
    return bytes(data)


def local(name: str, offset: int, form: str, value: int) -> bytes:
    """Return the good archive with one field of a member's own header changed."""
    data = bytearray(archive())
    struct.pack_into(form, data, data.index(name.encode()) - 30 + offset, value)
    return bytes(data)


def legacy(
    model: bytes = state_dict(tensor()),
    keys: object = ("0",),
    storages: bytes = struct.pack("<q", 4) + FLOATS,
    magic: int = 0x1950A86A20F9469CFC6C,
    protocol: int = 1001,
) -> bytes:
    heads = [pickle.dumps(value, 2) for value in (magic, protocol, {"little_endian": True})]
    listed = list(keys) if isinstance(keys, tuple) else keys
    return b"".join(heads) + model + pickle.dumps(listed, 2) + storages


def refusal(folder: Path, content: bytes) -> str:
    path = folder / "hostile.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    return caught.value.detail


def test_hand_made_files_are_good_before_they_are_spoiled(tmp_path: Path) -> None:
    for content in (archive(), legacy()):
        path = tmp_path / "good.pth"
        path.write_bytes(content)
        assert read_checkpoint(path)["0"].tolist() == [1.0] * 4


def test_stride_that_is_never_taken_may_be_any_number(tmp_path: Path) -> None:
    path = tmp_path / "good.pth"
    path.write_bytes(archive(state_dict(tensor(size=(1, 4), stride=(1 << 62, 1)))))
    assert read_checkpoint(path)["0"].tolist() == [[1.0] * 4]


class Touch:
    """Unpickles by creating a file: the proof that something ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"echo > {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_that_runs_a_command_runs_nothing_here(tmp_path: Path, protocol: int) -> None:
    sentinel = tmp_path / "ran"
    evil = pickle.dumps({"w": Touch(sentinel)}, protocol)
    pickle.loads(evil)
    assert sentinel.exists(), "the pickle must be dangerous for this test to mean anything"
    sentinel.unlink()
    for content in (archive(evil), legacy(evil), evil if protocol > 1 else archive(evil)):
        detail = refusal(tmp_path, content)
        # Protocol 0 writes texts in a form that is refused before the name is reached.
        assert f"'{os.system.__module__}.system'" in detail or protocol == 0
    assert not sentinel.exists()


def run(*instructions: object) -> bytes:
    return PROTO + b"".join(map(pickled, instructions)) + b"."


MARK, DICT, LIST, PERSID, REDUCE, BUILD = b"(", b"}", b"]", b"Q", b"R", b"b"
ORDERED = named("collections.OrderedDict")
PARAMETER = named("torch._utils._rebuild_parameter")
REBUILD = named("torch._utils._rebuild_tensor")
FLOAT = named("torch.FloatStorage")
PICKLES: list[tuple[str, bytes]] = [
    ("wants to use 'os.system'. Only tensors", run(named("os.system"), ("true",), REDUCE)),
    ("wants to use 'builtins.eval'", run("builtins", "eval", b"\x93", ("1",), REDUCE)),
    ("wants to use 'torch.load'", run(named("torch.load"))),
    ("wants to use 'torch.hub..system'", run("torch.hub.", "system", b"\x93")),
    ("wants to use 'os\\x1b[2J.x'", run(b"cos\x1b[2J\nx\n")),
    ("instruction INST at byte", run(MARK, b"ios\nsystem\n")),
    ("instruction OBJ", run(MARK, ORDERED, b"o")),
    ("instruction NEWOBJ", run(ORDERED, (), b"\x81")),
    ("instruction EXT1", run(b"\x82\x01")),
    ("instruction DUP", run(LIST, b"2")),
    ("instruction POP", run(LIST, b"0")),
    ("instruction LONG4", run(b"\x8b\xff\xff\xff\x7f")),
    ("instruction BINUNICODE8", run(b"\x8d" + b"\xff" * 8)),
    ("instruction BYTEARRAY8", run(b"\x96" + b"\xff" * 8)),
    ("instruction EMPTY_SET", run(b"\x8f")),
    ("instruction ff", run(b"\xff")),
    ("4294967295 bytes are needed", run(b"X\xff\xff\xff\xff")),
    ("name without an end", run(b"cos" * 500)),
    ("text that is not UTF-8", run(b"X\x02\0\0\0\xc3\x28")),
    ("text that is not UTF-8", run(b"X\x03\0\0\0\xed\xa0\x80")),
    (f"stacks more than {MAX_STACK} objects", run(b"]" * (MAX_STACK + 1))),
    (f"stacks more than {MAX_STACK} objects", run(b"(" * (MAX_STACK + 1))),
    (f"more than {MAX_INSTRUCTIONS} instructions", run(LIST, b"Na" * (MAX_INSTRUCTIONS // 2))),
    ("takes from an empty stack", run(REDUCE)),
    ("takes from an empty stack", run()),
    ("no mark to go back to", run(b"t")),
    ("no mark to go back to", run(DICT, MARK, b"uu")),
    ("key without a value", run(DICT, MARK, "a", b"u")),
    ("recalls number 7", run(b"h\x07")),
    ("recalls number 4294967295", run(b"j\xff\xff\xff\xff")),
    ("type list where dict must be", run(LIST, MARK, "a", "b", b"u")),
    ("type dict where list must be", run(DICT, "a", b"a")),
    ("type int where str must be", run("os", 1, b"\x93")),
    ("type list where tuple must be", run(ORDERED, LIST, REDUCE)),
    ("type str where Global must be", run("os.system", (), REDUCE)),
    ("calls torch.FloatStorage, which is no", run(FLOAT, (), REDUCE)),
    ("OrderedDict is made from arguments", run(ORDERED, (LIST,), REDUCE)),
    ("type Tensor where dict must be", run(tensor(), DICT, BUILD)),
    ("has a key of type tuple", run(DICT, (), 1, b"s")),
    ("has a key of type list", run(DICT, LIST, 1, b"s")),
    ("has a key of type int", run(DICT, (1 << 61) - 1, 1, b"s")),
    ("has a key of type bool", run(DICT, b"\x88", 1, b"s")),
    ("parameter is not made from a tensor", run(PARAMETER, (LIST, b"\x88", DICT), REDUCE)),
    ("parameter is not made from a tensor", run(PARAMETER, (tensor(),), REDUCE)),
    ("made from 5 values, not 4, 6 or 7", run(REBUILD, (1,) * 5, REDUCE)),
    ("outside it that is no storage", run(("module", 1, 2, 3, 4), PERSID)),
    ("outside it that is no storage", run(("storage",), PERSID)),
    ("class that is none of torch's", run(("storage", "float", "0", "cpu", 4), PERSID)),
    ("class that is none of torch's", run(storage("collections.OrderedDict"))),
    ("key is no text", run(storage(key=0))),
    ("its size no whole number", run(storage(total=-1))),
    ("its size no whole number", run(storage(total=1 << 2000))),
    ("its size no whole number", run(storage(total=b"\x88"))),
    ("described in two ways", run(LIST, storage(), b"a", storage(total=5), b"a")),
    ("described in two ways", run(LIST, storage(), b"a", storage("torch.IntStorage"), b"a")),
    ("view is not a key and two", run(("storage", FLOAT, "0", "cpu", 4, ("v", 0, -1)), PERSID)),
    ("view is not a key and two", run(("storage", FLOAT, "0", "cpu", 4, ("v", 0)), PERSID)),
    ("view ends at element 5 of 4", run(("storage", FLOAT, "0", "cpu", 4, ("v", 3, 2)), PERSID)),
    ("made from type str, no storage", state_dict(tensor("0"))),
    ("offset is not a whole number", state_dict(tensor(offset=-1))),
    ("offset is not a whole number", state_dict(tensor(offset="0"))),
    ("reaches element 4 of the storage '0', which has 4", state_dict(tensor(offset=1))),
    ("reaches element 6 of the storage", state_dict(tensor(stride=(2,)))),
    ("reaches element 4 of the storage", state_dict(tensor(offset=4, size=(), stride=()))),
    ("stride is not a whole number", state_dict(tensor(stride=(1 << 63,)))),
    (f"reaches element {3 << 62} of", state_dict(tensor(stride=(1 << 62,)))),
    ("stride is not a whole number", state_dict(tensor(offset=3, stride=(-1,)))),
    ("1 dimensions has not as many strides", state_dict(tensor(stride=(1, 1)))),
    ("1 dimensions has not as many strides", state_dict(tensor(stride=4))),
    ("something other than whole numbers from 0", state_dict(tensor(size=(-4,)))),
    ("something other than whole numbers from 0", state_dict(tensor(size=(b"\x88",)))),
    ("size is of type int, not a list", state_dict(tensor(size=4))),
    ("has 17 dimensions", state_dict(tensor(size=(1,) * 17, stride=(1,) * 17))),
    ("more than 4294967296 elements", state_dict(tensor(size=(10**12,), stride=(0,)))),
    ("more than 4294967296 elements", state_dict(tensor(size=(0, 1 << 40), stride=(1, 1)))),
    ("would take 17179869184 bytes", state_dict(tensor(size=(1 << 32,), stride=(0,)))),
    ("would take 10485760 bytes", state_dict(*[tensor(size=(1 << 18,), stride=(0,))] * 10)),
]  # fmt: skip


@pytest.mark.parametrize(("match", "content"), PICKLES, ids=[row[0][:40] for row in PICKLES])
@pytest.mark.parametrize("wrap", [archive, legacy], ids=["zip", "legacy"])
def test_hostile_pickle_is_refused(
    tmp_path: Path, match: str, content: bytes, wrap: Callable[[bytes], bytes]
) -> None:
    assert match in refusal(tmp_path, wrap(content))


@pytest.mark.parametrize("cut", range(3, 60, 7))
def test_pickle_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    detail = refusal(tmp_path, archive(state_dict(tensor())[:-cut]))
    assert "pickle ends too early" in detail or "name without an end" in detail


def renamed(name: str) -> bytes:
    return archive(members=[("archive/data/0", FLOATS), (name, b"")])


def overlapping() -> bytes:
    """Return an archive in which a hundred entries name the bytes of one."""
    data = archive(members=[("archive/data/0", FLOATS * 100)])
    start = data.rindex(b"PK\x01\x02")
    entry, end = data[start:-22], data[-22:]
    size = struct.unpack_from("<I", end, 12)[0] + 99 * len(entry)
    return data[:start] + entry * 100 + end[:12] + struct.pack("<I", size) + end[16:]


def ordered(byte_order: bytes) -> bytes:
    return archive(members=[("archive/data/0", FLOATS), ("archive/byteorder", byte_order)])


def deflated() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("archive/data/0")
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


DATA_PKL = "archive/data.pkl"
UTF8_NAMED = central(DATA_PKL, 8, "<H", 1 << 11)
ARCHIVES: list[tuple[str, bytes]] = [
    ("'/archive/x'", renamed("/archive/x")),
    ("'archive/../x'", renamed("archive/../x")),
    ("'../x'", renamed("../x")),
    ("'archive/..'", renamed("archive/..")),
    ("'C:/archive/x'", renamed("C:/archive/x")),
    ("'archive\\\\x'", renamed("archive\\x")),
    ("'archive//x'", renamed("archive//x")),
    ("'archive/x\\x00'", patched(renamed("archive/xx"), b"/xx", b"/x\0", -1)),
    ("has 2 root folders", renamed("other/x")),
    ("two members of the same name", renamed("archive/data.pkl")),
    ("is encrypted", central(DATA_PKL, 8, "<H", 1)),
    ("is compressed, which torch never does", archive(compression=zipfile.ZIP_DEFLATED)),
    ("'archive/data/0' is compressed", archive(members=[(deflated(), FLOATS)])),
    ("is compressed", central(DATA_PKL, 10, "<H", 99)),
    ("does not have the checksum", patched(archive(), FLOATS, FLOATS[:-1] + b"\x40")),
    ("does not have the checksum", central("archive/data/0", 16, "<I", 0)),
    ("differs from the archive's table", patched(archive(), b"data/0", b"data/1")),
    ("differs from the archive's table", patched(archive(), b"PK\x03\x04", b"PK\x03\x05", 1)),
    ("differs from the archive's table", central("archive/data/0", 42, "<I", 7)),
    ("'archive/data/0' reaches beyond the end", local("archive/data/0", 28, "<H", 0xFFFF)),
    ("header of 'archive/data/0' is not in the file", central("archive/data/0", 42, "<I", 1 << 30)),
    ("has 17 bytes but takes 16 in the archive", central("archive/data/0", 24, "<I", 17)),
    ("has no member data.pkl", patched(archive(), b"data.pkl", b"code.pkl", -1)),
    ("TorchScript program", renamed("archive/constants.pkl")),
    ("storage '0' is missing", archive(members=[("archive/data/1", FLOATS)])),
    ("storage '../data/0' is missing", archive(state_dict(tensor(storage(key="../data/0"))))),
    ("has 12 bytes; its tensors need 16", archive(members=[("archive/data/0", FLOATS[4:])])),
    ("has 16 bytes; its tensors need 32", archive(state_dict(tensor(storage(total=8))))),
    ("neither little nor big", ordered(b"middle")),
    ("neither little nor big", ordered(b"little" * 1000)),
    ("members of the zip archive overlap", overlapping()),
    ("4 bytes follow the pickle", archive(state_dict(tensor()) + b"junk")),
    ("no end record", archive()[:-1]),
    ("no end record", archive()[:100]),
    ("no end record", archive() + b"junk"),
    ("no end record", b"PK\x03\x04"),
    ("zip archive is damaged", central(DATA_PKL, 6, "<H", 99)),
    ("zip archive is damaged", central(DATA_PKL, 0, "<I", 0)),
    ("zip archive is damaged", patched(UTF8_NAMED, b"archive", b"arch\xffve", -2)),
    ("zip archive is damaged", archive()[:-10] + struct.pack("<IIH", 1 << 31, 0, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("match", "content"), ARCHIVES, ids=[row[0][:40] for row in ARCHIVES])
def test_hostile_archive_is_refused(tmp_path: Path, match: str, content: bytes) -> None:
    assert match in refusal(tmp_path, content)


def test_archive_of_too_many_members_is_refused(tmp_path: Path) -> None:
    content = archive(members=[(f"archive/{i}", b"") for i in range(MAX_MEMBERS)])
    assert f"more than {MAX_MEMBERS} members" in refusal(tmp_path, content)


def test_pickle_that_is_too_large_is_refused(tmp_path: Path) -> None:
    content = archive(bytes(MAX_PICKLE_BYTES + 1))
    assert f"has {MAX_PICKLE_BYTES + 1} bytes; at most" in refusal(tmp_path, content)


LEGACIES: list[tuple[str, bytes]] = [
    ("a pickle, but torch did not write it", pickle.dumps({"w": [1.0]}, 2)),
    ("a pickle, but torch did not write it", legacy(magic=1)),
    ("protocol is not 1001", legacy(protocol=1000)),
    ("list of storages is no list", legacy(keys="0")),
    ("list of storages is no list", legacy(keys=(0,))),
    ("lists 0 storages that are not the 1 of", legacy(keys=())),
    ("lists 2 storages", legacy(keys=("0", "0"))),
    ("lists 1 storages", legacy(keys=("1",))),
    ("says it has -1 elements", legacy(storages=struct.pack("<q", -1) + FLOATS)),
    ("says it has 5 elements", legacy(storages=struct.pack("<q", 5) + FLOATS)),
    ("ends inside the storage '0', 1 bytes too early", legacy()[:-1]),
    ("ends inside the storage '0', 24 bytes too early", legacy(storages=b"")),
    ("4 bytes follow the last storage", legacy() + b"junk"),
    (f"{(1 << 64) - 16} bytes too early", legacy(state_dict(tensor(storage(total=1 << 62))))),
]  # fmt: skip


@pytest.mark.parametrize(("match", "content"), LEGACIES, ids=[row[0][:40] for row in LEGACIES])
def test_hostile_legacy_file_is_refused(tmp_path: Path, match: str, content: bytes) -> None:
    assert match in refusal(tmp_path, content)


@pytest.mark.parametrize(
    "instructions",
    [
        pytest.param(b"\x85" * 300_000, id="deeply nested"),
        pytest.param(b"q\0h\0\x86" * 50_000, id="doubling"),
        pytest.param(b"q\0" + b"h\0a" * 100_000, id="list of itself"),
    ],
)
def test_pickle_that_grows_when_walked_is_never_walked(tmp_path: Path, instructions: bytes) -> None:
    assert "not a state dict" in refusal(tmp_path, archive(run(LIST, instructions)))


def test_giant_memo_index_costs_nothing(tmp_path: Path) -> None:
    """Python's own unpickler would allocate a table of 2^32 pointers here."""
    path = tmp_path / "memo.pth"
    path.write_bytes(archive(run(DICT, b"r\xff\xff\xff\xff", MARK, "w", tensor(), b"u")))
    tracemalloc.start()
    assert read_checkpoint(path)["w"].tolist() == [1.0] * 4
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_checksum_covers_every_member_that_is_used(tmp_path: Path) -> None:
    data = ordered(b"little")
    for old, new in ((b"little", b"big   "), (b"cpu", b"gpu")):
        assert "checksum" in refusal(tmp_path, patched(data, old, new))
