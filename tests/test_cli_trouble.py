"""The command line when the world is not in order: streams, names, folders, homes."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import SIGHTBOX, on_terminal, run
from sightbox.cli import pictures, setup
from sightbox.cli.pictures import PICTURE_SUFFIXES, Item, find_items
from sightbox.cli.screen import console
from sightbox.errors import (
    CheckpointError,
    DownloadError,
    ImageError,
    ModelError,
    RequestError,
    SightboxError,
)
from sightbox.store import Store


def find(*arguments: str | Path, recursive: bool = False) -> list[Item]:
    return find_items(
        [str(argument) for argument in arguments], recursive=recursive, suffixes=PICTURE_SUFFIXES
    )


def in_shell(line: str, *arguments: str | Path) -> tuple[int, str, str]:
    """Runs ``sightbox`` as ``"$@"`` of a line of shell: for streams that Python cannot give."""
    done = subprocess.run(
        ["sh", "-c", line, "sh", *SIGHTBOX, *arguments],
        capture_output=True,
        text=True,
        check=False,
        # Without a buffer every print would fail in its place, and the last flush never.
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def photo(tmp_path: Path, photos: Path) -> Path:
    return Path(shutil.copy(photos / "rocket.jpg", tmp_path / "rocket.jpg"))


def test_name_that_the_system_refuses_fails_alone(photo: Path) -> None:
    code, out, error = run("classify", "x" * 300, photo, "-k1")
    assert code == 1
    assert out.startswith(f"{photo}\t")
    assert error.endswith("xx: The file cannot be read: File name too long.\n")
    assert error.count("\n") == 1


def test_folder_that_cannot_be_read_is_an_item_of_its_own(tmp_path: Path, photo: Path) -> None:
    """Stands for forbidden folders, which do not exist for root: a path of over 4096 bytes."""
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(21):
        os.mkdir("d" * 200, dir_fd=folder)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(folder)
    refused, good = find(tmp_path, recursive=True)
    assert good == Item(str(photo), photo)
    assert isinstance(refused.picture, ImageError)
    assert str(refused.picture) == "The folder cannot be read: File name too long."
    assert refused.name.endswith("/" + "d" * 200)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_folder_is_an_item_of_its_own(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    for arguments in ((tmp_path / "closed", photo), (tmp_path,)):
        refused, good = find(*arguments, recursive=True)
        assert str(refused.picture) == "The folder cannot be read: Permission denied."
        assert good.picture == photo


def test_links_in_a_circle_give_each_file_once(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "a circle").symlink_to(tmp_path)
    expected = [Item(str(photo), photo)]
    assert find(tmp_path, recursive=True) == expected
    assert find(tmp_path / "**" / "*.jpg") == expected


def test_dangling_link_in_a_folder_is_told(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "nowhere")
    code, _, error = run("classify", tmp_path)
    assert code == 1
    assert "lost.jpg: The file cannot be read: No such file or directory." in error


def test_argument_that_names_nothing_is_told_beside_the_others(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "empty").mkdir()
    missing = ("p*.jpg", "photo[1].jpg", "empty")
    paths = [tmp_path / name for name in missing]
    code, out, error = run("classify", photo, *paths, "-k1")
    assert code == 1
    assert out.count("\n") == 1
    no_match = "There is no such file, and none that fits the pattern."
    no_picture = "There are no pictures in this folder. Folders of folders are looked into with -r."
    assert error.splitlines() == [
        f"sightbox: {path}: {told}"
        for path, told in zip(paths, (no_match, no_match, no_picture), strict=True)
    ]
    code, out, _ = run("classify", photo, tmp_path / "empty", "--json", "-r")
    assert code == 1
    assert json.loads(out)["results"][1]["error"]["detail"].startswith("There are no pictures")


def test_folders_that_fit_a_pattern_are_left_out(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert find(tmp_path / "*o[lc]*") == [Item(str(photo), photo)]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_the_output_cannot_say_are_spelled_out(
    tmp_path: Path, photos: Path, encoding: str
) -> None:
    name = os.fsdecode("é".encode() + b"\xff.jpg")
    shown = name.encode(encoding, "backslashreplace").decode()
    shutil.copy(photos / "rocket.jpg", tmp_path / name)
    spoken = {"PYTHONIOENCODING": f"{encoding}:strict"}
    code, out, error = run("classify", tmp_path, f"{name}.gone", "-k1", env=spoken)
    assert code == 1
    assert f"{shown}\t" in out
    assert error.startswith(f"sightbox: {shown}.gone: The file cannot be read")
    assert f"{shown}," in run("classify", tmp_path, "-k1", "--csv", env=spoken)[1]
    code, out, _ = run("classify", tmp_path, "--jsonl", "-k1", env=spoken)
    assert json.loads(out)["path"] == str(tmp_path / name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "arguments", [["classify"], ["classify", "--json"], ["info"], ["--help"]], ids=" ".join
)
def test_full_disk_is_one_line(photo: Path, arguments: list[str]) -> None:
    pictures = [photo] if arguments[0] == "classify" else []
    code, _, error = in_shell('exec "$@" > /dev/full', *arguments, *pictures)
    assert code == 1
    assert error == "sightbox: Reading or writing failed: No space left on device.\n"
    assert in_shell('exec "$@" > /dev/full 2> /dev/full', *arguments, *pictures)[0] == 1


def test_closed_streams_are_no_trace(photo: Path) -> None:
    code, out, error = in_shell('exec "$@" <&-', "classify", "-")
    assert (code, out) == (1, "")
    assert error.startswith("sightbox: -: Standard input is closed.")
    assert error.count("\n") == 1
    assert in_shell('exec "$@" >&-', "classify", photo, "--csv") == (0, "", "")
    code, out, _ = in_shell('exec "$@" 2>&-', "classify", photo, "nope.jpg", "-k1")
    assert code == 1
    assert out.count("\n") == 1


def test_stdin_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 10)
    for length, read in ((10, 10), (11, 11), (30, 11)):
        stream = io.BytesIO(b"x" * length)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        (item,) = find("-")
        assert stream.tell() == read
        assert isinstance(item.picture, ImageError) == (length > 10)
        if isinstance(item.picture, ImageError):
            assert str(item.picture).startswith("Standard input has more than 10 bytes.")


def test_stdin_can_be_named_once() -> None:
    with pytest.raises(RequestError, match="can be read once"):
        find("-", "x.jpg", "-")


def test_file_named_like_stdin_is_a_file() -> None:
    assert find("./-") == [Item("-", Path("-"))]


def test_brackets_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console().print("http://[fd00::5]:8018 [bold]x[/b]")
    assert capsys.readouterr().out == "http://[fd00::5]:8018 [bold]x[/b]\n"
    odd = {"SIGHTBOX_HOME": str(tmp_path / "h[/b]")}
    assert run("info", env=odd)[0] == 0
    assert "h[/b]" in on_terminal(["info"], **odd)
    assert "[bold]x.jpg" in on_terminal(["classify", tmp_path / "[bold]x.jpg"], COLUMNS="400")
    exported = on_terminal(["models", "export", "efficientnet-lite0", tmp_path / "[b]x.zip"])
    assert f"{tmp_path}/[b]x.zip." in exported
    refused = on_terminal(["models", "fetch", "{x[/b]}"])
    assert "'{x[/b]}'" in refused
    assert "Traceback" not in refused


LOADING = """
import signal
print("loading", flush=True)
try:
    signal.pause()
