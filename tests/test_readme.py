"""Every command and program of the READMEs is run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving import serving
from sightbox.classifier import Classifier

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"

MAKE = {"make serve", "make test"}
"""Run from an empty clone by .ci/run, and not again from within the suite."""


def _blocks(page: Path, language: str) -> list[str]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return pattern.findall(page.read_text("utf-8"))


def _commands(page: Path) -> list[str]:
    return [line for block in _blocks(page, "sh") for line in block.splitlines() if line]


@pytest.fixture
def folder(tmp_path: Path, photos: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the README talks of, and a home of its own."""
    (tmp_path / "photos" / "2026").mkdir(parents=True)
    for name in ("cat.jpg", "dog.jpg", "photos/2026/rocket.jpg"):
        shutil.copy(photos / "chelsea.png", tmp_path / name)
    # To calibrate with: the network takes the cat for a tiger cat, and is sure of the coffee.
    for name, label, count in (
        ("chelsea.png", "tabby", 3),
        ("chelsea.png", "tiger cat", 2),
        ("coffee.png", "espresso", 45),
    ):
        (tmp_path / "labelled" / label).mkdir(parents=True)
        for number in range(count):
            shutil.copy(photos / name, tmp_path / "labelled" / label / f"{number}.png")
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.setenv("SIGHTBOX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# `tune` and `bench` measure: they take a minute each where nothing else runs.
@pytest.mark.timeout(900)
def test_commands_work_as_written_one_after_the_other(folder: Path, classifier: Classifier) -> None:
    with serving(classifier) as url:
        for command in _commands(README):
            if command.startswith("sightbox serve"):
                _check_serve(command)
            elif command not in MAKE:
                _check_command(command.replace("http://127.0.0.1:8018", url), folder)


def _check_command(command: str, folder: Path) -> None:
    done = subprocess.run(  # noqa: S602 - the README's own words
        command.replace("curl ", "curl -fsS "),
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    assert done.stdout, command


def _check_serve(command: str) -> None:
    """Starts it on a free port: the one in the text may be taken."""
    words = [*shlex.split(command), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "http://127.0.0.1:" in process.stdout.readline()
        process.terminate()
        assert process.wait() == 0


def test_python_example_runs(folder: Path) -> None:
    (program,) = _blocks(README, "python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "虎纹猫" in done.stdout
    assert len(done.stdout.splitlines()) == 5


def test_both_readmes_show_the_same_commands_and_programs() -> None:
    for language in ("sh", "python", "json"):
        assert _blocks(README, language) == _blocks(CHINESE, language)


def test_make_targets_of_the_readmes_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {command.split()[1] for command in MAKE} <= targets


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]))
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
