"""Every command of docs/protocols.md is run as it is written."""

import json
import re
import subprocess
from pathlib import Path

from serving import serving
from sightbox.classifier import Classifier

PAGE = Path(__file__).parents[1] / "docs" / "protocols.md"


def _blocks(language: str) -> list[str]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return pattern.findall(PAGE.read_text("utf-8"))


def test_commands_of_the_page_work_as_written(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "cat.jpg").write_bytes((photos / "chelsea.png").read_bytes())
    answers = {}
    with serving(classifier) as url:
        for command in [line for block in _blocks("sh") for line in block.splitlines()]:
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
