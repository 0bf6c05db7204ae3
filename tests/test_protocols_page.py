"""Every command of docs/protocols.md is run as it is written."""

import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from commandline import SIGHTBOX
from serving import serving
from sightbox.classifier import Classifier

PAGE = Path(__file__).parents[1] / "docs" / "protocols.md"


def _blocks(language: str) -> list[str]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return pattern.findall(PAGE.read_text("utf-8"))


def _commands() -> list[str]:
    return [line for block in _blocks("sh") for line in block.splitlines()]


def test_commands_of_the_page_work_as_written(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "cat.jpg").write_bytes((photos / "chelsea.png").read_bytes())
    answers = {}
    with serving(classifier) as url:
        for command in _commands():
            if command.startswith("sightbox "):
                continue
            done = subprocess.run(  # noqa: S602 - the page's own words
                command.replace("http://127.0.0.1:8018", url).replace("curl ", "curl -fsS "),
                shell=True,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, ""), command
            answers[command] = done.stdout
    for command, answer in answers.items():
        writes_a_file = " > " in command or " -o " in command
        assert (answer == "") == writes_a_file, command
        assert writes_a_file or json.loads(answer), command
    assert (tmp_path / "answer.bin").read_bytes().startswith(b'{"model_name":')
    in_chinese = [answer for answer in answers.values() if "虎斑猫" in answer]
    assert len(in_chinese) == sum(
        "lang=zh" in command or "@request.json" in command for command in answers
    )


def test_answers_on_the_page_are_json() -> None:
    for block in _blocks("json"):
        assert json.loads(block)


def test_program_asks_the_command_over_grpc(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes((photos / "chelsea.png").read_bytes())
    (command,) = (line for line in _commands() if line.startswith("sightbox "))
    (program,) = _blocks("python")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    _, *words = shlex.split(command.replace("8001", port))
    with subprocess.Popen(
        [*SIGHTBOX, *words, "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "gRPC on" not in (line := process.stdout.readline()):
            assert line
        done = subprocess.run(
            [sys.executable, "-c", program.replace("8001", port)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        process.terminate()
        assert process.wait(60) == 0
    assert (done.returncode, done.stderr) == (0, "")
    assert "tabby" in done.stdout