except KeyboardInterrupt as interrupt:
    raise ImportError("what pybind11 makes of it") from interrupt
"""


@pytest.mark.parametrize("library", ["typer", "numpy", "onnxruntime"])
def test_interrupt_while_libraries_load_ends_without_a_word(
    tmp_path: Path, photo: Path, library: str
) -> None:
    """Puts a library in front of the real one that is still loading when Ctrl-C comes."""
    (tmp_path / f"{library}.py").write_text(LOADING)
    process = subprocess.Popen(
        [*SIGHTBOX, "classify", photo],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"loading\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate() == (b"", b"")
    assert process.returncode == 130


def test_damaged_card_is_listed_as_such(tmp_path: Path, home: Path) -> None:
    shutil.copytree(home / "models", tmp_path / "models")
    (tmp_path / "models" / "broken").mkdir()
    (tmp_path / "models" / "broken" / "model.json").write_text("{")
    mine = {"SIGHTBOX_HOME": str(tmp_path)}
    code, out, _ = run("models", "list", "--json", env=mine)
    assert code == 0
    broken, sound = json.loads(out)["models"]
    assert sorted(broken) == ["name", "problem"]
    assert broken["name"] == "broken"
    assert sound["name"] == "efficientnet-lite0"
    code, out, _ = run("models", "list", env=mine)
    assert code == 0
    assert f"broken\t\t\t\tdamaged: {broken['problem']}" in out.splitlines()
    assert "damaged" in on_terminal(["models", "list"], **mine)


def test_setup_that_could_write_nothing_fails_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, out, error = run("setup", env={"SIGHTBOX_HOME": str(tmp_path / "file" / "home")})
    assert (code, out) == (1, "")
    assert error.count("\n") == 1
    assert "kept in memory" in error
    assert "SIGHTBOX_HOME" in error


@pytest.mark.parametrize("kind", [DownloadError, CheckpointError, ModelError])
def test_setup_goes_on_when_what_was_fetched_is_no_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: type[SightboxError]
) -> None:
    def fetch(*_: object) -> None:
        raise kind("The weights are of no use.")

    monkeypatch.setattr(Store, "fetch", fetch)
    assert setup.run(fetch=True, tune=False) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "resnet18 could not be fetched, going on without: The weights are of no use.",
        "The default model is efficientnet-lite0.",
    ]
