"""One run of LoadGen: its settings, and what its logs say."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightbox.errors import BackendError
from sightbox.loadgen.library import load_library
from sightbox.loadgen.system import Said, System

SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")

QUERIES = {"SingleStream": 64, "MultiStream": 662, "Server": 662, "Offline": 1}
"""Least queries for LoadGen to call a run valid: with fewer it cannot be sure of the percentile,
even if none takes too long (MLPerf inference rules, "early stopping")."""

SAMPLES = 8
"""Pictures in a query of MultiStream, LoadGen's own number."""

PREFIX = ":::MLLOG "
"""What stands before each line of the detailed log."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What LoadGen is to do.

    Attributes:
        scenario: One of `SCENARIOS`.
        seconds: Least duration.
        queries: Least number of queries; enough for a valid result when None.
        rate: Pictures a second: of Server what is asked, of Offline what is expected.
        target_ms: Latency that the 99th percentile of Server must hold.
        accuracy: Whether each picture is asked once and its answer kept, instead of measuring.
    """

    scenario: str
    seconds: float = 10.0
    queries: int | None = None
    rate: float = 1.0
    target_ms: float = 100.0
    accuracy: bool = False


@dataclass(frozen=True)
class Outcome:
    """What LoadGen says.

    Attributes:
        valid: Whether it calls the run valid.
        reason: Why not; empty where it does.
        figures: Its detailed log: the last value of each key.
        said: With `Task.accuracy`, the answer to each picture by number; empty where it failed.
    """

    valid: bool
    reason: str
    figures: Mapping[str, Any]
    said: Mapping[int, Said]

    def ms(self, key: str) -> float:
        """Returns a time of the log, ms."""
        return float(self.figures[key]) / 1e6


def run_task(
    task: Task, answer: Callable[[int], Said], pictures: int, threads: int, folder: Path
) -> Outcome:
    """Lets LoadGen ask; blocks until it has ended.

    Args:
        task: What is to be done.
        answer: Answers the picture of a number, from several threads at once.
        pictures: How many there are; all of them are in memory already.
        threads: How many answer.
        folder: For LoadGen's logs; those of the run before are overwritten.

    Raises:
        RequestError: LoadGen is not installed.
        BackendError: A picture could not be answered, or LoadGen left no result.
    """
    library = load_library()
    logs = library.LogSettings()
    logs.log_output.outdir = str(folder)
    logs.log_output.copy_summary_to_stdout = False
    logs.enable_trace = False
    with System(library, answer, threads) as system:
        shelf = library.ConstructQSL(pictures, pictures, lambda _: None, lambda _: None)
        subject = library.ConstructSUT(system.issue, system.flush)
        try:
            library.StartTestWithLogSettings(subject, shelf, _settings(library, task), logs)
        finally:
            library.DestroySUT(subject)
            library.DestroyQSL(shelf)
    system.check()
    return _read(folder, task)


def _settings(library: Any, task: Task) -> Any:  # noqa: ANN401 - it ships no types
    """Returns LoadGen's settings: its ``test_settings.h`` tells what they mean."""
    settings = library.TestSettings()
    settings.scenario = getattr(library.TestScenario, task.scenario)
    mode = library.TestMode
    settings.mode = mode.AccuracyOnly if task.accuracy else mode.PerformanceOnly
    settings.min_duration_ms = round(1000 * task.seconds)
    settings.min_query_count = QUERIES[task.scenario] if task.queries is None else task.queries
    settings.multi_stream_samples_per_query = SAMPLES
    settings.offline_expected_qps = task.rate
    settings.server_target_qps = task.rate
    settings.server_target_latency_ns = round(1e6 * task.target_ms)
    return settings


def _read(folder: Path, task: Task) -> Outcome:
    figures: Json = {}
    for line in (folder / "mlperf_log_detail.txt").read_text("utf-8").splitlines():
        entry = json.loads(line.removeprefix(PREFIX))
        figures[entry["key"]] = entry["value"]
    if task.accuracy:
        return Outcome(True, "", figures, _read_answers(folder))
    if "result_validity" not in figures:
        raise BackendError("LoadGen left no result.")
    valid = figures["result_validity"] == "VALID"
    told = (figures.get("result_invalid_reason", ""), figures.get("early_stopping_result", ""))
    reason = "" if valid else " ".join(" ".join(told).replace("*", " ").split())
    return Outcome(valid, reason, figures, {})


def _read_answers(folder: Path) -> dict[int, Said]:
    entries = json.loads((folder / "mlperf_log_accuracy.json").read_text("utf-8"))
    return {
        entry["qsl_idx"]: np.frombuffer(bytes.fromhex(entry["data"]), np.float64)
        for entry in entries
    }
