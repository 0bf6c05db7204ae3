"""How a model is run here: as measured, as asked for, or by the rule."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sightbox import plan as subject
from sightbox.backends.dummy import DummyBackend
from sightbox.catalogue import EMBEDDED
from sightbox.classifier import Classifier
from sightbox.errors import RequestError
from sightbox.machine import usable_cores
from sightbox.model import Model
from sightbox.plan import (
    MAX_BATCH,
    Plan,
    Row,
    Tuning,
    advice,
    choose,
    circumstances,
    load_tuning,
    save_tuning,
)
from sightbox.store import Store

EXACT = Plan("onnxruntime", "fp32", 2, 1, 8)
QUICK = Plan("onnxruntime", "int8", 2, 1, 1)
BUSY = Plan("openvino", "int8", 2, 2, 16)
RULE = Plan("onnxruntime", "fp32", usable_cores(), 1, MAX_BATCH)

ROWS = (
    Row(EXACT, 20, 50, 1),
    Row(QUICK, 5, 100, 0.98),
    Row(BUSY, 8, 200, 0.98),
    Row(replace(BUSY, variant="bf16"), 7, 190, 0.999),
)


@pytest.fixture
def model(home: Path, tmp_path: Path) -> Model:
    """The embedded model in a home of its own."""
    shutil.copytree(home / "models" / EMBEDDED, tmp_path / "models" / EMBEDDED)
    return Store(tmp_path).open(EMBEDDED)


@pytest.fixture
def tuned(model: Model) -> Model:
    """The same, measured."""
    save_tuning(model, Tuning(circumstances(model), ROWS))
    return model


def test_nothing_measured_means_exact_with_all_cores(model: Model) -> None:
    assert choose(model) == RULE
    assert "sightbox tune" in str(advice(model))


@pytest.mark.parametrize(("goal", "plan"), [("throughput", BUSY), ("latency", QUICK)])
def test_fastest_for_the_goal_is_chosen(tuned: Model, goal: str, plan: Plan) -> None:
    assert choose(tuned, goal, least_agreement=0.97) == plan
    assert advice(tuned) is None


def test_variant_that_agrees_too_little_is_not_chosen_by_itself(tuned: Model) -> None:
    assert choose(tuned, least_agreement=0.99) == ROWS[3].plan
    assert choose(tuned, least_agreement=1) == EXACT
    assert choose(tuned, least_agreement=1, variant="int8") == BUSY


def test_variant_without_a_report_of_this_processor_is_not_chosen(model: Model) -> None:
    rows = (ROWS[0], replace(ROWS[1], agreement=None))
    assert Tuning({}, rows).best("throughput", 0) == ROWS[0]


def test_exact_wins_unless_the_other_is_clearly_faster() -> None:
    for speed, winner in ((52.4, EXACT), (52.6, QUICK)):
        rows = (ROWS[0], replace(ROWS[1], images_per_second=speed))
        best = Tuning({}, rows).best("throughput", 0)
        assert best is not None
        assert best.plan == winner


def test_plan_that_failed_is_never_chosen() -> None:
    rows = tuple(replace(row, problem="It answers otherwise.") for row in ROWS)
    assert Tuning({}, rows).best("latency", 0) is None
    assert Tuning({}, (*rows[:2], *ROWS[2:])).best("throughput", 0, backend="onnxruntime") is None


def test_what_is_given_is_kept_and_the_rest_is_as_measured(tuned: Model) -> None:
    assert choose(tuned, least_agreement=0.9, backend="onnxruntime") == QUICK
    assert choose(tuned, least_agreement=0.9, streams=5) == replace(BUSY, streams=5)
    assert choose(tuned, least_agreement=0.9, variant="fp32") == EXACT
    assert choose(tuned, least_agreement=0.9, backend="pytorch", threads=1) == replace(
        RULE, backend="pytorch", threads=1
    )


def test_threads_of_the_environment_count_unless_others_are_given(
    tuned: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert choose(tuned, least_agreement=0.9) == replace(BUSY, threads=1)
    assert choose(tuned, least_agreement=0.9, threads=3) == replace(BUSY, threads=3)


def test_other_engine_than_the_measured_ones_goes_by_the_rule(tuned: Model) -> None:
    assert choose(tuned, least_agreement=0.9, measured=False) == RULE
    with Classifier(EMBEDDED, DummyBackend(), home=tuned.folder.parents[1]) as classifier:  # type: ignore[union-attr]  # it has one
        assert classifier.plan == replace(RULE, backend="dummy")


def test_classifier_runs_as_measured(model: Model) -> None:
    rows = (Row(Plan("openvino", "fp32", 1, 2, 3), 1, 900, 1), ROWS[0])
    save_tuning(model, Tuning(circumstances(model), rows))
    assert model.folder is not None
    with Classifier(EMBEDDED, home=model.folder.parents[1]) as classifier:
        assert classifier.plan == rows[0].plan
        assert classifier.info.backend == "openvino"
        classifier.check()


@pytest.mark.parametrize("changed", ["processor", "cores", "openvino", "model"])
def test_changed_circumstances_lead_back_to_the_rule(model: Model, changed: str) -> None:
    before = circumstances(model) | {changed: "another"}
    save_tuning(model, Tuning(before, ROWS))
    assert choose(model, least_agreement=0.9) == RULE
    assert f"{changed} was another, is " in str(advice(model))
    assert str(advice(model)).endswith(": sightbox tune")


def test_other_machines_keep_their_own_figures(
    tuned: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(subject, "processor_name", lambda: "another")
        assert load_tuning(tuned) is None
        save_tuning(tuned, Tuning(circumstances(tuned), ROWS[:1]))
    assert load_tuning(tuned) == Tuning(circumstances(tuned), ROWS)


def test_new_variant_of_the_model_forgets_the_figures(tuned: Model) -> None:
    assert tuned.folder is not None
    store = Store(tuned.folder.parents[1])
    changed = store.add_variant(tuned, "int8", b"a graph", "{}")
    assert load_tuning(changed) is None


def _damages(text: str) -> list[str]:
    whole = json.loads(text)
    return [
        "",
        text[:-20],
        "[]",
        "{}",
        json.dumps(whole | {"rows": [{"plan": {}}]}),
        json.dumps(whole | {"circumstances": 3}),
        json.dumps(whole | {"rows": [whole["rows"][0] | {"images_per_second": "fast"}] * 2}),
    ]


def test_damaged_figures_are_left_out_with_a_warning(
    tuned: Model, caplog: pytest.LogCaptureFixture
) -> None:
    assert tuned.folder is not None
    (path,) = (tuned.folder / "tuning").iterdir()
    for damaged in _damages(path.read_text()):
        path.write_text(damaged)
        caplog.clear()
        assert choose(tuned, least_agreement=0.9) == RULE
        assert "cannot be read" in caplog.text


def test_unknown_goals_and_numbers_below_one_are_refused(model: Model) -> None:
    with pytest.raises(RequestError, match="There is no goal 'speed'"):
        choose(model, "speed")
    with pytest.raises(RequestError, match="streams is 0; it must be at least 1"):
        choose(model, streams=0)
