"""Two reports side by side: noise is no change, and a change is found."""

import json
from copy import deepcopy
from pathlib import Path

import pytest

from commandline import run
from sightbox.backends.dummy import DummyBackend
from sightbox.benchmark.comparing import Comparison, compare_reports
from sightbox.benchmark.history import history_page
from sightbox.benchmark.report import Json, to_text
from simulated import Machine, Simulated, WrongBackend, measured, reported, small_home

TRIES = 20
NEEDED = 19


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A home with a tiny model."""
    return small_home(tmp_path)


def one_run(
    home: Path,
    seed: int,
    slowdown: float = 1.0,
    drift: float = 0.02,
    kind: type[DummyBackend] = DummyBackend,
) -> Json:
    """Simulates a run of a machine whose calls scatter, rounds drift, and tails are long."""
    machine = Machine(seed, noise=0.05, drift=drift)
    subject = Simulated(home, machine, milliseconds=4 * slowdown, image=slowdown, kind=kind)
    return reported(home, measured(machine, subject))


def verdicts(found: Comparison) -> dict[str, str]:
    return {each.figure: each.verdict for each in found.verdicts}


def test_two_runs_of_one_program_are_equal(shelf: Path) -> None:
    pairs = [(one_run(shelf, seed), one_run(shelf, 100 + seed)) for seed in range(TRIES)]
    equal = [
        all(each.verdict == "same" for each in compare_reports(*pair).verdicts) for pair in pairs
    ]
    assert sum(equal) >= NEEDED


def test_ten_percent_more_time_is_found(shelf: Path) -> None:
    pairs = [(one_run(shelf, seed), one_run(shelf, 100 + seed, 1.1)) for seed in range(TRIES)]
    slower = [verdicts(compare_reports(*pair))["whole"] == "slower" for pair in pairs]
    faster = [verdicts(compare_reports(*pair[::-1]))["whole"] == "faster" for pair in pairs]
    assert min(sum(slower), sum(faster)) >= NEEDED
    assert all(
        compare_reports(*pair).regressed for pair, found in zip(pairs, slower, strict=True) if found
    )


def test_machine_that_slows_as_a_whole_is_no_regression(shelf: Path) -> None:
    """Even by half: the yardstick tells."""
    before, after = one_run(shelf, 1), one_run(shelf, 2)
    slow = deepcopy(after)
    for samples in (slow["yardstick_ms"], *_all_samples(slow)):
        samples["rounds"] = [[1.5 * time for time in each] for each in samples["rounds"]]
    found = compare_reports(before, slow)
    assert found.machine.slower
    assert not found.regressed
    # Without its yardstick the same run is one.
    assert compare_reports(before, slow | {"yardstick_ms": before["yardstick_ms"]}).regressed


def test_noise_hides_no_more_than_it_must(shelf: Path) -> None:
    """Where rounds differ by a third, a tenth is not known; the double is."""
    before = one_run(shelf, 1, drift=0.3)
    assert verdicts(compare_reports(before, one_run(shelf, 2, 1.1, drift=0.3)))["whole"] == "same"
    assert verdicts(compare_reports(before, one_run(shelf, 2, 2.5, drift=0.3)))["whole"] == "slower"


def test_answers_that_became_wrong_are_a_regression_however_fast(shelf: Path) -> None:
    before = one_run(shelf, 1)
    after = one_run(shelf, 2, 0.5)
    after["rows"][0]["marks"] = [{"code": "wrong", "en": "", "zh": ""}]
    found = compare_reports(before, after)
    assert verdicts(found)["answers"] == "wrong"
    assert found.regressed
    assert verdicts(compare_reports(after, before))[""] == "mended"
    assert one_run(shelf, 3, kind=WrongBackend)["fastest"] == "dummy fp32", "it is the reference"


def test_way_that_came_went_or_broke_is_told(shelf: Path) -> None:
    report = one_run(shelf, 1)
    none = report | {"rows": []}
    broken = report | {"rows": [report["rows"][0] | {"problem": "It fails."}]}
    assert verdicts(compare_reports(report, none)) == {"": "gone"}
    assert verdicts(compare_reports(none, report)) == {"": "new"}
    assert not compare_reports(report, none).regressed
    assert verdicts(compare_reports(report, broken)) == {"": "broken"}
    assert compare_reports(report, broken).regressed


def test_memory_that_grew_is_told(shelf: Path) -> None:
    before, after = one_run(shelf, 1), one_run(shelf, 1)
    after["rows"][0]["memory"]["steady"] += 15_000_000
    assert verdicts(compare_reports(before, after))["memory"] == "same"
    after["rows"][0]["memory"]["steady"] += 15_000_000
    assert verdicts(compare_reports(before, after))["memory"] == "larger"
    assert verdicts(compare_reports(after, before))["memory"] == "smaller"


def test_command_tells_and_fails_on_a_regression(shelf: Path) -> None:
    files = [shelf / name for name in ("a.json", "b.json", "c.json")]
    for file, report in zip(
        files, (one_run(shelf, 1), one_run(shelf, 2), one_run(shelf, 3, 1.3)), strict=True
    ):
        file.write_text(to_text(report))
    code, out, error = run("bench", "compare", files[0], files[1])
    assert (code, error) == (0, "")
    assert "Nothing changed beyond noise." in out
    code, out, _ = run("bench", "compare", files[0], files[2])
    assert code == 1
    assert "Worse: dummy fp32 whole slower" in out
    (shelf / "other.json").write_text("{}")
    page = shelf / "history.html"
    code, out, _ = run("bench", "history", shelf, "--html", page)
    assert code == 0
    assert "Left out: " in out
    assert out.count("\tdummy fp32\t") == 3
    assert page.read_text("utf-8").count("<circle") == 4 * 3


def test_history_draws_marked_runs_hollow_and_leaves_out_what_has_no_figure(shelf: Path) -> None:
    report = one_run(shelf, 1)
    marked = report | {"marks": [{"code": "busy", "en": "", "zh": ""}], "date": "<b>"}
    nothing = report | {"rows": [], "fastest": None}
    page = history_page([report, marked, nothing])
    assert page.count("<circle") == 4 * 2
    assert page.count('<circle class="marked"') == 4
    assert "<script" not in page
    assert "<b>" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_circumstances_that_differ_are_named(shelf: Path) -> None:
    before, after = one_run(shelf, 1), one_run(shelf, 1)
    after["circumstances"]["onnxruntime"] = "9.9"
    (told,) = compare_reports(before, after).differing
    assert told.startswith("onnxruntime was ")
    assert told.endswith("is 9.9")


@pytest.mark.parametrize(
    "content",
    ["{}", "no JSON", '{"kind": "sightbox benchmark", "format": 1}', '{"kind": "x", "format": 1}'],
)
def test_file_that_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    wrong: list[tuple[str | Path, ...]] = [("compare", file, file), ("compare", tmp_path, file)]
    for arguments in [*wrong, ("history", tmp_path)]:
        code, _, error = run("bench", *arguments)
        assert code == 2
        assert "report" in error or "cannot be read" in error


def _all_samples(report: Json) -> list[Json]:
    row = report["rows"][0]
    return [row["whole_ms"], row["engine_ms"], *(batch["ms"] for batch in row["batches"])]


def test_report_survives_its_file(shelf: Path) -> None:
    report = one_run(shelf, 1)
    assert json.loads(to_text(report)) == report
