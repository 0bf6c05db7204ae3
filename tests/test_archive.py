"""Models as one file: what comes back, and what hostile files get."""

import struct
import zipfile
from pathlib import Path

import pytest

from sightbox.archive import MAX_CARD_BYTES, is_archive, read_archive
from sightbox.catalogue import EMBEDDED
from sightbox.errors import ModelError
from sightbox.model import CARD, WEIGHTS
from sightbox.store import Store


@pytest.fixture
def exported(home: Path, tmp_path: Path) -> Path:
    """The embedded model as one file."""
    path = tmp_path / "model.zip"
    Store(home).export(EMBEDDED, path)
    return path


def test_export_and_import_give_the_same_model(exported: Path, tmp_path: Path, home: Path) -> None:
    store = Store(tmp_path / "other")
    store.import_file(exported)
    assert store.open(EMBEDDED).card == Store(home).open(EMBEDDED).card
    assert store.import_file(exported, name="copy").card.name == "copy"


def test_export_into_a_missing_folder_is_a_model_error(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be written"):
        Store(home).export(EMBEDDED, tmp_path / "no" / "model.zip")
    assert list(tmp_path.glob("**/*.part")) == []


def test_weights_of_another_card_are_refused(exported: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        card = archive.read(CARD)
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(CARD, card)
        archive.writestr(WEIGHTS, b"other")
    with pytest.raises(ModelError, match="do not belong to its card"):
        Store(tmp_path / "other").import_file(tmp_path / "bad.zip")


def test_missing_member_is_named(exported: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        card = archive.read(CARD)
    with zipfile.ZipFile(tmp_path / "short.zip", "w") as archive:
        archive.writestr(CARD, card)
    with pytest.raises(ModelError, match=r"no whole exported model.*weights\.safetensors"):
        read_archive(tmp_path / "short.zip")


def test_compressed_member_is_refused_before_it_grows(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CARD, b"\0" * 50_000_000)
    assert bomb.stat().st_size < 100_000
    with pytest.raises(ModelError, match="compressed or encrypted"):
        read_archive(bomb)


def test_huge_card_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "huge.zip", "w") as archive:
        archive.writestr(CARD, b" " * (MAX_CARD_BYTES + 1))
    with pytest.raises(ModelError, match="the limit is 1,000,000"):
        read_archive(tmp_path / "huge.zip")


def test_encrypted_member_is_refused(exported: Path, tmp_path: Path) -> None:
    data = bytearray(exported.read_bytes())
    # The flags stand 6 bytes into a local header and 8 into a central one (APPNOTE.TXT 4.3).
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        struct.pack_into("<H", data, data.index(signature) + offset, 1)
    (tmp_path / "secret.zip").write_bytes(data)
    with pytest.raises(ModelError, match="compressed or encrypted"):
        read_archive(tmp_path / "secret.zip")


@pytest.mark.parametrize("place", range(0, 100, 9))
def test_damaged_export_is_a_model_error_or_no_export(
    exported: Path, tmp_path: Path, place: int
) -> None:
    """Overwrites ten bytes at different places of the card and of the table of contents."""
    data = bytearray(exported.read_bytes())
    tail = len(data) - 1 - place * 2
    for at in (place * 20, tail):
        data[at : at + 10] = b"\xff" * min(10, len(data) - at)
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(data)
    if is_archive(damaged):
        with pytest.raises(ModelError):
            read_archive(damaged)


def test_truncated_export_is_no_archive(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.zip").write_bytes(exported.read_bytes()[:-30])
    assert not is_archive(tmp_path / "cut.zip")
