"""LoadGen's scenarios over a classifier; the parts that need no LoadGen run without it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from commandline import SIGHTBOX, run
from sightbox.accuracy import TOP
from sightbox.benchmark.workload import mountain_files
from sightbox.classifier import Classifier
from sightbox.cli.pictures import PICTURE_SUFFIXES
from sightbox.errors import BackendError
from sightbox.evaluation import evaluate
from sightbox.labelled import Labelled, walk
from sightbox.loadgen.report import scenario_to_json, server_to_json
from sightbox.loadgen.running import run_accuracy, run_scenarios
from sightbox.loadgen.scenarios import SAMPLES, Outcome, Task, run_task
from sightbox.loadgen.search import PRECISION, capacity, highest_rate, offline
from sightbox.loadgen.system import Said

needs_loadgen = pytest.mark.skipif(
    find_spec("mlperf_loadgen") is None, reason="LoadGen is not installed"
)

WITHOUT = """
import sys
sys.modules["mlperf_loadgen"] = None
sys.argv = ["sightbox", "bench", "loadgen", "SingleStream"]
from sightbox.cli.main import run
run()
"""

SHORT = Task("SingleStream", seconds=0.2, queries=10)


def said(number: int) -> Said:
    return np.array([number, *range(1, TOP), 0.5], np.float64)


def outcome(task: Task, holds: float) -> Outcome:
    """What LoadGen would say of a system that holds a rate, and answers it as fast."""
    p99 = 1e6 * (10 if task.rate <= holds else 1000)
    figures = {
        **{f"result_{part}_percentile_latency_ns": p99 for part in ("50.00", "90.00", "95.00")},
        **{f"result_{part}_percentile_latency_ns": p99 for part in ("99.00", "99.90")},
        "result_completed_samples_per_sec": min(task.rate, holds),
        "result_samples_per_second": holds,
        "result_query_count": 662,
    }
    valid = task.rate <= holds if task.scenario == "Server" else task.rate >= holds
    return Outcome(valid, "" if valid else "too slow", figures, {})


@pytest.mark.parametrize("holds", [37.0, 61.5, 99.0])
def test_search_finds_the_highest_rate_that_holds(holds: float) -> None:
    task = Task("Server", target_ms=50)
    found = highest_rate(lambda one: outcome(one, holds), task, most=100)
    assert found.rate is not None
    assert holds * (1 - 2 * PRECISION) <= found.rate <= holds
    assert len(found.trials) <= 6
    told = server_to_json(task, found)
    assert told["valid"]
    assert told["value"] == pytest.approx(found.rate, abs=1e-3)
    assert told["target_ms"] == 50
    assert {trial["valid"] for trial in told["trials"]} == {True, False} or holds == 99


def test_search_ends_where_no_rate_holds_and_says_so() -> None:
    task = Task("Server")
    found = highest_rate(lambda one: outcome(one, 0.0), task, most=100)
    assert found.rate is None
    assert [trial.rate for trial in found.trials] == [50, 25, 12.5]
    told = server_to_json(task, found)
    assert (told["valid"], told["value"]) == (False, None)
    assert told["reason"] == "No rate above a tenth of the capacity holds. too slow"


def test_offline_is_run_anew_when_more_is_answered_than_was_expected() -> None:
    tried: list[float] = []

    def one(task: Task) -> Outcome:
        tried.append(task.rate)
        return outcome(task, 80.0)

    assert offline(one, Task("Offline", rate=20)).valid
    assert tried == [20, 80]


def test_capacity_counts_all_threads() -> None:
    ticks = count()
    rate = capacity(said, 3, 2, 20, clock=lambda: float(next(ticks)))
    assert 0 < rate <= 1


def test_answers_are_told_in_the_figure_of_their_scenario() -> None:
    told = scenario_to_json(Task("Offline"), outcome(Task("Offline", rate=90), 80.0))
    assert (told["metric"], told["value"], told["valid"]) == ("pictures/s", 80.0, True)
    told = scenario_to_json(Task("SingleStream"), outcome(Task("SingleStream", rate=90), 80.0))
    assert (told["metric"], told["value"]) == ("p90 latency, ms", 1000.0)


def test_absent_library_says_which_extra_brings_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "LoadGen is not installed. Install it: pip install 'sightbox[bench]'" in done.stderr


@needs_loadgen
@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server", "Offline"])
def test_loadgen_asks_as_the_scenario_says_and_gets_all_answers(
    scenario: str, tmp_path: Path
) -> None:
    asked: list[int] = []

    def answer(number: int) -> Said:
        asked.append(number)
        return said(number)

    task = replace(SHORT, scenario=scenario, rate=100.0)
    found = run_task(task, answer, 4, 2, tmp_path)
    assert set(asked) == set(range(4))
    queries = found.figures["result_query_count"]
    wanted = {"MultiStream": SAMPLES * queries, "Offline": len(asked)}
    assert len(asked) == wanted.get(scenario, queries)
    assert found.valid or found.reason


@needs_loadgen
def test_too_few_queries_are_invalid_and_the_reason_is_told(tmp_path: Path) -> None:
    found = run_task(replace(SHORT, scenario="MultiStream", seconds=0.01), said, 4, 2, tmp_path)
    if found.figures["result_query_count"] < 662:
        assert not found.valid
        assert "Need to process at least 662 queries" in found.reason


@needs_loadgen
def test_failure_while_answering_ends_the_run_and_is_raised(tmp_path: Path) -> None:
    def fail(_: int) -> Said:
        raise ValueError("out of order")

    with pytest.raises(BackendError, match="out of order"):
        run_task(SHORT, fail, 4, 2, tmp_path)


@needs_loadgen
def test_rate_is_searched_by_loadgens_own_verdict(tmp_path: Path) -> None:
    """With a latency that nobody exceeds, every rate up to the given capacity holds."""
    one = partial(run_task, answer=said, pictures=4, threads=2, folder=tmp_path)
    task = Task("Server", seconds=0.05, target_ms=20_000)
    found = highest_rate(one, task, most=2000)
    assert [trial.valid for trial in found.trials] == [True] * 5
    assert found.rate == 2000 * (1 - 0.5**5)
    assert server_to_json(task, found)["queries"] >= 662


@needs_loadgen
def test_scenarios_run_over_a_classifier(dummy: Classifier, tmp_path: Path) -> None:
    steps: list[str] = []
    tasks = [replace(SHORT, scenario=name) for name in ("SingleStream", "Offline")]
    pictures = list(mountain_files(3, 64))
    found = list(run_scenarios(dummy, pictures, tasks, 2, tmp_path, steps.append))
    assert [each["scenario"] for each in found] == ["SingleStream", "Offline"]
    assert steps == ["SingleStream", "capacity", "Offline"]
    assert all(each["value"] > 0 for each in found)


@pytest.fixture
def labelled(tmp_path: Path, photos: Path) -> Path:
    folder = tmp_path / "labelled"
    for name, photo in (
        ("tabby", "chelsea.png"),
        ("espresso", "coffee.png"),
        ("what", "rocket.jpg"),
    ):
        (folder / name).mkdir(parents=True)
        shutil.copy(photos / photo, folder / name / photo)
    (folder / "tabby" / "broken.jpg").write_bytes(b"nothing")
    return folder


@needs_loadgen
def test_accuracy_is_what_eval_finds(
    classifier: Classifier, labelled: Path, tmp_path: Path
) -> None:
    pictures: Callable[[], list[Labelled]] = lambda: list(  # noqa: E731
        walk(labelled, classifier.labels, PICTURE_SUFFIXES)
    )
    found = run_accuracy(classifier, pictures(), 2, tmp_path)
    wanted = evaluate(pictures(), [classifier])
    assert found.tallies == wanted.tallies
    assert found.tallies[0].pictures == 2
    assert (found.unreadable, found.unknown) == (wanted.unreadable, wanted.unknown) == (1, 1)
    assert found.errors == wanted.errors


@needs_loadgen
def test_command_reports_a_scenario_and_accuracy(labelled: Path, tmp_path: Path) -> None:
    kept = tmp_path / "scenario.json"
    words = ("singlestream", "-d", "0.2", "--queries", "70", "--backend", "dummy", "--json", kept)
    code, out, error = run("bench", "loadgen", *words)
    assert (code, error) == (0, "")
    assert "no MLPerf scores" in out
    assert "not verified by MLCommons Association" in out
    report = json.loads(kept.read_text())
    assert (report["kind"], report["format"]) == ("sightbox LoadGen scenarios", 1)
    assert report["scenarios"][0]["queries"] >= 70
    assert report["model"]["backend"] == "dummy"
    code, out, _ = run("bench", "loadgen", "--accuracy", labelled, "--json", kept)
    assert code == 1
    assert "not read" in out
    result = json.loads(kept.read_text())["accuracy"]["results"][0]
    assert result["pictures"] == 2
    assert result["top1"]["hits"] >= 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("EdgeStream",), "There are SingleStream, MultiStream, Server, Offline"),
        (("Server", "--accuracy", "x"), "give no scenario"),
        (("--accuracy", "x", "--queries", "3"), "--queries: not for --accuracy"),
        (("Server", "--images", "nowhere"), "There is no folder nowhere"),
    ],
)
@needs_loadgen
def test_wrong_use_is_told(arguments: tuple[str, ...], reason: str) -> None:
    code, _, error = run("bench", "loadgen", *arguments)
    assert code == 2
    assert reason in error


@needs_loadgen
def test_interrupt_ends_at_once_and_leaves_no_logs(tmp_path: Path) -> None:
    """LoadGen itself cannot be told to end."""
    words = [*SIGHTBOX, "bench", "loadgen", "SingleStream", "-d", "600", "--backend", "dummy"]
    environment = {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, env=os.environ | environment) as process:
        while not list(tmp_path.glob("sightbox-loadgen-*/mlperf_log_detail.txt")):
            threading.Event().wait(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert not list(tmp_path.glob("sightbox-loadgen-*"))
