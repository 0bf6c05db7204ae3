"""The benchmark: what is measured, how it is counted, and the command."""

import io
import json
import signal
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from PIL import Image

from commandline import run
from sightbox import Classifier
from sightbox.backends.dummy import DummyBackend
from sightbox.benchmark.last import FILE, last_report
from sightbox.benchmark.measuring import FULL, SIZES
from sightbox.benchmark.probe import STAGES, Visit, Way
from sightbox.benchmark.processes import STEPS, Process
from sightbox.benchmark.statistics import _student, change, summary, without
from sightbox.benchmark.tables import tables
from sightbox.benchmark.timing import time_calls
from sightbox.benchmark.ways import ways_here
from sightbox.benchmark.workload import mountain, mountain_files
from sightbox.errors import BackendError
from sightbox.store import Store
from simulated import (
    BRIEF,
    NAME,
    REFERENCE,
    Machine,
    Simulated,
    measured,
    reported,
    small_home,
)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A home with a tiny model."""
    return small_home(tmp_path)


def test_mountain_is_the_same_each_time_and_the_network_sees_it(classifier: Classifier) -> None:
    side = classifier.card.recipe.crop
    first, second = mountain_files(2, side)
    assert next(mountain_files(1, side)) == first != second
    assert Image.open(io.BytesIO(first)).size == (side, side)
    assert mountain(side).dtype == np.uint8
    assert classifier.classify(first).top.label["en"] == "alp"


def test_figures_are_those_of_an_independent_count() -> None:
    samples = [float(number) for number in range(1, 101)]
    found = summary([samples[start::10] for start in range(10)])
    assert (found.count, found.mean, found.median) == (100, 50.5, 50.5)
    assert (found.p90, found.p99) == (90, 99)
    assert 30 < found.low < 50.5 < found.high < 71
    assert summary([samples[start::10] for start in range(10)]) == found


def test_interval_holds_the_true_median_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        rounds = rng.lognormal(0, 0.2, (10, 10)) * rng.lognormal(0, 0.05, (10, 1))
        found = summary(rounds.tolist())
        held += found.low <= 1 <= found.high
    assert held >= 90


def test_rounds_that_differ_widen_the_interval() -> None:
    """The same samples: once each round has all kinds, once each has its own."""
    samples = np.repeat(np.arange(1.0, 11.0), 10).reshape(10, 10)
    mixed, apart = summary(samples.T.tolist()), summary(samples.tolist())
    assert mixed.median == apart.median
    assert apart.width > 1.3 * mixed.width
    assert change(samples.tolist(), samples.tolist()).ratio == 1


def test_chaos_gives_figures_too() -> None:
    """Three rounds that have nothing to do with each other, as on a starved machine."""
    chaos = [[1.0, 900.0], [3000.0, 2.0], [1.0, 1e6]]
    found = summary(chaos)
    assert (found.low, found.high) == (1.0, max(1.0, found.high))
    assert found.high <= 1e6
    changed = change(chaos, chaos[::-1], 50)
    assert 0 < changed.low <= 1 <= changed.high <= 1000 * changed.ratio * 1.001
    assert not changed.slower
    assert without(changed, changed).ratio == 1


@pytest.mark.parametrize(
    ("part", "freedom", "quantile"), [(0.975, 4, 2.776), (0.975, 18, 2.101), (0.999, 8, 4.501)]
)
def test_quantiles_are_those_of_the_printed_table(
    part: float, freedom: int, quantile: float
) -> None:
    assert _student(part, freedom) == pytest.approx(quantile, rel=0.01)


def test_calls_are_timed_without_anything_else() -> None:
    """Even a clock that takes 20 us to read adds one reading alone to a call of 5 ms."""
    now, looks = 0.0, 0

    def wall() -> float:
        nonlocal now, looks
        now, looks = now + 20e-6, looks + 1
        return now

    def call() -> int:
        nonlocal now
        now += 5e-3
        return looks

    times, answers = time_calls(call, 50, wall)
    assert looks == 100
    assert answers == list(range(1, 100, 2)), "one look before each call, one behind it"
    assert max(times) / 5 - 1 <= 0.01


def test_overhead_is_far_below_a_hundredth_of_five_milliseconds() -> None:
    """A ratio of real times: what a call of nothing is said to take, beside 5 ms; about 1e-4."""
    times, _ = time_calls(lambda: None, 2000, perf_counter)
    assert np.median(times) / 5 <= 0.01


def test_ways_take_turns_and_all_is_told(shelf: Path) -> None:
    machine = Machine(1)
    other = Way("dummy", "fp32", "elsewhere")
    found = measured(machine, Simulated(shelf, machine), Simulated(shelf, machine, other, 9.0))
    report = reported(shelf, found)
    assert [row["name"] for row in report["rows"]] == ["dummy fp32", "dummy fp32 on elsewhere"]
    row = report["rows"][0]
    assert row["whole_ms"]["count"] == BRIEF.rounds * BRIEF.calls == 100
    assert 4.8 < row["whole_ms"]["median"] < 5.2 < report["rows"][1]["whole_ms"]["median"]
    assert row["whole_ms"]["low"] < row["whole_ms"]["median"] < row["whole_ms"]["high"]
    assert set(row["stages_ms"]) == set(STAGES)
    assert 0.9 < row["energy_j"] / (20 * row["whole_ms"]["mean"] / 1000) < 1.1
    assert row["memory"] == {
        "steady": 100_000_000,
        "peak": 120_000_000,
        "peak_with_batches": 120_000_000,
    }
    assert report["fastest"] == str(REFERENCE)
    assert report["marks"] == row["marks"] == []


def test_batches_grow_until_that_brings_nothing(shelf: Path) -> None:
    machine = Machine(1, noise=0, drift=0)
    growing = Simulated(shelf, machine, milliseconds=50.0, image=1.0)
    flat = Simulated(shelf, machine, Way("dummy", "fp32", "flat"), 0.0, 5.0)
    effort = type(BRIEF)("brief", 3, 2, 2, 4, 64, 1e9)
    report = reported(shelf, measured(machine, growing, flat, effort=effort), effort)
    sizes = [[batch["size"] for batch in row["batches"]] for row in report["rows"]]
    assert sizes == [[*SIZES, 32, 64], list(SIZES)]
    assert report["rows"][0]["best_batch"] == 64
    assert report["rows"][0]["batches"][1]["images_per_second"] == pytest.approx(4000 / 54, 1e-2)


def test_way_that_fails_is_a_row_with_its_reason(shelf: Path) -> None:
    class Failing(DummyBackend):
        def load(self, *_: object, **__: object) -> None:
            raise BackendError("It does not start.")

    machine = Machine(1)
    bad = Simulated(shelf, machine, Way("dummy", "fp32", "nowhere"), kind=Failing)
    report = reported(shelf, measured(machine, Simulated(shelf, machine), bad))
    assert [row["problem"] for row in report["rows"]] == [None, "It does not start."]
    assert report["fastest"] == str(REFERENCE)


def test_no_round_is_begun_when_the_time_is_over(shelf: Path) -> None:
    machine = Machine(1)
    effort = type(BRIEF)("brief", 10, 10, 5, 4, 16, 0.5)
    found = measured(machine, Simulated(shelf, machine), effort=effort)
    assert len(found.yardstick) == len(found.found[0].whole) == 3
    assert {len(visits) for visits in found.found[0].batches.values()} == {3}


def test_default_run_leaves_time_for_the_tips_below_three_minutes(shelf: Path) -> None:
    """All ways of a ResNet-18 on two cores, as slow as the slowest machine that is quoted."""
    machine = Machine(1)
    times = (28.0, 12.0, 30.0, 12.0, 30.0, 35.0, 60.0)
    ways = [
        Simulated(shelf, machine, Way("dummy", "fp32", f"way {number}"), 0.5, each)
        for number, each in enumerate(times)
    ]
    found = measured(machine, *ways, effort=FULL)
    assert found.seconds == pytest.approx(machine.now)
    assert machine.now <= 150
    assert {len(each.whole) for each in found.found} == {FULL.rounds}


def test_child_tells_start_answers_times_and_memory(shelf: Path) -> None:
    child = Process(NAME, str(shelf), Way("dummy"), list(mountain_files(2, 8)))
    try:
        start = child.start()
        assert list(start.stages) == list(STEPS.values())
        assert all(seconds > 0 for seconds in start.stages.values())
        assert start.logits.shape == (2, 5)
        visit = child.whole(3)
        assert len(visit.times) == 3
        assert visit.steady
        assert child.engine(7, 1).steady
        assert 0 < child.memory().resident <= child.memory().peak
    finally:
        child.close()


@pytest.mark.parametrize(
    ("way", "problem"),
    [
        (Way("nothing"), "There is no backend"),
        (Way("dummy", "int8"), "int8"),
        (Way("dummy", "fp32", "moon"), "moon"),
    ],
)
def test_child_that_does_not_start_says_why(shelf: Path, way: Way, problem: str) -> None:
    child = Process(NAME, str(shelf), way, list(mountain_files(1, 8)))
    with pytest.raises(BackendError, match=problem):
        child.start()
    child.close()
    with pytest.raises(BackendError, match="not open"):
        child.memory()


def test_warm_up_lasts_until_calls_take_as_long_as_before(shelf: Path) -> None:
    machine = Machine(1, noise=0, drift=0)
    slow = Simulated(shelf, machine)
    asked: list[int] = []

    class Cold(Simulated):
        def whole(self, calls: int) -> Visit:
            visit = slow.whole(calls)
            asked.append(calls)
            # The first four visits take less and less.
            factor = max(1.0, 2.0 - 0.25 * len(asked))
            return replace(visit, times=[factor * time for time in visit.times])

    cold = Cold(shelf, machine)
    slow.start()
    found = measured(machine, cold)
    slow.close()
    assert len(asked) - BRIEF.rounds == 5
    assert max(found.found[0].whole[0].times) < 5.1 * 1.5


def test_child_goes_on_after_ctrl_c(shelf: Path) -> None:
    """A terminal sends it to the parent and to all children; the parent alone decides."""
    child = Process(NAME, str(shelf), Way("dummy"), list(mountain_files(1, 8)))
    child.start()
    assert child._child is not None
    child._child.send_signal(signal.SIGINT)
    assert child.memory().resident > 0
    child.close()


def test_child_that_dies_is_told(shelf: Path) -> None:
    child = Process(NAME, str(shelf), Way("dummy"), list(mountain_files(1, 8)))
    child.start()
    assert child._child is not None
    child._child.kill()
    with pytest.raises(BackendError, match="ended with the code -9"):
        child.memory()


def test_ways_are_those_that_are_installed_and_made(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Store(home).open()
    assert [str(way) for way in ways_here(model, with_torch=False)] == [
        "onnxruntime fp32",
        "openvino fp32",
    ]
    torch = [way for way in ways_here(model, with_torch=True) if way.backend == "pytorch"]
    assert [way.device for way in torch] == [None, "cuda", "mps"]


def test_command_measures_and_keeps_the_report(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    page, document = tmp_path / "report.html", tmp_path / "report.md"
    forms = ("--json", file, "--html", page, "--markdown", document)
    code, out, error = run("bench", "--quick", *forms)
    assert (code, error) == (0, "")
    assert page.read_text().startswith("<!doctype html>")
    assert "### Every way to run it" in document.read_text()
    report = json.loads(file.read_text())
    assert last_report(home) == report, "the page shows it"
    (home / FILE).unlink()
    assert [row["problem"] for row in report["rows"]] == [None, None]
    assert "short" in {mark["code"] for mark in report["marks"]}
    assert {row["agreement"]["top1"] for row in report["rows"]} == {1.0}
    for table in tables(report):
        assert table.title["en"] in out
    rows = [line.split("\t") for line in out.splitlines()]
    machines = [row[0] for row in rows]
    for quoted in ("NVIDIA A100 *", "Apple M1 Pro (MPS) *", "Intel i5-8250U *"):
        assert machines.count(quoted) == 2
    assert ["NVIDIA A100 *", "310", "890", "1250", "1420"] in rows


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    assert run("bench", "--model", "nothing")[0] == 2
