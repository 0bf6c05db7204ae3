"""Opens the zip format that ``torch.save`` writes since torch 1.6.

The members, all under one root folder and all stored without compression: ``data.pkl``, one
``data/<key>`` a storage, ``byteorder``, ``version``. Source: ``torch/serialization.py``; the zip
structures are in PKWARE's APPNOTE, sections 4.3.7 and 4.3.16.

The standard library reads the table of contents. The members are sliced here: that spares a copy
of the weights, and since nothing is ever decompressed or extracted, there is no bomb to fear.
"""

import io
import re
import struct
import zipfile
import zlib
from typing import Literal

from sightbox.checkpoint.pickles import MAX_PICKLE_BYTES, unpickle
from sightbox.checkpoint.tensors import ONLY_WEIGHTS, Archive, Storage
from sightbox.errors import CheckpointError
from sightbox.safetensors import shown

ZIP_START = b"PK\x03\x04"
# A ResNet-152 has 932 tensors, a training checkpoint of it three times as many.
MAX_MEMBERS = 10_000

_ENTRY_START = b"PK\x01\x02"
_END_START = b"PK\x05\x06"
_END_BYTES = 22
_LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")  # signature, flags, method, lengths of name and extra
_ENCRYPTED = 0x1  # bits of a member's flags
_UTF8_NAME = 0x800
# A drive, a backslash, a control character, or a part that is empty (so absolute), `.` or `..`.
_UNSAFE_NAME = re.compile(r"^[A-Za-z]:|[\\\x00-\x1f]|(^|/)\.{0,2}(/|$)")


def open_zipped(data: bytes) -> Archive:
    """Return what a whole file in torch's zip format holds; each storage's checksum is checked.

    Raises:
        CheckpointError: The archive is damaged, is not made as torch makes it, or holds a pickle
            that is refused.
    """
    members = _members(data)
    if "data.pkl" not in members:
        raise CheckpointError("The zip archive has no member data.pkl, so torch did not write it.")
    if "constants.pkl" in members:
        raise CheckpointError(
            "The file is a TorchScript program, not weights.",
            ONLY_WEIGHTS,
        )
    size = members["data.pkl"].file_size
    if size > MAX_PICKLE_BYTES:
        raise CheckpointError(
            f"The member data.pkl has {size} bytes; at most {MAX_PICKLE_BYTES} are read."
        )
    pickled = bytes(_content(data, members["data.pkl"]))
    read = unpickle(pickled)
    if read.end != len(pickled):
        raise CheckpointError(f"{len(pickled) - read.end} bytes follow the pickle in data.pkl.")
    storages = {
        key: _storage_bytes(data, members, storage) for key, storage in read.storages.items()
    }
    return Archive(read.value, storages, _byte_order(data, members))


def _members(data: bytes) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's members by name without the root folder's."""
    end = data[-_END_BYTES:]
    if end[:4] != _END_START or end[-2:] != b"\0\0":
        raise CheckpointError(
            "The zip archive has no end record in its last bytes: it is cut short, or something "
            "follows it."
        )
    # `zipfile` makes an object of half a kB for each entry, so they are counted beforehand.
    if data.count(_ENTRY_START) > MAX_MEMBERS:
        raise CheckpointError(f"The zip archive has more than {MAX_MEMBERS} members.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
        raise CheckpointError(f"The zip archive is damaged ({error}).") from error
    for info in infos:
        _check_entry(info)
    # A thousand members that share their bytes would be checked a thousand times.
    if sum(info.file_size for info in infos) > len(data):
        raise CheckpointError("The members of the zip archive overlap.")
    roots = {info.filename.split("/")[0] for info in infos}
    if len(roots) != 1:
        raise CheckpointError(f"The zip archive has {len(roots)} root folders; torch makes one.")
    members = {info.filename.partition("/")[2]: info for info in infos}
    if len(members) < len(infos):
        raise CheckpointError("The zip archive has two members of the same name.")
    return members


def _check_entry(info: zipfile.ZipInfo) -> None:
    name = shown(info.orig_filename)
    if _UNSAFE_NAME.search(info.orig_filename):
        raise CheckpointError(f"The zip archive has a member with the unsafe name {name}.")
    if info.flag_bits & _ENCRYPTED:
        raise CheckpointError(f"The member {name} is encrypted.")
    if info.compress_type != zipfile.ZIP_STORED:
        raise CheckpointError(
            f"The member {name} is compressed, which torch never does.",
            "Pack the archive again without compression, or take the original file.",
        )
    if info.compress_size != info.file_size:
        raise CheckpointError(
            f"The member {name} has {info.file_size} bytes but takes {info.compress_size} "
            "in the archive, without being compressed."
        )


def _content(data: bytes, info: zipfile.ZipInfo) -> memoryview:
    name = shown(info.orig_filename)
    start = _content_start(data, info)
    content = memoryview(data)[start : start + info.file_size]
    if len(content) < info.file_size:
        raise CheckpointError(f"The member {name} reaches beyond the end of the file.")
    if zlib.crc32(content) != info.CRC:
        raise CheckpointError(f"The member {name} does not have the checksum that it should.")
    return content


def _content_start(data: bytes, info: zipfile.ZipInfo) -> int:
    start = info.header_offset
    if not 0 <= start <= len(data) - _LOCAL_HEADER.size:
        raise CheckpointError(f"The header of {shown(info.orig_filename)} is not in the file.")
    signature, flags, method, name_length, extra_length = _LOCAL_HEADER.unpack_from(data, start)
    name_start = start + _LOCAL_HEADER.size
    encoding = "utf-8" if info.flag_bits & _UTF8_NAME else "cp437"
    name = data[name_start : name_start + name_length].decode(encoding, "replace")
    found = (signature, flags & _ENCRYPTED, method, name)
    if found != (ZIP_START, 0, zipfile.ZIP_STORED, info.orig_filename):
        raise CheckpointError(
            f"The header of the member {shown(info.orig_filename)} differs from the archive's "
            "table of contents."
        )
    return int(name_start + name_length + extra_length)


def _storage_bytes(
    data: bytes, members: dict[str, zipfile.ZipInfo], storage: Storage
) -> memoryview:
    info = members.get(f"data/{storage.key}")
    if info is None:
        raise CheckpointError(f"The storage {shown(storage.key)} is missing from the archive.")
    if info.file_size != storage.total_bytes:
        raise CheckpointError(
            f"The storage {shown(storage.key)} has {info.file_size} bytes; "
            f"its tensors need {storage.total_bytes}."
        )
    return _content(data, info)


def _byte_order(data: bytes, members: dict[str, zipfile.ZipInfo]) -> Literal["<", ">"]:
    """Return the byte order that the archive names; before torch 2.1 it named none."""
    if "byteorder" not in members:
        return "<"
    order = bytes(_content(data, members["byteorder"])[:20])
    if order == b"little":
        return "<"
    if order == b"big":
        return ">"
    raise CheckpointError(f"The byte order {order!r} is neither little nor big.")
