"""The command line in order: what each command says, in each form."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image

from commandline import SIGHTBOX, on_terminal, run
from sightbox.cli.pictures import PICTURE_SUFFIXES, Item, find_items
from sightbox.errors import RequestError


@pytest.fixture
def album(tmp_path: Path, photos: Path) -> Path:
    """A folder: two photos, a broken one, a text, a hidden file, a folder with one more."""
    folder = tmp_path / "album"
    (folder / "deeper").mkdir(parents=True)
    shutil.copy(photos / "chelsea.png", folder / "a cat.PNG")
    shutil.copy(photos / "rocket.jpg", folder / "b.jpg")
    (folder / "c.jpg").write_bytes((photos / "rocket.jpg").read_bytes()[:4000])
    (folder / "notes.txt").write_text("nothing to see")
    (folder / ".hidden.jpg").write_bytes(b"x")
    shutil.copy(photos / "coffee.png", folder / "deeper" / "d.png")
    return folder


def test_photo_is_named_in_a_pipe_as_plain_lines(photos: Path) -> None:
    code, out, error = run("classify", photos / "coffee.png", "-k", "2")
    assert (code, error) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == [str(photos / "coffee.png")] * 2
    assert rows[0][2:] == ["espresso", "浓缩咖啡"]
    assert 0.5 < float(rows[0][1]) < 1


def test_terminal_shows_a_table_with_colours_and_no_color_is_honoured(photos: Path) -> None:
    shown = on_terminal(["classify", photos / "coffee.png"])
    assert "espresso" in shown
    assert "浓缩咖啡" in shown
    assert "efficientnet-lite0" in shown
    assert "\x1b[36m" in shown
    plain = on_terminal(["classify", photos / "coffee.png"], NO_COLOR="1")
    assert "espresso" in plain
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain)


def test_terminal_shows_progress_on_many(album: Path) -> None:
    shown = on_terminal(["classify", album, "-k", "1"])
    assert "Looking" in shown
    assert "3/3" in shown


def test_folder_with_a_broken_file_goes_on_and_exits_with_one(album: Path) -> None:
    code, out, error = run("classify", album, "-k", "1", "--lang", "en")
    assert code == 1
    assert [line.split("\t")[0] for line in out.splitlines()] == [
        str(album / "a cat.PNG"),
        str(album / "b.jpg"),
    ]
    assert error.startswith(f"sightbox: {album / 'c.jpg'}: ")
    assert "Traceback" not in error


def test_recursion_and_patterns_find_pictures(album: Path) -> None:
    def found(*arguments: Path, recursive: bool = False) -> list[str]:
        items = find_items(
            [str(a) for a in arguments], recursive=recursive, suffixes=PICTURE_SUFFIXES
        )
        return [Path(item.name).relative_to(album).as_posix() for item in items]

    assert found(album) == ["a cat.PNG", "b.jpg", "c.jpg"]
    assert found(album, recursive=True) == ["a cat.PNG", "b.jpg", "c.jpg", "deeper/d.png"]
    assert found(album / "*.jpg") == ["b.jpg", "c.jpg"]
    assert found(album / "**" / "*.png") == ["deeper/d.png"]
    assert found(album / "notes.txt", album / "b.jpg") == ["notes.txt", "b.jpg"]


def test_file_whose_name_looks_like_a_pattern_is_taken(tmp_path: Path, photos: Path) -> None:
    odd = tmp_path / "photo[1].jpg"
    shutil.copy(photos / "rocket.jpg", odd)
    found = find_items([str(odd)], recursive=False, suffixes=PICTURE_SUFFIXES)
    assert found == [Item(str(odd), odd)]


def test_nothing_to_look_at_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no pictures"):
        find_items([str(tmp_path)], recursive=False, suffixes=PICTURE_SUFFIXES)
    code, out, error = run("classify", tmp_path)
    assert (code, out) == (2, "")
    assert "with -r" in error


def test_missing_file_fails_alone(photos: Path) -> None:
    code, out, error = run("classify", "nope.jpg", photos / "rocket.jpg", "-k1")
    assert code == 1
    assert out.count("\n") == 1
    assert error == "sightbox: nope.jpg: The file cannot be read: No such file or directory.\n"


def test_json_is_the_shape_of_http(album: Path) -> None:
    code, out, error = run("classify", album, "--json", "--lang", "zh")
    results = json.loads(out)["results"]
    assert (code, error) == (1, "")
    assert [list(result)[:2] for result in results] == [
        ["path", "model"],
        ["path", "model"],
        ["path", "error"],
    ]
    assert len(results[0]["predictions"]) == 5
    assert list(results[0]["predictions"][0]["label"]) == ["zh"]
    assert results[2]["error"]["code"] == "bad_image"


def test_json_lines_are_one_object_each(album: Path) -> None:
    code, out, _ = run("classify", album, "--jsonl", "-k", "1")
    assert code == 1
    assert [json.loads(line)["path"] for line in out.splitlines()] == [
        str(album / name) for name in ("a cat.PNG", "b.jpg", "c.jpg")
    ]


def test_csv_has_a_header_and_the_errors(album: Path) -> None:
    code, out, _ = run("classify", album, "--csv", "-k", "1")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 1
    assert [Path(row["path"]).name for row in rows] == ["a cat.PNG", "b.jpg", "c.jpg"]
    assert rows[1]["label_en"] in {"missile", "projectile"}
    assert rows[1]["error"] == ""
    assert rows[2]["error"] != ""


def test_picture_without_a_likely_class_still_has_its_line(photos: Path) -> None:
    asked = ("classify", photos / "rocket.jpg", "--min-score", "1")
    assert run(*asked) == (0, f"{photos / 'rocket.jpg'}\t\tnot sure\n", "")
    rows = list(csv.DictReader(io.StringIO(run(*asked, "--csv")[1])))
    assert [(Path(row["path"]).name, row["rank"], row["error"]) for row in rows] == [
        ("rocket.jpg", "", "")
    ]
    assert "not sure" in on_terminal(asked)


def test_own_language_is_shown_and_can_be_asked_for(
    tmp_path: Path, home: Path, photos: Path
) -> None:
    (tmp_path / "labels" / "imagenet-1k").mkdir(parents=True)
    (tmp_path / "models").symlink_to(home / "models")
    names = {"n07920052": "expresso"}
    (tmp_path / "labels" / "imagenet-1k" / "fr.json").write_text(json.dumps(names))
    mine = {"SIGHTBOX_HOME": str(tmp_path)}
    asked = ("classify", photos / "coffee.png", "-k", "1")
    assert run(*asked, "--lang", "fr", env=mine)[1].split("\t")[2:] == ["expresso\n"]
    (row,) = csv.DictReader(io.StringIO(run(*asked, "--csv", env=mine)[1]))
    labels = {column: name for column, name in row.items() if column.startswith("label_")}
    assert labels == {"label_en": "espresso", "label_fr": "expresso", "label_zh": "浓缩咖啡"}
    (row,) = csv.DictReader(io.StringIO(run(*asked, "--csv", "--lang", "zh", env=mine)[1]))
    assert [column for column in row if column.startswith("label_")] == ["label_zh"]
    assert "en, fr, zh, or both" in run(*asked, "--lang", "de", env=mine)[2]


@pytest.mark.parametrize("columns", ["100", "40", "31", "20"])
def test_names_and_probabilities_are_whole_on_every_terminal(photos: Path, columns: str) -> None:
    shown = on_terminal(["classify", photos / "coffee.png", "-k1"], NO_COLOR="1", COLUMNS=columns)
    assert re.search(r"[0-9]{2}\.[0-9]%", shown)
    assert "espresso" in shown
    assert "浓缩咖啡" in shown
    assert ("━" in shown) == (int(columns) >= 40)
    listed = on_terminal(["models", "list"], NO_COLOR="1", COLUMNS=columns)
    assert "efficientnet-lite0" in listed
    assert "sightbox models fetch resnet50" in " ".join(listed.split())
    told = on_terminal(["info"], NO_COLOR="1", COLUMNS=columns)
    assert os.environ["SIGHTBOX_HOME"] in "".join(told.split())
    assert "…" not in shown + listed + told


def test_stdin_is_a_picture(photos: Path) -> None:
    code, out, _ = run("classify", "-", "-k1", stdin=(photos / "coffee.png").read_bytes())
    assert code == 0
    assert "espresso" in out
    code, _, error = run("classify", "-", stdin=b"")
    assert code == 1
    assert "empty" in error


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Missing argument"),
        (["x.jpg", "--json", "--csv"], "Choose one of --json and --csv"),
        (["x.jpg", "-k", "0"], "top_k"),
        (["x.jpg", "--min-score", "7"], "min_score"),
        (["x.jpg", "--lang", "fr"], "Choose one of en, zh, or both"),
        (["x.jpg", "--model", "nope"], "no model 'nope'"),
        (["x.jpg", "--backend", "nope"], "backend"),
        (["x.jpg", "--nope"], "--nope"),
    ],
)
def test_wrong_use_exits_with_two(arguments: list[str], told: str) -> None:
    code, out, error = run("classify", *arguments)
    assert (code, out) == (2, "")
    assert told in error
    assert "Traceback" not in error


def test_reader_that_goes_away_is_no_trace(album: Path) -> None:
    for form in ("--csv", "--json", "--jsonl"):
        process = subprocess.Popen(
            [*SIGHTBOX, "classify", str(album), "-k", "1000", form],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.close()
        _, error = process.communicate()
        assert process.returncode == 1
        assert error == b""


def test_interrupt_ends_in_order(tmp_path: Path) -> None:
    """Stops the command while it reads a picture: opening a FIFO waits until it does."""
    fifo = tmp_path / "slow.jpg"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [*SIGHTBOX, "classify", str(fifo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with fifo.open("wb"):
        process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in error


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["classify"],
        ["serve"],
        ["setup"],
        ["tune"],
        ["info"],
        ["models"],
        *(["models", name] for name in ("list", "fetch", "import", "export", "remove", "verify")),
    ],
    ids=" ".join,
)
def test_every_command_has_help(command: list[str]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "Usage" in out


def test_version_is_told() -> None:
    assert run("--version")[:2] == (0, "sightbox 0.1.0\n")


def test_info_tells_models_and_paths(home: Path) -> None:
    code, out, _ = run("info", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["home"] == str(home)
    assert found["default model"] == "efficientnet-lite0"
    assert found["packages"]["onnxruntime"]
    lines = run("info")[1].splitlines()
    assert f"home\t{home}" in lines
    assert [line for line in lines if line != line.rstrip()] == []


def test_wrong_environment_stops_every_command() -> None:
    for command in (["info"], ["models", "list"], ["classify", "x.jpg"], ["serve"]):
        code, _, error = run(*command, env={"SIGHTBOX_PROT": "1"})
        assert code == 2
        assert "Did you mean SIGHTBOX_PORT?" in error


def test_models_are_set_up_listed_exported_imported_and_removed(tmp_path: Path) -> None:
    mine = {"SIGHTBOX_HOME": str(tmp_path / "home")}
    code, out, _ = run("setup", "--no-fetch", "--no-tune", env=mine)
    assert code == 0
    assert "efficientnet-lite0 is ready." in out
    listed = json.loads(run("models", "list", "--json", env=mine)[1])
    assert listed["default"] == "efficientnet-lite0"
    assert listed["available"] == ["resnet18", "resnet34", "resnet50"]
    assert "sightbox models fetch resnet18" in run("models", "list", env=mine)[1]
    exported = tmp_path / "model.zip"
    assert run("models", "export", "efficientnet-lite0", exported, env=mine)[0] == 0
    assert run("models", "remove", "efficientnet-lite0", env=mine)[0] == 0
    assert run("models", "import", exported, "--name", "again", env=mine)[0] == 0
    code, out, _ = run("models", "verify", env=mine)
    assert code == 0
    assert "again model.onnx: as it should be" in out
    (tmp_path / "home" / "models" / "again" / "model.onnx").write_bytes(b"")
    code, out, _ = run("models", "verify", "again", env=mine)
    assert code == 1
    assert "was changed" in out
    code, _, error = run("models", "remove", "nope", env=mine)
    assert code != 0
    assert "no model 'nope'" in error


def test_own_weights_with_own_labels_answer(tmp_path: Path, photos: Path) -> None:
    mine = {"SIGHTBOX_HOME": str(tmp_path / "home")}
    torch.manual_seed(1)
    weights = tmp_path / "parts.pth"
    torch.save(torchvision.models.resnet18(weights=None, num_classes=2).state_dict(), weights)
    (tmp_path / "parts.txt").write_text("good\nscratched\n")
    labels = ("--labels", tmp_path / "parts.txt")
    code, out, error = run("models", "import", weights, "--arch", "resnet18", *labels, env=mine)
    assert (code, error) == (0, "")
    assert "parts is ready: resnet18, 2 classes." in out
    code, out, _ = run("classify", photos / "rocket.jpg", "--model", "parts", env=mine)
    assert code == 0
    assert {line.split("\t")[2] for line in out.splitlines()} == {"good", "scratched"}


def test_setup_without_a_network_goes_on_in_one_line(tmp_path: Path) -> None:
    """A proxy that nobody answers at stands for the absent network."""
    closed = "http://127.0.0.1:9"
    offline = {"SIGHTBOX_HOME": str(tmp_path), "HTTPS_PROXY": closed, "https_proxy": closed}
    code, out, error = run("setup", "--no-tune", env=offline)
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "efficientnet-lite0 is ready."
    assert lines[1].startswith("resnet18 could not be fetched, going on without: ")
    assert lines[2:] == ["The default model is efficientnet-lite0."]


def test_tiff_is_classified_when_it_is_allowed(tmp_path: Path, gradient: Image.Image) -> None:
    gradient.save(tmp_path / "a.tif")
    code, _, error = run("classify", tmp_path / "a.tif")
    assert code == 1
    assert "allow_tiff" in error
    assert run("classify", tmp_path, env={"SIGHTBOX_ALLOW_TIFF": "true"})[0] == 0
