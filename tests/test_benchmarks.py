"""The benchmarks as a person runs them, with the smallest numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from sightbox.catalogue import EMBEDDED

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
CARD = {"processor", "instruction_sets", "cores", "cpu_quota", "system", "packages", "load_average"}
WAITRESS = "Flask on waitress + ONNX Runtime"


def _run(script: str, home: Path, *arguments: str | Path, exit_code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SIGHTBOX_HOME": str(home)},
    )
    assert done.returncode == exit_code, done.stderr + done.stdout
    return done.stdout


def _small(folder: Path, name: str) -> tuple[str | Path, ...]:
    return ("--model", EMBEDDED, "--calibration", "2", "--rounds", "1", "--out", folder / name)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:
    """A folder with the figures of both comparisons."""
    folder = tmp_path_factory.mktemp("results")
    rows = ("--only", "dummy", "--only", "onnxruntime fp32", "--threads", "1")
    _run("engines.py", home, *_small(folder, "engines.json"), "--batches", "1", "2", *rows)
    loads = ("--clients", "1", "2", "--seconds", "0", "--count", "2", "--images-for-growth", "4")
    contestants = ("--sightbox", "", "--sightbox", "backend=dummy")
    # The dummy backend under the exact variant's name answers with classes of its own.
    shown = _run(
        "service.py",
        home,
        *_small(folder, "service.json"),
        *loads,
        *contestants,
        "--only",
        WAITRESS,
        exit_code=1,
    )
    assert "Other classes than the reference: Sightbox backend=dummy\n" in shown
    small = ("--clients", "2", "--seconds", "0.3", "--count", "2")
    assert "the machine's limit" in _run(
        "threads.py", home, *_small(folder, "threads.json"), *small
    )
    return folder


def _read(results: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results / name).read_text("utf-8"))
    return found


@pytest.mark.parametrize("name", ["engines.json", "service.json"])
def test_figures_carry_the_card_of_the_machine(results: Path, name: str) -> None:
    card = _read(results, name)["machine"]
    assert set(card) >= CARD
    assert card["cores"] >= 1
    assert {"sightbox", "onnxruntime"} <= set(card["packages"])


def test_engines_are_compared_with_the_first_of_them(results: Path) -> None:
    found = _read(results, "engines.json")
    rows = {(row["name"], row["threads"], row["batch"]): row for row in found["rows"]}
    assert found["base"] == "onnxruntime fp32"
    assert found["same_first_class"]["onnxruntime fp32"] == 1
    for (name, threads, batch), row in rows.items():
        base = rows["onnxruntime fp32", threads, batch]
        expected = row["images_per_second"] / base["images_per_second"]
        assert row["ratio"] == pytest.approx(expected, rel=0.02, abs=0.01), name


def test_servers_answer_as_the_reference_and_are_set_in_ratio(results: Path) -> None:
    servers = {server["name"]: server for server in _read(results, "service.json")["servers"]}
    exact, dummy = servers["Sightbox"], servers["Sightbox backend=dummy"]
    assert exact["agreement"] == servers[WAITRESS]["agreement"] == 1
    assert dummy["agreement"] < 1
    for server in servers.values():
        assert [load["errors"] for load in server["loads"]] == [0, 0]
        assert server["memory_mib"]["pss"] > 0
    ours, rival = exact["loads"][1], servers[WAITRESS]["loads"][1]
    expected = ours["images_per_second"] / rival["images_per_second"]
    assert ours["to_best_rival"] == pytest.approx(expected, rel=0.02)
    assert rival["of_limit"] is None
    limit = exact["limit"]
    assert ours["of_limit"] == pytest.approx(
        ours["images_per_second"] / max(limit["formula"], limit["measured"]), rel=0.02
    )
    assert exact["stages_ms"]["latency"] > exact["stages_ms"]["infer"] > 0
    assert exact["growth"]["images"] == 4


def test_report_writes_the_figures_between_the_markers(
    results: Path, home: Path, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "performance.md").read_text("utf-8")
    (tmp_path / "performance.md").write_text(page.replace("# Performance", "# Kept"), "utf-8")
    _run("report.py", home, "--results", results, "--docs", tmp_path)
    written = (tmp_path / "performance.md").read_text("utf-8")
    assert written.startswith("# Kept")
    assert written.count("<!-- generated: ") == page.count("<!-- generated: ") == 8
    engine = _read(results, "engines.json")["rows"][0]
    assert f"| onnxruntime fp32 | {engine['images_per_second']:.1f} (1.00)" in written
    ET.parse(tmp_path / "request.svg")  # noqa: S314 - our own file


def test_overload_is_answered_or_refused(home: Path, tmp_path: Path) -> None:
    loads = ("--seconds", "1", "--measuring", "0.2", "--count", "2", "--factor", "4")
    shown = _run("overload.py", home, *_small(tmp_path, "overload.json"), *loads)
    assert "4 times its capacity for 1 s" in shown
    found = _read(tmp_path, "overload.json")["rounds"][0]
    assert found["capacity"] > 0
    assert found["other"] == found["livez_failed"] == 0
    assert found["asked"] > found["goodput"] > 0
    assert found["goodput_ratio"] == pytest.approx(found["goodput"] / found["capacity"], rel=0.02)


def test_time_of_all_threads_adds_up(results: Path) -> None:
    found = _read(results, "threads.json")
    *parts, everything = found["ms"].values()
    assert sum(parts) == pytest.approx(everything, abs=0.01)
    assert found["ms"]["request threads: decode, resize, Flask, answer"] > 0
    assert 0 < found["limit_ms"] < everything
