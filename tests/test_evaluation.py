"""Evaluation from pictures to report: labels, journal, comparison, page, command line."""

import json
import math
import os
import shutil
import signal
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commandline import SIGHTBOX, run
from sightbox import Classifier
from sightbox.backends.dummy import expected_class
from sightbox.cli.calibrate import wish
from sightbox.cli.pictures import PICTURE_SUFFIXES
from sightbox.errors import RequestError
from sightbox.evaluation import evaluate, findings_to_json
from sightbox.evaluation_page import evaluation_page
from sightbox.journal import Journal
from sightbox.labelled import Labelled, class_of, walk
from sightbox.labels import Labels, load_labels
from sightbox.store import Store
from sightbox.tables import VALIDATION_FILE, read_table
from sightbox.temperature import TEMPERATURES, Fitting

TABBY, ESPRESSO, MISSILE = "n02123045", "n07920052", "n03773504"


@pytest.fixture
def labels() -> Labels:
    return load_labels("imagenet-1k")


@pytest.fixture
def labelled(tmp_path: Path, photos: Path) -> Path:
    """A folder: two photos under their WordNet ids, one by its name, one broken, one unknown."""
    folder = tmp_path / "labelled"
    for wnid, name in ((ESPRESSO, "coffee.png"), (MISSILE, "rocket.jpg")):
        (folder / wnid).mkdir(parents=True)
        shutil.copy(photos / name, folder / wnid / name)
    shutil.copy(photos / "chelsea.png", folder / f"{TABBY}_1.png")
    (folder / ESPRESSO / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    shutil.copy(photos / "rocket.jpg", folder / "holiday.jpg")
    (folder / "notes.txt").write_text("no picture")
    return folder


def drawn(folder: Path, count: int) -> list[Labelled]:
    """Draws pictures that the dummy backend names rightly but for every third one."""
    folder.mkdir()
    pictures = []
    for number in range(count):
        pixels = np.full((224, 224, 3), number, np.uint8)
        path = folder / f"{number:03}.png"
        Image.fromarray(pixels).resize((256, 256)).save(path)
        named = int(expected_class(pixels[None], 1000)[0])
        pictures.append(Labelled(path, named if number % 3 else (named + 1) % 1000))
    return pictures


def named_by_class(pictures: list[Labelled]) -> None:
    """Renames files so that their names tell their classes."""
    wnids = load_labels("imagenet-1k").wnids
    for path, target in pictures:
        assert target is not None
        path.rename(path.with_name(f"{wnids[target]}_{path.name}"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("n02123045/7.jpg", "tabby"),
        ("tabby/7.jpg", "tabby"),
        ("虎斑猫/7.jpg", "tabby"),
        ("n02123045_7.jpg", "tabby"),
        ("holiday/7.jpg", None),
    ],
)
def test_class_is_told_by_folder_or_name(path: str, name: str | None, labels: Labels) -> None:
    found = class_of(Path(path), labels)
    assert (None if found is None else labels.names["en"][found]) == name


def test_walk_finds_pictures_in_order_and_no_hidden_ones(labelled: Path, labels: Labels) -> None:
    (labelled / ".hidden").mkdir()
    (labelled / ".hidden" / "x.jpg").write_bytes(b"")
    found = [
        str(item.path.relative_to(labelled)) for item in walk(labelled, labels, PICTURE_SUFFIXES)
    ]
    expected = ["holiday.jpg", f"{TABBY}_1.png", *(f"{MISSILE}/rocket.jpg",)]
    assert found == sorted([*expected, f"{ESPRESSO}/broken.jpg", f"{ESPRESSO}/coffee.png"])


def test_table_names_classes_in_any_way(tmp_path: Path, labels: Labels) -> None:
    table = tmp_path / "table.csv"
    table.write_text(f"path,class,more\na.jpg,{TABBY},1\nb/c.jpg,虎斑猫,2\nd.jpg,281,3\n", "utf-8")
    found = list(read_table(table, tmp_path, labels))
    assert [item.target for item in found] == [281, 281, 281]
    assert found[1].path == tmp_path / "b" / "c.jpg"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "path and class"),
        ("", "path and class"),
        ("path,class\na.jpg,unicorn\n", "Line 2 .*unicorn"),
        ("path,class\na.jpg,1000\n", "1000"),
        ("path,class\na.jpg\n", "Line 2"),
        ("a b.jpg 65\nb.jpg\n", "Line 2"),
        ("n02123045\nunicorn\n", "Line 2 .*unicorn"),
        ("ImageId,PredictionString\nx,\n", "Line 2"),
        (b"path,class\n\xff,1\n", "cannot be read"),
    ],
)
def test_bad_table_is_refused(
    tmp_path: Path, labels: Labels, content: str | bytes, message: str
) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RequestError, match=message):
        list(read_table(table, tmp_path, labels))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("val.txt", "ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG 970\n"),
        ("val.txt", "ILSVRC2012_val_00000001.JPEG\tn01751748\nILSVRC2012_val_00000002.JPEG\talp\n"),
        ("imagenet_2012_validation_synset_labels.txt", "n01751748\nn09193705\n"),
        (
            "LOC_val_solution.csv",
            """ImageId,PredictionString
ILSVRC2012_val_00000001,n01751748 111 108 441 193 n01751748 1 2 3 4
ILSVRC2012_val_00000002,n09193705 0 0 499 374
""",
        ),
        ("ILSVRC2012_validation_ground_truth.txt", "490\n361\n"),
    ],
)
def test_lists_of_the_imagenet_validation_set_are_understood(
    tmp_path: Path, labels: Labels, name: str, content: str
) -> None:
    (tmp_path / "map_clsloc.txt").write_text("n09193705 361 alp\nn01751748 490 sea_snake\n")
    (tmp_path / name).write_text(content)
    val = tmp_path / "val"
    assert list(read_table(tmp_path / name, val, labels)) == [
        Labelled(val / "ILSVRC2012_val_00000001.JPEG", 65),
        Labelled(val / "ILSVRC2012_val_00000002.JPEG", 970),
    ]


