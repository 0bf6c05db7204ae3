"""``sightbox verify`` as a process: the report, its exit code, and what it finds."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commandline import run
from installing import copy_package
from sightbox.classifier import Classifier
from sightbox.cli import verify
from sightbox.cli.calls import calls
from sightbox.residents import Residents
from sightbox.settings import load_settings
from sightbox.web.app import create_app

ISOLATED = [sys.executable, "-W", "error", "-m", "sightbox.cli.isolated"]

DIALECTS = {"Open Inference Protocol", "TorchServe", "Hugging Face", "PhotoPrism"}


def _isolated(**environment: str) -> dict[str, dict[str, Any]]:
    """Runs the surface on the dummy backend, and returns its findings by name."""
    done = subprocess.run(
        ISOLATED,
        capture_output=True,
        check=True,
        env=os.environ | {"SIGHTBOX_BACKEND": "dummy"} | environment,
    )
    lines = map(json.loads, done.stdout.splitlines())
    return {line["name"]: line for line in lines}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copied installation."""
    return copy_package(tmp_path / "site")


def test_sound_installation_passes_and_the_report_says_what_was_done() -> None:
    code, output, error = run("verify", "--json")
    report = json.loads(output)
    assert (code, error, report["passed"]) == (0, "", True)
    assert (report["schema"], report["date"][-6:]) == ("sightbox-verify-1", "+00:00")
    assert report["machine"]["usable cores"] >= 1
    found = {finding["name"]: finding for finding in report["findings"]}
    assert {finding["part"] for finding in report["findings"]} == {
        "models",
        "package",
        "answers",
        "surface",
    }
    assert found["efficientnet-lite0 fp32 on onnxruntime"]["difference"] < 1e-4
    assert {"page", "/v1/classify", "gRPC", "sightbox classify", *DIALECTS} <= set(found)


def test_wrong_label_line_of_an_installation_is_named(copied: Path) -> None:
    path = copied / "data/labels/imagenet-1k/en.json"
    path.write_text(path.read_text("utf-8").replace('"tabby"', '"tabbi"'), "utf-8")
    code, output, _ = run("verify", env={"PYTHONPATH": str(copied.parent)})
    assert code == 1
    assert 'en.json\t\twas changed: line 283 is "n02123045": "tabbi"' in output
    assert output.splitlines()[-1].startswith("1 of ")


def test_surface_answers_where_connections_are_denied() -> None:
    found = _isolated()
    assert [finding for finding in found.values() if finding["problem"]] == []
    assert found["denied in the process"]["note"] == "an audit hook"
    assert found["denied by the system"]["note"]
    assert found["connections tried"]["note"] == "none but here"


@pytest.mark.parametrize(
    ("call", "tried"),
    [
        ('socket(type=2).sendto(b"x", ("192.0.2.1", 9))', "socket.sendto ('192.0.2.1', 9)"),
        ('getaddrinfo("example.com", 80)', "socket.getaddrinfo 'example.com'"),
    ],
)
def test_installation_that_calls_somebody_is_found(call: str, tried: str, copied: Path) -> None:
    page = copied / "web/pages.py"
    scripts = "    scripts = ["
    text = page.read_text("utf-8")
    assert scripts in text
    text = text.replace(scripts, f"    __import__('socket').{call}\n{scripts}")
    page.write_text(text, "utf-8")
    found = _isolated(PYTHONPATH=str(copied.parent))
    assert "answered 500" in found["page"]["problem"]
    assert tried in found["connections tried"]["problem"]


def test_dialect_that_names_another_class_is_found(copied: Path) -> None:
    dialect = copied / "web/dialects/torchserve.py"
    text = dialect.read_text("utf-8")
    dialect.write_text(text.replace("names[found.index]", "names[found.index - 1]"), "utf-8")
    assert dialect.read_text("utf-8") != text
    found = _isolated(PYTHONPATH=str(copied.parent))
    assert [name for name, finding in found.items() if finding["problem"]] == ["TorchServe"]
    assert "does not name" in found["TorchServe"]["problem"]


def test_token_of_the_settings_stands_in_nobodys_way() -> None:
    word = "0123456789abcdef"
    found = _isolated(SIGHTBOX_TOKEN=word, SIGHTBOX_HOST="0.0.0.0")
    assert [finding for finding in found.values() if finding["problem"]] == []


def test_every_blueprint_is_asked(dummy: Classifier) -> None:
    """A new dialect needs a call of its own in `sightbox.cli.calls`."""
    settings = load_settings()
    with Residents(dummy, settings) as residents:
        app = create_app(dummy, settings, residents)
    routes = app.url_map.bind("127.0.0.1")
    asked = set()
    for call in calls(dummy.card.name, b"", 0, ""):
        method = "GET" if call.body is None else "POST"
        endpoint, _ = routes.match(call.path.partition("?")[0], method)
        asked.add(endpoint.rpartition(".")[0])
    assert set(app.blueprints) <= asked


def test_process_that_dies_is_a_problem(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copied / "cli/surface.py").write_text("raise SystemExit('broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(copied.parent))
    (finding,) = verify._isolated()
    assert (finding.part, finding.problem) == ("surface", "ended with 1: broken")
