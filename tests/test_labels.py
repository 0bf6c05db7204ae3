"""The names of the classes."""

import csv
import json
import re
from pathlib import Path

import pytest

from sightbox.errors import LabelError
from sightbox.labels import load_labels, numbered_labels, own_labels, read_names

SHARED = Path(__file__).parents[2] / "shared"


def test_every_class_has_an_english_and_a_chinese_name() -> None:
    labels = load_labels("imagenet-1k")
    assert labels.languages == ("en", "zh")
    assert len(labels) == 1000
    assert all(re.fullmatch(r"n\d{8}", wnid or "") for wnid in labels.wnids)
    for names in labels.names.values():
        assert all(name == name.strip() != "" for name in names)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_of_different_classes_differ(language: str) -> None:
    names = load_labels("imagenet-1k").names[language]
    assert len(set(names)) == len(names)


def test_chinese_names_are_chinese_and_short() -> None:
    names = load_labels("imagenet-1k").names["zh"]
    assert [name for name in names if not re.search(r"[\u4e00-\u9fff]", name)] == ["iPod"]
    assert max(map(len, names)) <= 14
    assert not [name for name in names if re.search(r"[()（）\s]", name)]


@pytest.mark.parametrize(
    ("index", "wnid", "english", "chinese"),
    [
        (0, "n01440764", "tench", "丁鱥"),
        (134, "n02012849", "crane bird", "鹤"),
        (281, "n02123045", "tabby", "虎斑猫"),
        (517, "n03126707", "crane", "起重机"),
        (967, "n07920052", "espresso", "浓缩咖啡"),
    ],
)
def test_known_classes_have_their_names(index: int, wnid: str, english: str, chinese: str) -> None:
    labels = load_labels("imagenet-1k")
    assert labels.wnids[index] == wnid
    assert labels.of(index) == {"en": english, "zh": chinese}


def test_order_and_english_names_equal_the_reference() -> None:
    reference = SHARED / "reference" / "imagenet_classes.csv"
    if not reference.is_file():
        pytest.skip("the reference list is not here")
    rows = list(csv.DictReader(reference.read_text("utf-8").splitlines()))
    labels = load_labels("imagenet-1k")
    assert list(labels.wnids) == [row["wnid"] for row in rows]
    assert list(labels.names["en"]) == [row["torchvision_name"] for row in rows]


def test_own_file_overrides_a_name(tmp_path: Path) -> None:
    (tmp_path / "zh.json").write_text(json.dumps({"n02123045": "狸花猫"}), "utf-8")
    labels = load_labels("imagenet-1k", tmp_path)
    assert labels.of(281) == {"en": "tabby", "zh": "狸花猫"}
    assert labels.of(0)["zh"] == "丁鱥"


def test_own_file_adds_a_language_and_english_fills_its_gaps(tmp_path: Path) -> None:
    (tmp_path / "fr.json").write_text(json.dumps({"n02123045": "chat tigré"}), "utf-8")
    labels = load_labels("imagenet-1k", tmp_path)
    assert labels.languages == ("en", "fr", "zh")
    assert labels.of(281)["fr"] == "chat tigré"
    assert labels.of(0)["fr"] == "tench"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read"),
        ("[1]", "no object of names"),
        ('{"n02123045": 3}', "no object of names"),
        ('{"n02123045": " "}', "no object of names"),
        ('{"cat": "chat"}', "1 unknown ids, such as 'cat'"),
    ],
)
def test_bad_own_file_is_a_label_error(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "fr.json").write_text(content, "utf-8")
    with pytest.raises(LabelError, match=told):
        load_labels("imagenet-1k", tmp_path)


def test_unknown_set_is_a_label_error() -> None:
    with pytest.raises(LabelError, match="no label set 'nope'"):
        load_labels("nope")


def test_own_classes_need_names_that_differ() -> None:
    assert own_labels(["good", "bad"]).of(1) == {"en": "bad"}
    with pytest.raises(LabelError, match="occurs twice"):
        own_labels(["good", "good"])
    with pytest.raises(LabelError, match="class 2 is empty"):
        own_labels(["good", " "])


def test_classes_without_names_are_numbered() -> None:
    assert numbered_labels(2).names["en"] == ("class 0", "class 1")


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("a.json", "{}", "no list"),
        ("a.json", "[]", "no list"),
        ("a.json", "[1]", "class 1 is empty"),
        ("a.json", "{", "cannot be read"),
        ("a.txt", "\n\n", "no list"),
        ("a.txt", "good\n\nbad", "class 2 is empty"),
    ],
)
def test_bad_list_of_own_names_is_refused(
    tmp_path: Path, file: str, content: str, told: str
) -> None:
    (tmp_path / file).write_text(content, "utf-8")
    with pytest.raises(LabelError, match=told):
        read_names(tmp_path / file)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.txt", "good\nbad\n"),
        ("a.txt", "good\r\nbad\n\n"),
        ("a.txt", "\ufeffgood\nbad"),
        ("a.json", '["good", "bad"]'),
    ],
)
def test_own_names_are_lines_or_a_list(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / file).write_text(content, "utf-8")
    assert read_names(tmp_path / file) == ("good", "bad")


def test_missing_list_of_own_names_is_a_label_error(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cannot be read"):
        read_names(tmp_path / "none.txt")