def test_ground_truth_of_the_kit_needs_its_order_of_classes(tmp_path: Path, labels: Labels) -> None:
    file = tmp_path / "ILSVRC2012_validation_ground_truth.txt"
    file.write_text("490\n")
    with pytest.raises(RequestError, match=r"map_clsloc\.txt is not there"):
        list(read_table(file, tmp_path, labels))
    (tmp_path / "map_clsloc.txt").write_text("n09193705 361 alp\n")
    with pytest.raises(RequestError, match=r"Line 1 .*'490'"):
        list(read_table(file, tmp_path, labels))


def test_memory_does_not_grow_with_the_pictures(
    dummy: Classifier, tmp_path: Path, labels: Labels
) -> None:
    """Five times as many from a table and a journal take as much as the fewer, to 100 kB."""
    head, curve = {"of": "this"}, [1.0] + [-0.5] * len(TEMPERATURES)
    peaks = []
    for count in (200, 1000):
        table, journal = tmp_path / "val.txt", tmp_path / f"{count}.jsonl"
        table.write_text("".join(f"{VALIDATION_FILE.format(n)} {n % 7}\n" for n in range(count)))
        with Journal(journal, head) as kept:
            for path, target in read_table(table, tmp_path, labels):
                said = {"answers": [[[0, 1, 2, 3, 4], 0.6]], "curve": curve}
                kept.add({"path": str(path), "target": target, **said})
        fitting = Fitting()
        tracemalloc.start()
        with Journal(journal, head) as kept:
            pictures = read_table(table, tmp_path, labels)
            found = evaluate(pictures, [dummy], kept, fitting=fitting)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (found.tallies[0].pictures, fitting.pictures, found.computed) == (count, count, 0)
    # Each picture's entry alone takes 4 kB.
    assert peaks[1] - peaks[0] < 100_000


def test_findings_are_those_of_an_independent_count(dummy: Classifier, tmp_path: Path) -> None:
    pictures = drawn(tmp_path / "drawn", 30)
    pictures.insert(7, Labelled(tmp_path / "nowhere.png", 5))
    pictures.insert(20, Labelled(pictures[0].path, None))
    done: list[None] = []
    found = evaluate(pictures, [dummy], progress=lambda: done.append(None))
    assert (found.tallies[0].pictures, found.tallies[0].top1) == (30, 20)
    assert (found.unreadable, found.unknown, len(done)) == (1, 1, 32)
    assert found.errors[0][0].endswith("nowhere.png")


def test_two_ways_are_compared_picture_by_picture(
    dummy: Classifier, classifier: Classifier, tmp_path: Path
) -> None:
    pictures = drawn(tmp_path / "drawn", 9)
    found = evaluate(pictures, [dummy, classifier])
    assert [tally.pictures for tally in found.tallies] == [9, 9]
    assert found.duel.first == found.tallies[0].top1
    assert found.duel.second == 0
    report = findings_to_json(found, [dummy, classifier], "drawn")
    assert report["comparison"]["only_first_right"] == 6


