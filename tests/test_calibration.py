"""A calibration in a model's card: how it is kept, and that every edge answers by it."""

import base64
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from commandline import on_terminal, run
from serving import FORM, ask, serving
from sightbox.atomicfile import write_durably
from sightbox.calibration import Calibration
from sightbox.catalogue import EMBEDDED
from sightbox.classifier import Classifier
from sightbox.errors import ModelError
from sightbox.model import CARD, SEAL, Card, open_model
from sightbox.prediction import softmax
from sightbox.schema import card_to_json
from sightbox.store import Store
from sightbox.verification import check_models

THRESHOLD = 0.6
KEPT = Calibration(0.5, THRESHOLD, 0.95, 200, "fp32")


@pytest.fixture
def store(home: Path, tmp_path: Path) -> Store:
    """A copy of the prepared home."""
    shutil.copytree(home, tmp_path / "home")
    return Store(tmp_path / "home")


@dataclass(frozen=True)
class Calibrated:
    """A server whose model is calibrated, and the logits of the cat there."""

    url: str
    home: Path
    classifier: Classifier
    logits: np.ndarray

    @property
    def expected(self) -> np.ndarray:
        """The probability of each class, [C]."""
        return np.asarray(softmax(self.logits, KEPT.temperature))


@pytest.fixture(scope="module")
def calibrated(
    home: Path, tmp_path_factory: pytest.TempPathFactory, cat: bytes
) -> Iterator[Calibrated]:
    """The embedded model with `KEPT` in its card, served for all tests of this module."""
    folder = tmp_path_factory.mktemp("calibrated") / "home"
    shutil.copytree(home, folder)
    Store(folder).calibrate(EMBEDDED, KEPT)
    with Classifier(home=folder) as made, serving(made, home=folder) as url:
        logits = made.infer(made.prepare(cat).pixels[None])[0].logits
        yield Calibrated(url, folder, made, logits)


def test_card_without_a_calibration_is_written_as_ever(store: Store) -> None:
    text = (store.models / EMBEDDED / CARD).read_text()
    assert "calibration" not in text
    card = Card.from_json(text)
    assert card.to_json() == text
    assert (card.temperature, card.threshold) == (1, None)


def test_calibration_comes_back_from_the_card_and_can_be_taken_out(store: Store) -> None:
    folder = store.models / EMBEDDED
    (folder / "tuning").mkdir()
    (folder / "tuning" / "x.json").write_text("{}")
    before = (folder / CARD).read_bytes()
    assert store.calibrate(EMBEDDED, KEPT).card.calibration == KEPT
    assert store.open(EMBEDDED).card.calibration == KEPT
    assert all(check.problem is None for check in store.verify(EMBEDDED))
    assert all(finding.problem is None for finding in check_models(store))
    assert (folder / "tuning" / "x.json").exists()
    assert (folder / CARD).stat().st_mode == (folder / "model.onnx").stat().st_mode
    store.calibrate(EMBEDDED, None)
    assert (folder / CARD).read_bytes() == before


