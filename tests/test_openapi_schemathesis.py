"""The running server against its own description, by schemathesis: all of its checks."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Response, jsonify

from serving import running, serving
from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web import native
from sightbox.web.app import create_app
from sightbox.web.operations import describe

TESTS = Path(__file__).parent
CONFIGURATION = TESTS / "schemathesis.toml"
TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone


def examine(url: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs schemathesis as its users do, in a folder for what it leaves behind."""
    command = [sys.executable, "-m", "schemathesis.cli", f"--config-file={CONFIGURATION}", "run"]
    paths = filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])
    return subprocess.run(
        [*command, f"{url}/openapi.json", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_server_keeps_to_its_description(
    classifier: Classifier, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The real network: the dummy backend has no maps to explain an answer with.
    with serving(classifier) as url, caplog.at_level(logging.ERROR):
        done = examine(url, tmp_path)
    assert (done.returncode, "No issues found" in done.stdout) == (0, True), done.stdout
    # 5xx that the description allows, such as those of a broken engine, did not happen either.
    assert caplog.text == ""


def test_token_is_wanted_where_the_description_says(dummy: Classifier, tmp_path: Path) -> None:
    with serving(dummy, token=TOKEN) as url:
        options = ("--phases=examples,fuzzing", "--max-examples=2", "--include-path-regex=v1|z$")
        done = examine(url, tmp_path, f"--header=Authorization: Bearer {TOKEN}", *options)
    assert (done.returncode, "No issues found" in done.stdout) == (0, True), done.stdout


def test_answer_that_breaks_its_description_is_found(dummy: Classifier, tmp_path: Path) -> None:
    @describe(native.ALIVE)
    def lie() -> Response:
        return jsonify(status="asleep")

    settings = load_settings(port=0)
    app = create_app(dummy, settings)
    app.view_functions["api.livez"] = lie
    with running(app, settings) as server:
        done = examine(server.url, tmp_path, "--include-path=/livez")
    assert done.returncode == 1
    assert "asleep" in done.stdout