def test_evaluation_goes_on_from_its_journal(dummy: Classifier, tmp_path: Path) -> None:
    pictures = drawn(tmp_path / "drawn", 12)
    file = tmp_path / "journal.jsonl"
    with Journal(file, {"of": "this"}) as journal:
        evaluate(pictures[:5], [dummy], journal)
    # What a killed process leaves of the sixth.
    with file.open("ab") as half:
        half.write(b'{"path": "half of a li')
    with Journal(file, {"of": "this"}) as journal:
        found = evaluate(pictures, [dummy], journal)
    assert (found.computed, found.tallies[0].pictures) == (7, 12)
    assert found.tallies[0].top1 == evaluate(pictures, [dummy]).tallies[0].top1
    assert len(file.read_text().splitlines()) == 13


def test_journal_of_another_evaluation_is_refused(dummy: Classifier, tmp_path: Path) -> None:
    pictures = drawn(tmp_path / "drawn", 3)
    file = tmp_path / "journal.jsonl"
    with Journal(file, {"of": "this"}) as journal:
        evaluate(pictures, [dummy], journal)
    with pytest.raises(RequestError, match="another evaluation"):
        Journal(file, {"of": "that"})
    with (
        Journal(file, {"of": "this"}) as journal,
        pytest.raises(RequestError, match=r"goes on with .*000\.png"),
    ):
        evaluate(pictures[1:], [dummy], journal)


def test_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "precious.txt"
    file.write_text("not for you\n")
    with pytest.raises(RequestError, match="no journal"):
        Journal(file, {})
    assert file.read_text() == "not for you\n"


def test_page_shows_figures_and_escapes_names(dummy: Classifier, tmp_path: Path) -> None:
    pictures = drawn(tmp_path / "<b>drawn", 6)
    found = evaluate(pictures, [dummy])
    page = evaluation_page(findings_to_json(found, [dummy], "<script>alert(1)</script>"))
    assert "<script" not in page
    assert "<b>drawn" not in page
    assert "66.7 %" in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert "http" not in page.replace("http-equiv", "")


def test_command_tells_how_right_the_model_is(labelled: Path, tmp_path: Path) -> None:
    report, page = tmp_path / "report.json", tmp_path / "report.html"
    code, out, error = run("eval", labelled, "--json", report, "--html", page)
    assert code == 1, error
    rows = dict(line.split("\t", 1) for line in out.splitlines() if "\t" in line)
    told = json.loads(report.read_text())
    assert told["results"][0]["top1"]["of"] == 3
    assert rows["top-5"].startswith("1.0000  (3 of 3")
    assert "broken.jpg" in rows["not read"]
    assert rows["left out, no class known"] == "1"
    assert page.read_text().startswith("<!doctype html>")


def test_command_compares_two_ways(labelled: Path) -> None:
    code, out, _ = run("eval", labelled, "--against", "preprocessing=nearest")
    assert code == 1
    assert "McNemar's test\tp = 1" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "cannot be read"),
        ([".", "--against", "colour=red"], "cannot be understood"),
        (["."], "has a class that the model knows"),
        ([".", "--table", "nowhere.csv"], "cannot be read"),
    ],
)
def test_wrong_use_is_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = run("eval", *arguments)
    assert code == 2
    assert message in error


