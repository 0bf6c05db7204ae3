"""Thousands of damaged weights files: each gives arrays or a CheckpointError, and little memory.

The damage is done to whole files of each format, and to the pickle or the header inside, where the
checksum or the length is put right again so that the damage reaches the parser behind it.
"""

import io
import struct
import tracemalloc
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightbox.checkpoint import read_checkpoint
from sightbox.checkpoint.tensors import MAX_GROWTH, SPARE_BYTES
from sightbox.errors import CheckpointError

EXAMPLES = 1100
# What reading a file of some kB may take beside the arrays that it is allowed.
PARSER_BYTES = 2 << 20
# Lengths, counts and instructions that have broken parsers before.
NASTY = [
    b"\0",
    b"\xff",
    b"\x80",
    b".",
    b"(",
    b"\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x80",
    b"\0" * 8,
    b"\xff" * 8,
    b"\0\0\0\0\0\0\0\x80",
    b"r\xff\xff\xff\xff",
    b"cos\nsystem\n",
    b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"18446744073709551616",
    b"-1",
    b"[[[[",
]

Damage = tuple[int, int, int, int]
DAMAGES = st.lists(
    st.tuples(
        st.integers(0, 7), st.integers(0, 1 << 16), st.integers(1, 40), st.integers(0, 1 << 16)
    ),
    min_size=1,
    max_size=4,
)
FORMATS = ["zip", "zip 4", "legacy", "safetensors"]


@cache
def bases() -> dict[str, bytes]:
    """Return one small good file of each format."""
    tensors = {
        "weight": torch.arange(12.0).reshape(3, 4).T,
        "half": torch.ones(3).bfloat16(),
        "mask": torch.tensor([True, False]),
        "count": torch.tensor(3),
    }
    checkpoint = {"epoch": 3, "lr": 0.5, "note": [None, True], "state_dict": tensors}
    found = {}
    for name, zipped, protocol in (("zip", True, 2), ("zip 4", True, 4), ("legacy", False, 2)):
        file = io.BytesIO()
        torch.save(
            checkpoint, file, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol
        )
        found[name] = file.getvalue()
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    found["safetensors"] = safetensors.torch.save(contiguous, {"format": "pt"})
    return found


def damaged(data: bytes, damages: list[Damage], others: list[bytes]) -> bytes:
    """Return ``data`` after each damage: what is done, where, how long, and out of what."""
    for kind, place, length, source in damages:
        at = place % (len(data) + 1)
        head, cut, tail = data[:at], data[at : at + length], data[at + length :]
        other = others[source % len(others)]
        nasty = NASTY[source % len(NASTY)]
        data = [
            head + bytes([byte ^ 1 << source % 8 for byte in cut[:1]]) + cut[1:] + tail,
            head + nasty + data[at + len(nasty) :],
            head + nasty + cut + tail,
            head + tail,
            head + cut + cut + tail,
            head + other[place % len(other) :][:length] + tail,
            head + other[place % len(other) :],
            head,
        ][kind]
    return data


def damaged_inside(name: str, damages: list[Damage]) -> bytes:
    """Return a file whose outside is right and whose pickle or header is damaged."""
    good = bases()[name]
    if name == "safetensors":
        (length,) = struct.unpack_from("<Q", good)
        header = damaged(good[8 : 8 + length], damages, NASTY)
        return struct.pack("<Q", len(header)) + header + good[8 + length :]
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as source, zipfile.ZipFile(file, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            if info.filename.endswith("/data.pkl"):
                content = damaged(content, damages, [content])
            target.writestr(info.filename, content)
    return file.getvalue()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "fuzz.pth"


def read_within_bounds(path: Path, data: bytes) -> dict[str, np.ndarray] | None:
    """Return the arrays, or None after a `CheckpointError`; fail on all else."""
    path.write_bytes(data)
    arrays, refused = None, None
    tracemalloc.start()
    try:
        arrays = read_checkpoint(path)
    except CheckpointError as error:
        refused = error
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MAX_GROWTH * len(data) + SPARE_BYTES + PARSER_BYTES
    if refused is not None:
        assert refused.detail.startswith("fuzz.pth: ")
        assert len(refused.detail) < 400
        assert refused.hint
    for array in (arrays or {}).values():
        assert array.flags.owndata
        assert array.flags.c_contiguous
    return arrays


FUZZ = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@FUZZ
@given(name=st.sampled_from(FORMATS), damages=DAMAGES)
def test_damaged_file_gives_arrays_or_checkpoint_error(
    path: Path, name: str, damages: list[Damage]
) -> None:
    read_within_bounds(path, damaged(bases()[name], damages, list(bases().values())))


@FUZZ
@given(name=st.sampled_from(["zip", "zip 4", "safetensors"]), damages=DAMAGES)
def test_damaged_inside_gives_arrays_or_checkpoint_error(
    path: Path, name: str, damages: list[Damage]
) -> None:
    read_within_bounds(path, damaged_inside(name, damages))


@pytest.mark.parametrize("name", FORMATS)
def test_every_cut_is_refused(path: Path, name: str) -> None:
    good = bases()[name]
    assert read_within_bounds(path, good) is not None
    for end in range(len(good)):
        assert read_within_bounds(path, good[:end]) is None, end


@pytest.mark.parametrize("name", ["zip", "legacy", "safetensors"])
def test_every_single_wrong_byte_is_survived(path: Path, name: str) -> None:
    good = bases()[name]
    for at in range(len(good)):
        read_within_bounds(path, good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
