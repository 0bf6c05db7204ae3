"""The safetensors reader and writer, against the safetensors package itself and hostile files."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from sightbox.checkpoint import read_checkpoint
from sightbox.errors import CheckpointError
from sightbox.safetensors import MAX_HEADER_BYTES, load_safetensors, save_safetensors

TENSORS: dict[str, np.ndarray] = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "count": np.array(7, dtype=np.int64),
    "levels": np.array([-128, 127], dtype=np.int8),
    "bytes": np.array([0, 255, 3], dtype=np.uint8),
    "small": np.array([-3, 3], dtype=np.int16),
    "middle": np.array([-3, 3], dtype=np.int32),
    "mask": np.array([True, False, True]),
    "empty": np.zeros((0, 5), dtype=np.float32),
    "名": np.ones(1, dtype=np.float32),
}


def written(tensors: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    save_safetensors(file, tensors)
    return file.getvalue()


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def test_written_file_is_read_back_and_owns_its_memory() -> None:
    found = load_safetensors(written(TENSORS))
    assert_equal(found, TENSORS)
    assert all(array.flags.owndata and array.flags.c_contiguous for array in found.values())


def test_safetensors_package_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(written(TENSORS))
    assert_equal(safetensors.numpy.load_file(path), TENSORS)


def test_what_safetensors_package_writes_is_read() -> None:
    contiguous = {name: np.array(array, order="C") for name, array in TENSORS.items()}
    data = safetensors.numpy.save(contiguous, metadata={"format": "pt"})
    assert_equal(load_safetensors(data), TENSORS)


def test_bool_of_any_byte_becomes_true_or_false() -> None:
    found = load_safetensors(file_of({"w": entry("BOOL", [3], [0, 3])}, b"\0\2\xff"))["w"]
    assert found.tobytes() == b"\0\1\1"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_other_floats_become_float32(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0.1, -2.5], [1e-7, 65000.0]], dtype=torch.float64).to(dtype)
    found = load_safetensors(safetensors.torch.save({"w": tensor}))["w"]
    assert found.dtype == np.float32
    assert found.tobytes() == tensor.float().numpy().tobytes()


def test_equal_tensors_give_equal_bytes_in_any_order() -> None:
    assert written(TENSORS) == written(dict(reversed(TENSORS.items())))


def test_every_tensor_is_aligned_to_its_own_size() -> None:
    data = written(TENSORS)
    (length,) = struct.unpack_from("<Q", data)
    assert length % 8 == 0
    for name, entry in json.loads(data[8 : 8 + length]).items():
        assert entry["data_offsets"][0] % TENSORS[name].dtype.itemsize == 0


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        ({"w": np.zeros(1, np.complex64)}, "'w' has the dtype complex64"),
        ({"w": np.zeros(1, np.uint16)}, "'w' has the dtype uint16"),
        ({"w": np.array(["text"])}, "'w' has the dtype <U4"),
        ({"__metadata__": np.zeros(1, np.float32)}, "must not be named __metadata__"),
    ],
)
def test_what_cannot_be_stored_is_refused(tensors: dict[str, np.ndarray], match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        written(tensors)


def file_of(header: object, content: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> object:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


GOOD = file_of({"w": entry()})
DEEP = b'{"a":' + b"[" * 100_000
HOSTILE: list[tuple[str, bytes]] = [
    ("7 bytes, too few", GOOD[:7]),
    (f"at most {MAX_HEADER_BYTES} are allowed", struct.pack("<Q", MAX_HEADER_BYTES + 1) + GOOD[8:]),
    ("18446744073709551615 bytes; at most", b"\xff" * 8 + GOOD[8:]),
    ("says it has 70 bytes; only 69 follow", struct.pack("<Q", 70) + GOOD[8:]),
    ("no valid JSON", file_of(b"{w}")),
    ("no valid JSON", file_of(b'{"w": \xff}')),
    ("no valid JSON .maximum recursion", file_of(DEEP)),
    ("no valid JSON .Exceeds the limit", file_of(b'{"w": ' + b"9" * 5000 + b"}")),
    ("no JSON object", file_of([1])),
    ("the same name twice", file_of(b'{"w": 1, "w": 1}')),
    ("does not have exactly a dtype", file_of({"w": 1})),
    ("does not have exactly a dtype", file_of({"w": {"dtype": "F32", "shape": [2]}})),
    ("'w' has the dtype 'F8_E4M3'; known are F64, F32", file_of({"w": entry("F8_E4M3")})),
    ("'w' has the dtype of type list", file_of({"w": entry(["F32"])})),
    ("size is of type int, not a list", file_of({"w": entry(shape=2)})),
    ("other than whole numbers from 0", file_of({"w": entry(shape=[-2])})),
    ("other than whole numbers from 0", file_of({"w": entry(shape=[2.0])})),
    ("other than whole numbers from 0", file_of({"w": entry(shape=[True, 2])})),
    ("more than 4294967296 elements", file_of({"w": entry(shape=[0, 1 << 40], offsets=[0, 0])})),
    ("has 17 dimensions", file_of({"w": entry(shape=[1] * 17)})),
    ("not two whole numbers", file_of({"w": entry(offsets=[0])})),
    ("not two whole numbers", file_of({"w": entry(offsets=[-8, 0])})),
    ("not two whole numbers", file_of({"w": entry(offsets=[0, 1 << 64])})),
    ("starts at byte 1, not 0", file_of({"w": entry(offsets=[1, 9])}, bytes(9))),
    ("starts at byte 4, not 8", file_of({"v": entry(), "w": entry(offsets=[4, 12])}, bytes(12))),
    ("needs 8 bytes but has 4", file_of({"w": entry(offsets=[0, 4])})),
    ("needs 8 bytes but has -8", file_of({"v": entry(), "w": entry(offsets=[8, 0])})),
    ("take 8 bytes, but 4 follow", file_of({"w": entry()}, bytes(4))),
    ("take 8 bytes, but 12 follow", file_of({"w": entry()}, bytes(12))),
]


@pytest.mark.parametrize(("match", "data"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_hostile_safetensors_is_refused(match: str, data: bytes) -> None:
    assert load_safetensors(GOOD)["w"].tolist() == [0.0, 0.0]
    with pytest.raises(CheckpointError, match=match):
        load_safetensors(data)


def test_file_without_tensors_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "empty.safetensors"
    path.write_bytes(file_of({"__metadata__": {"format": "pt"}}, b""))
    with pytest.raises(CheckpointError, match="holds no tensors"):
        read_checkpoint(path)