def test_killed_command_loses_no_answer(tmp_path: Path) -> None:
    """Kills it after some answers; the second run computes the rest alone."""
    folder, journal = tmp_path / "drawn", tmp_path / "journal.jsonl"
    drawn(folder, 60)
    for picture in sorted(folder.iterdir()):
        picture.rename(folder / f"tabby_{picture.name}")
    command = [*SIGHTBOX, "eval", str(folder), "--backend", "dummy", "--journal", str(journal)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not (journal.exists() and journal.read_bytes().count(b"\n") > 5):
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    before = journal.read_bytes().count(b"\n")
    code, out, error = run("eval", folder, "--backend", "dummy", "--journal", journal)
    assert (code, error) == (0, "")
    assert "of 60;" in out
    assert before <= journal.read_bytes().count(b"\n") == 61


def test_shared_photos_are_named_as_an_independent_count_says(
    classifier: Classifier, shared_photos: Path, labels: Labels
) -> None:
    """Counts again from the files' names alone: photo number n of the sorted ones is class 5n."""
    fitting = Fitting()
    pictures = walk(shared_photos, labels, PICTURE_SUFFIXES)
    found = evaluate(pictures, [classifier], fitting=fitting)
    files = sorted(shared_photos.iterdir())
    answers = classifier.classify_many(files, top_k=1)
    right = 0
    for number, (path, answer) in enumerate(zip(files, answers, strict=True)):
        assert not isinstance(answer, Exception), path
        right += answer.top.index == 5 * number
    assert (found.tallies[0].pictures, found.tallies[0].top1) == (200, right)
    assert right / 200 >= 0.885
    # It was trained with smoothed labels, and is right more often than it says.
    fit = fitting.fit(0.95)
    assert fit.temperature == pytest.approx(0.66, abs=0.02)
    assert fit.before.error == pytest.approx(0.143, abs=0.005)
    assert fit.after.error < 0.06
    assert (fit.after.right.hits, fit.after.right.of) == pytest.approx((129, 131), abs=3)


def test_calibration_is_told_and_kept_only_when_asked(home: Path, tmp_path: Path) -> None:
    mine = tmp_path / "home"
    shutil.copytree(home, mine)
    folder, journal, report = (tmp_path / name for name in ("drawn", "j.jsonl", "report.json"))
    named_by_class(drawn(folder, 60))
    command: list[str | Path] = [
        "eval",
        folder,
        "--backend",
        "dummy",
        "--calibrate",
        "--precision",
        "0.5",
    ]
    page = tmp_path / "report.html"
    more: list[str | Path] = ["--journal", journal, "--json", report, "--html", page]
    env = {"SIGHTBOX_HOME": str(mine)}
    code, out, error = run(*command, *more, env=env)
    assert (code, error) == (0, "")
    assert "Nothing is kept" in out
    fit = json.loads(report.read_text())["fit"]
    assert (fit["pictures"], fit["precision"]) == (60, 0.5)
    assert f"<strong>{fit['temperature']:.3f}</strong> temperature" in page.read_text()
    assert Store(mine).open().card.calibration is None
    # From the journal, nothing is computed again, and the same is found.
    code, out, error = run(*command, *more, "--save", env=env)
    assert (code, error) == (0, "")
    assert "images/s" not in out
    kept = Store(mine).open().card.calibration
    assert kept is not None
    assert (kept.temperature, kept.threshold) == (fit["temperature"], fit["threshold"])
    assert (kept.precision, kept.pictures, kept.variant) == (0.5, 60, "fp32")
    # The scores of the journal were others.
    assert "another evaluation" in run(*command, *more, env=env)[2]
    plain: list[str | Path] = ["eval", folder, "--backend", "dummy", "--json", report]
    code, out, _ = run(*plain, "--html", page, env=env)
    assert f"at temperature {fit['temperature']:.3f}" in page.read_text()
    told = json.loads(report.read_text())["results"][0]
    assert (told["model"]["temperature"], told["sure"]["threshold"]) == (
        kept.temperature,
        kept.threshold,
    )
    assert f"sure, from {kept.threshold:g} on\t" in out


def test_precision_that_cannot_be_promised_is_said_and_leaves_no_threshold(
    home: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "home"
    shutil.copytree(home, mine)
    named_by_class(drawn(tmp_path / "drawn", 60))
    asked: list[str | Path] = [
        "eval",
        tmp_path / "drawn",
        "--backend",
        "dummy",
        "--calibrate",
        "--save",
    ]
    code, out, _ = run(*asked, "--precision", "0.99", env={"SIGHTBOX_HOME": str(mine)})
    assert code == 1
    assert "60 pictures cannot promise it: it takes 381, all of them right" in out
    kept = Store(mine).open().card.calibration
    assert kept is not None
    assert kept.threshold is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"calibrate": False, "save": True}, "belong to --calibrate"),
        ({"calibrate": False, "precision": 0.9}, "belong to --calibrate"),
        ({"precision": 95.0}, "--precision is 95"),
        ({"precision": math.nan}, "--precision is nan"),
        ({"against": "variant=fp32"}, "one way to answer"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    given = {"calibrate": True, "precision": None, "save": False, "against": None}
    with pytest.raises(RequestError, match=message):
        wish(**given | changes)


def test_too_few_pictures_are_refused(labelled: Path) -> None:
    code, _, error = run("eval", labelled, "--calibrate")
    assert code == 2
    assert "3 pictures are too few" in error
