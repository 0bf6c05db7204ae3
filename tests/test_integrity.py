"""The package against its manifest and its wheel's RECORD: what was changed is found and named."""

from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from installing import copy_package, record
from sightbox.integrity import (
    MANIFEST,
    PACKAGE,
    File,
    check_data,
    check_record,
    data_files,
    manifest_text,
    wheel_record,
)

CHINESE = "data/labels/imagenet-1k/zh.json"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the package."""
    return copy_package(tmp_path / "site")


@pytest.fixture
def installed(copied: Path) -> PathDistribution:
    """The copy, with a RECORD beside it."""
    return record(copied)


def _problems(files: Iterator[File]) -> dict[str, str]:
    return {file.name: file.problem for file in files if file.problem is not None}


def test_manifest_is_that_of_the_files_as_they_are() -> None:
    """``make docs`` writes it anew."""
    assert (PACKAGE / MANIFEST).read_text("utf-8") == manifest_text()


def test_manifest_has_labels_texts_styles_templates_and_the_catalogue() -> None:
    wanted = {
        CHINESE,
        "data/catalogue.json",
        "data/golden/efficientnet-lite0.npz",
        "web/static/css/page.css",
        "web/static/i18n/zh.json",
        "web/templates/index.html",
    }
    assert wanted <= set(data_files())
    assert {file.name for file in check_data()} == set(data_files())


def test_package_as_published_has_no_problem(copied: Path) -> None:
    assert _problems(check_data(copied)) == {}


def test_one_wrong_label_line_is_named(copied: Path) -> None:
    path = copied / CHINESE
    path.write_text(path.read_text("utf-8").replace('"虎斑猫"', '"虎纹猫"', 1), "utf-8")
    assert _problems(check_data(copied)) == {
        CHINESE: 'was changed: line 283 is "n02123045": "虎纹猫"'
    }


def test_missing_label_line_is_told(copied: Path) -> None:
    path = copied / CHINESE
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:500] + lines[501:]), "utf-8")
    assert _problems(check_data(copied)) == {
        CHINESE: "was changed: it has 1001 lines instead of 1002"
    }


def test_other_line_ends_are_a_change(copied: Path) -> None:
    path = copied / CHINESE
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert _problems(check_data(copied)) == {CHINESE: "was changed"}


def test_changed_missing_and_added_files_are_named(copied: Path) -> None:
    with (copied / "web/templates/index.html").open("a") as page:
        page.write("<script>")
    (copied / "web/static/icon.svg").unlink()
    (copied / "web/static/js/added.js").touch()
    assert _problems(check_data(copied)) == {
        "web/templates/index.html": "was changed",
        "web/static/icon.svg": "cannot be read: No such file or directory",
        "web/static/js/added.js": "is not in the manifest",
    }


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": 1, "lines": {}}'])
def test_damaged_manifest_is_named(text: str, copied: Path) -> None:
    (copied / MANIFEST).write_text(text)
    assert list(_problems(check_data(copied))) == [MANIFEST]


def test_installation_as_it_was_made_has_no_problem(
    installed: PathDistribution, copied: Path
) -> None:
    assert _problems(check_record(installed, copied)) == {}


def test_changed_code_and_added_code_are_named(installed: PathDistribution, copied: Path) -> None:
    with (copied / "labels.py").open("a") as code:
        code.write("\n")
    (copied / "more.py").touch()
    (copied / "errors.py").unlink()
    assert _problems(check_record(installed, copied)) == {
        "sightbox/labels.py": "was changed: its digest is not that of RECORD",
        "sightbox/errors.py": "cannot be read: No such file or directory",
        "sightbox/more.py": "is not in RECORD",
    }


def test_record_counts_only_for_the_package_that_runs(
    installed: PathDistribution, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(copied.parent)
    assert wheel_record(copied) is not None
    assert wheel_record(PACKAGE) is None
