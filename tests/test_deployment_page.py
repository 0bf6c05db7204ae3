"""docs/deployment.md: what can run here is run, and what it names is there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import SIGHTBOX
from serving import serving
from sightbox.classifier import Classifier

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "deployment.md").read_text("utf-8")
TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone


def _commands(language: str) -> list[str]:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture
def environment_of_the_page(tmp_path: Path, photos: Path) -> dict[str, str]:
    """A home with a token, and the programs of this environment."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o600)
    shutil.copy(photos / "chelsea.png", tmp_path / "cat.jpg")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"SIGHTBOX_HOME": str(tmp_path), "PATH": path}


@pytest.mark.parametrize("command", _commands("sh"))
def test_command_works_as_written(
    dummy: Classifier, tmp_path: Path, environment_of_the_page: dict[str, str], command: str
) -> None:
    program = command.split(maxsplit=1)[0]
    if not shutil.which(program, path=environment_of_the_page["PATH"]):
        pytest.skip(f"this system has no {program}")
    if command.startswith("sightbox serve"):
        _check_serve(command, environment_of_the_page)
        return
    with serving(dummy, token=TOKEN) as url:
        done = subprocess.run(  # noqa: S602 - the page's own words
            command.replace("curl ", "curl -fsS ").replace("http://127.0.0.1:8018", url),
            shell=True,
            cwd=tmp_path,
            env=environment_of_the_page,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def _check_serve(command: str, environment: dict[str, str]) -> None:
    """Starts it on a free port: the one in the text may be taken."""
    with subprocess.Popen(
        [*command.split(), "--port", "0", "--backend", "dummy"],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert "http://0.0.0.0:" in process.stdout.readline()
            process.terminate()
            assert process.wait() == 0
        finally:
            process.kill()


def test_commands_for_others_name_files_and_commands_that_exist() -> None:
    commands = _commands("console")
    assert len(commands) > 20
    files = set(re.findall(r"\bdeploy/[a-zA-Z]\w*\.?\w*", PAGE))
    assert len(files) >= 5
    assert not [name for name in files if not (ROOT / name).is_file()]
    targets = re.findall(r"`make (\w+)`", PAGE)
    assert targets
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}: " in makefile for target in targets)
    for command in {
        found
        for line in commands
        for found in re.findall(r"(?:bin/|sightbox )sightbox (\w+)$", line)
    }:
        done = subprocess.run([*SIGHTBOX, command, "--help"], capture_output=True, check=False)
        assert done.returncode == 0, command


def test_container_of_the_page_is_as_closed_as_that_of_compose() -> None:
    (run,) = [line for line in _commands("console") if line.startswith("docker run")]
    for option in ("--read-only", "--cap-drop ALL", "no-new-privileges", "--memory 2g"):
        assert option in run
    assert "--publish 127.0.0.1:8018:8018" in run