@pytest.mark.parametrize("step", range(4))
def test_kill_while_the_card_is_written_leaves_a_whole_model(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Ends at each of the four writes and renames; what is there then must verify."""
    steps = iter(range(4))
    real_replace = Path.replace

    def end_here() -> None:
        if next(steps) == step:
            raise KeyboardInterrupt

    def write(path: Path, content: bytes) -> None:
        end_here()
        write_durably(path, content)

    def rename(path: Path, target: Path) -> Path:
        end_here()
        return real_replace(path, target)

    monkeypatch.setattr("sightbox.model.write_durably", write)
    monkeypatch.setattr(Path, "replace", rename)
    with pytest.raises(KeyboardInterrupt):
        store.calibrate(EMBEDDED, KEPT)
    monkeypatch.undo()
    assert store.open(EMBEDDED).card.calibration == (KEPT if step > 1 else None)
    assert all(check.problem is None for check in store.verify(EMBEDDED))
    assert store.calibrate(EMBEDDED, KEPT).card.calibration == KEPT
    assert (store.models / EMBEDDED / SEAL).exists()


def test_variant_that_is_made_later_keeps_the_calibration(store: Store) -> None:
    model = store.calibrate(EMBEDDED, KEPT)
    assert store.add_variant(model, "int8", b"graph", "{}").card.calibration == KEPT


def test_export_carries_the_calibration_along(store: Store, tmp_path: Path) -> None:
    store.calibrate(EMBEDDED, KEPT)
    store.export(EMBEDDED, tmp_path / "model.zip")
    other = Store(tmp_path / "other")
    assert other.import_file(tmp_path / "model.zip").card.calibration == KEPT


def test_home_that_cannot_be_written_to_is_a_clear_error(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere, but below a file nobody can.
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="lives in memory alone") as caught:
        Store(tmp_path / "file" / "home").calibrate(EMBEDDED, KEPT)
    assert "SIGHTBOX_HOME" in str(caught.value)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("sightbox.model.write_durably", refuse)
    shutil.copytree(home, tmp_path / "home")
    with pytest.raises(ModelError, match="Read-only file system"):
        Store(tmp_path / "home").calibrate(EMBEDDED, KEPT)


def test_card_that_was_tampered_with_is_not_sealed_anew(store: Store) -> None:
    card = store.models / EMBEDDED / CARD
    card.write_text(card.read_text().replace("Apache-2.0", "MIT"))
    with pytest.raises(ModelError, match="was changed"):
        store.calibrate(EMBEDDED, KEPT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0}, "the temperature is 0"),
        ({"temperature": float("nan")}, "the temperature is nan"),
        ({"temperature": "1"}, "the temperature is '1'"),
        ({"threshold": 1.1}, r"the threshold is 1\.1"),
        ({"precision": None}, "the precision is None"),
        ({"pictures": 0}, "has 0 pictures"),
        ({"variant": 8}, "variant is 8"),
    ],
)
def test_damaged_calibration_is_refused(
    store: Store, changes: dict[str, object], message: str
) -> None:
    fields = json.loads((store.models / EMBEDDED / CARD).read_text())
    good = {"temperature": 1.5, "threshold": 0.5, "precision": 0.9, "pictures": 9, "variant": "x"}
    Card.from_json(json.dumps(fields | {"calibration": good}))
    with pytest.raises(ModelError, match=message):
        Card.from_json(json.dumps(fields | {"calibration": good | changes}))
    with pytest.raises(ModelError, match="damaged"):
        Card.from_json(json.dumps(fields | {"calibration": good | {"more": 1}}))


def test_scores_are_softmax_at_the_temperature_and_the_order_stays(
    calibrated: Calibrated, classifier: Classifier, cat: bytes
) -> None:
    found = calibrated.classifier.classify(cat, top_k=1000)
    plain = classifier.classify(cat, top_k=1000)
    assert [one.index for one in found.predictions][:20] == [
        one.index for one in plain.predictions
    ][:20]
    scores = {one.index: one.score for one in found.predictions}
    expected = calibrated.expected
    assert [scores[index] for index in range(1000)] == pytest.approx(list(expected), abs=1e-6)
    assert plain.sure is None


@pytest.mark.parametrize(("threshold", "sure"), [(0.999, False), (0.1, True), (None, None)])
def test_answer_says_whether_it_is_sure(
    store: Store, cat: bytes, threshold: float | None, sure: bool | None
) -> None:
    store.calibrate(EMBEDDED, replace(KEPT, threshold=threshold))
    with Classifier(home=store.home) as made:
        assert made.classify(cat, top_k=1).sure is sure
        # What the least score leaves nothing of is not sure.
        assert made.classify(cat, min_score=1.0).sure is (None if sure is None else False)


def test_native_answers_say_so(calibrated: Calibrated, cat: bytes) -> None:
    answer = ask(calibrated.url, "/v1/classify", cat)[2]
    best = float(calibrated.expected.max())
    assert answer["sure"] is (best >= THRESHOLD)
    assert answer["predictions"][0]["score"] == pytest.approx(best, abs=2e-6)
    part = b'--a-boundary\r\nContent-Disposition: form-data; name="image"; filename="c"\r\n\r\n'
    form = part + cat + b"\r\n--a-boundary--\r\n"
    (one,) = ask(calibrated.url, "/v1/classify", form, FORM)[2]["results"]
    assert one["sure"] is answer["sure"]
    card = ask(calibrated.url, f"/v1/models/{EMBEDDED}")[2]
    assert card["calibration"] == card_to_json(calibrated.classifier.card)["calibration"]
    assert card["calibration"]["threshold"] == KEPT.threshold


def test_dialects_give_probabilities_at_the_temperature_and_logits_as_they_are(
    calibrated: Calibrated, cat: bytes
) -> None:
    url, expected, best = calibrated.url, calibrated.expected, int(calibrated.logits.argmax())
    body = base64.b64encode(cat).decode()
    names = calibrated.classifier.labels.names["en"]

    def infer(name: str, datatype: str, shape: list[int], data: Sequence[float]) -> list[float]:
        tensor = {"name": "images", "datatype": datatype, "shape": shape, "data": data}
        asked = json.dumps({"inputs": [tensor]}).encode()
        (output,) = ask(url, f"/v2/models/{name}/infer", asked)[2]["outputs"]
        assert output["name"] == ("logits" if datatype == "FP32" else "probabilities")
        return list(output["data"])

    pixels = calibrated.classifier.prepare(cat).pixels
    card = calibrated.classifier.card
    numbers = (pixels / 255 - np.array(card.mean)) / np.array(card.std)
    chw = numbers.transpose(2, 0, 1).astype(np.float32)
    assert infer(EMBEDDED, "FP32", [1, *chw.shape], chw.ravel().tolist()) == pytest.approx(
        calibrated.logits.tolist(), abs=1e-3
    )
    levels = [int(level) for level in pixels.ravel()]
    found = infer(f"{EMBEDDED}_u8", "UINT8", [1, *pixels.shape], levels)
    assert found == pytest.approx(list(expected), abs=1e-5)

    def face(**parameters: object) -> float:
        message = {"inputs": body, "parameters": {"top_k": 1, **parameters}}
        asked = json.dumps(message).encode()
        return float(ask(url, f"/models/{EMBEDDED}", asked)[2][0]["score"])

    assert face() == pytest.approx(expected[best], abs=1e-5)
    assert face(function_to_apply="none") == pytest.approx(calibrated.logits[best], abs=1e-3)
    raw = 1 / (1 + np.exp(-float(calibrated.logits[best])))
    assert face(function_to_apply="sigmoid") == pytest.approx(raw, abs=1e-5)

    serve = ask(url, f"/predictions/{EMBEDDED}", cat)[2]
    assert serve[names[best]] == pytest.approx(expected[best], abs=1e-5)
    photo = json.dumps({"images": [f"data:image/png;base64,{body}"]}).encode()
    (label, *_) = ask(url, "/api/v1/vision/labels", photo)[2]["result"]["labels"]
    assert label["confidence"] == pytest.approx(expected[best], abs=1e-5)


def test_walk_and_evidence_tell_raw_logits(calibrated: Calibrated, cat: bytes) -> None:
    walk = ask(calibrated.url, "/v1/walkthrough", cat)[2]
    best = int(calibrated.logits.argmax())
    assert walk["steps"][-1]["facts"] == {"temperature": KEPT.temperature}
    assert walk["best"][0]["logit"] == pytest.approx(calibrated.logits[best], abs=1e-3)
    assert walk["best"][0]["score"] == pytest.approx(calibrated.expected[best], abs=1e-5)
    explained = calibrated.classifier.classify(cat, top_k=1, explain=True).explanation
    assert explained is not None
    assert explained.maps[0].logit == pytest.approx(calibrated.logits[best], abs=1e-3)


def test_command_line_marks_what_is_not_sure(store: Store, photos: Path) -> None:
    store.calibrate(EMBEDDED, replace(KEPT, threshold=1.0))
    mine = {"SIGHTBOX_HOME": str(store.home)}
    asked = ("classify", photos / "chelsea.png", "-k", "2")
    lines = run(*asked, env=mine)[1].splitlines()
    assert [line.split("\t")[-1] for line in lines] == ["not sure"] * 2
    assert "not sure" in on_terminal(asked, **mine)
    assert json.loads(run(*asked, "--jsonl", env=mine)[1])["sure"] is False
    header, *rows = run(*asked, "--csv", env=mine)[1].splitlines()
    assert header.endswith(",error,sure")
    assert [row.rsplit(",", 1)[1] for row in rows] == ["false"] * 2
    code, out, _ = run("models", "uncalibrate", env=mine)
    assert (code, out) == (0, f"{EMBEDDED} gives plain softmax scores.\n")
    assert open_model(store.models / EMBEDDED).card.calibration is None
    assert "not sure" not in run(*asked, env=mine)[1]


def test_form_without_javascript_says_so(store: Store, cat: bytes) -> None:
    part = b'--a-boundary\r\nContent-Disposition: form-data; name="image"; filename="c"\r\n\r\n'
    form = part + cat + b"\r\n--a-boundary--\r\n"
    for threshold, said in ((1.0, True), (0.1, False)):
        store.calibrate(EMBEDDED, replace(KEPT, threshold=threshold))
        with Classifier(home=store.home) as made, serving(made, home=store.home) as url:
            page = ask(url, "/", form, FORM)[2].decode()
        assert ('class="verdict unsure"' in page) is said
