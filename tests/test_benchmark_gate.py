"""The gate: wrong, disturbed and noisy runs are marked, and cannot win."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightbox.backends import Arrays, Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.benchmark import conditions
from sightbox.benchmark.conditions import Conditions, Watch, energy, peak_bytes
from sightbox.benchmark.gate import TEXTS, Mark, marks_of_run
from sightbox.benchmark.measuring import FULL, QUICK, Measurement
from sightbox.benchmark.probe import Way
from sightbox.benchmark.tables import headline, tables
from sightbox.machine import usable_cores
from simulated import (
    REFERENCE,
    Machine,
    Simulated,
    WrongBackend,
    measured,
    reported,
    small_home,
)

CALM = Conditions(0.0, 0.0, 0.0, 0, 0.0, 0)
STEADY = [[1.0, 1.0]] * 5


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A home with a tiny model."""
    return small_home(tmp_path)


class SloppyBackend(DummyBackend):
    """Answers batches with the first picture's answer: fast, if it were allowed."""

    def run(self, images: Pixels, outputs: Sequence[str] = ("logits",)) -> Arrays:
        arrays = super().run(images, outputs)
        return {name: np.repeat(array[:1], len(images), axis=0) for name, array in arrays.items()}


@pytest.mark.parametrize(("kind", "code"), [(WrongBackend, "wrong"), (SloppyBackend, "unsteady")])
@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_fast_wrong_backend_cannot_win(
    shelf: Path, kind: type[DummyBackend], code: str, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The dummy needs no file of a variant.
    monkeypatch.setattr("sightbox.model.Model.check_variant", lambda *_: None)
    monkeypatch.setattr("sightbox.model.Model.size", lambda *_: 1)
    machine = Machine(1)
    wrong = Simulated(shelf, machine, Way("dummy", variant, "wrong"), 0.1, 0.1, kind)
    report = reported(shelf, measured(machine, Simulated(shelf, machine), wrong))
    right, row = report["rows"]
    assert row["whole_ms"]["median"] < right["whole_ms"]["median"] / 5
    assert [mark["code"] for mark in row["marks"]] == [code]
    assert report["fastest"] == right["name"]
    assert headline(report | {"chosen": row["name"]}) is right
    told = [note["en"] for table in tables(report) for note in table.notes]
    assert any(note.startswith(row["name"]) for note in told), "it is shown, not hidden"


def test_without_a_reference_nobody_wins(shelf: Path) -> None:
    machine = Machine(1)
    other = Simulated(shelf, machine, Way("dummy", "fp32", "other"))
    report = reported(shelf, measured(machine, other))
    assert [mark["code"] for mark in report["rows"][0]["marks"]] == ["unchecked"]
    assert report["fastest"] is None
    assert headline(report) is None
    assert tables(report)[0].rows[0][0].endswith("*"), "the quoted rows alone"


def test_wide_spread_is_marked_and_may_win(shelf: Path) -> None:
    machine = Machine(1, noise=0.5, drift=0.3)
    report = reported(shelf, measured(machine, Simulated(shelf, machine)))
    assert [mark["code"] for mark in report["rows"][0]["marks"]] == ["wide"]
    assert [mark["code"] for mark in report["marks"]] == ["drifting"]
    assert report["fastest"] == str(REFERENCE)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (replace(CALM, contention=0.06), "busy"),
        (replace(CALM, load_before=0.6 * usable_cores()), "busy"),
        (replace(CALM, stolen=0.02), "stolen"),
        (replace(CALM, throttled=1), "throttled"),
        (replace(CALM, withheld=6.0), "withheld"),
        (replace(CALM, swapped=300), "swapped"),
    ],
)
def test_disturbed_run_is_marked(seen: Conditions, code: str) -> None:
    run = Measurement([], [[1.0] * 10] * 10, 100.0)
    assert not marks_of_run(run, CALM, FULL)
    assert not marks_of_run(run, Conditions(), FULL), "what is not told is no reason"
    (mark,) = marks_of_run(run, seen, FULL)
    assert mark.code == code


def test_short_run_is_marked() -> None:
    (mark,) = marks_of_run(Measurement([], STEADY, 1.0), CALM, QUICK)
    assert mark.code == "short"
    assert "25 calls instead of 100" in mark.to_json()["en"]


@pytest.mark.parametrize("code", TEXTS)
def test_every_mark_is_said_in_both_languages(code: str) -> None:
    told = Mark(code, "7 %").to_json()
    assert told["en"].isascii() or "Δ" in told["en"]
    assert any("一" <= letter <= "鿿" for letter in told["zh"])
    assert "{" not in told["en"] + told["zh"]


def test_counters_of_the_system_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes the files as Linux does, with more done on all cores than there are of them."""
    zone = tmp_path / "class" / "powercap" / "intel-rapl:0"
    part = tmp_path / "class" / "powercap" / "intel-rapl:0:0"
    heat = tmp_path / "devices" / "system" / "cpu" / "cpu0" / "thermal_throttle"
    group = tmp_path / "fs" / "cgroup"
    for folder in (zone, part, heat, group):
        folder.mkdir(parents=True)
    monkeypatch.setattr(conditions, "PROC", tmp_path)
    monkeypatch.setattr(conditions, "SYS", tmp_path)

    def write(step: int) -> None:
        (tmp_path / "stat").write_text(f"cpu  {10**9 * step} 0 0 5 5 0 0 {10**9 * step} 0 0\n")
        (tmp_path / "vmstat").write_text(f"pswpin {7 * step}\npswpout {5 * step}\n")
        (group / "cpu.stat").write_text(f"usage_usec 5\nthrottled_usec {3_000_000 * step}\n")
        (heat / "core_throttle_count").write_text(f"{4 * step}\n")
        (zone / "energy_uj").write_text(f"{2_000_000 * step}\n")
        (part / "energy_uj").write_text("99\n")

    write(1)
    watch = Watch()
    assert energy(tmp_path) == 2.0, "a part of the processor does not count twice"
    write(2)
    seen = watch.conditions()
    assert seen.contention == 1.0
    assert seen.stolen is not None
    assert seen.stolen > 1
    assert (seen.throttled, seen.withheld, seen.swapped) == (4, 3.0, 12)


def test_what_a_system_does_not_tell_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "PROC", tmp_path)
    monkeypatch.setattr(conditions, "SYS", tmp_path)
    seen = Watch().conditions()
    assert seen == Conditions(load_before=seen.load_before)
    assert energy(tmp_path) is None
    assert peak_bytes(tmp_path) == 0
