"""The whole flow: pictures in, predictions out."""

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightbox import Classifier, Prediction, SightboxError
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend, expected_class
from sightbox.backends.onnxruntime import OnnxRuntimeBackend
from sightbox.errors import (
    BackendError,
    BackendNotAvailableError,
    ClosedError,
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
    ModelNotFoundError,
    RequestError,
)
from sightbox.image import ImageLimits
from sightbox.model import seal
from sightbox.prediction import softmax
from sightbox.preprocessing import prepare
from sightbox.schema import prediction_to_json, result_to_json

CATS = {"tabby", "tiger cat", "Egyptian cat", "Persian cat", "Siamese cat"}


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        ("chelsea.png", CATS),
        ("coffee.png", {"espresso", "cup", "coffee mug"}),
        ("rocket.jpg", {"missile", "projectile"}),
    ],
)
def test_photo_shows_what_it_shows(
    classifier: Classifier, photos: Path, photo: str, expected: set[str]
) -> None:
    answer = classifier.classify(photos / photo)
    assert answer.top.label["en"] in expected
    assert len(answer.predictions) == 5
    assert answer.model.name == "efficientnet-lite0"


def test_paths_bytes_arrays_and_images_give_the_same_answer(
    classifier: Classifier, photos: Path
) -> None:
    path = photos / "chelsea.png"
    with Image.open(path) as image:
        image.load()
    pictures = (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), image)
    answers = [classifier.classify(picture) for picture in (*pictures, np.asarray(image))]
    assert all(answer.predictions == answers[0].predictions for answer in answers)
    assert {(a.image.width, a.image.height) for a in answers} == {(451, 300)}
    assert [a.image.format for a in answers] == ["PNG"] * 5 + [None]


def test_pillow_image_is_turned_as_its_exif_says(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    lying = tmp_path / "lying.jpg"
    with Image.open(photos / "rocket.jpg") as image:
        exif = image.getexif()
        exif[0x0112] = 6  # "turn right", EXIF 2.3, table 4
        image.save(lying, exif=exif)
    with Image.open(lying) as image:
        answer = classifier.classify(image)
    assert answer.predictions == classifier.classify(lying).predictions
    assert (answer.image.width, answer.image.height) == (427, 640)


def test_timings_are_parts_of_the_total(classifier: Classifier, photos: Path) -> None:
    spent = classifier.classify(photos / "rocket.jpg").timings_ms
    parts = (spent.decode, spent.preprocess, spent.queue, spent.infer)
    assert all(part >= 0 for part in parts)
    assert sum(parts) <= spent.total


def test_answers_are_frozen_and_make_json(classifier: Classifier, photos: Path) -> None:
    answer = classifier.classify(photos / "coffee.png", top_k=2)
    with pytest.raises(AttributeError):
        answer.model = None  # type: ignore[assignment,misc]  # that it is refused is the point
    told = json.loads(json.dumps(prediction_to_json(answer, ("zh",))))
    assert list(told) == ["model", "predictions", "sure", "timings_ms", "image"]
    assert told["predictions"][0]["label"] == {"zh": "浓缩咖啡"}
    assert [set(p) for p in told["predictions"]] == [{"index", "wnid", "label", "score"}] * 2


def test_top_k_and_least_score_limit_the_answer(classifier: Classifier, photos: Path) -> None:
    path = photos / "coffee.png"
    assert len(classifier.classify(path, top_k=1000).predictions) == 1000
    assert len(classifier.classify(path, top_k=5000).predictions) == 1000
    assert len(classifier.classify(path, min_score=0.5).predictions) == 1
    assert classifier.classify(path, min_score=1).predictions == ()
    total = sum(score.score for score in classifier.classify(path, top_k=1000).predictions)
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"top_k": 0}, "at least 1"),
        ({"top_k": 2.5}, "whole number"),
        ({"top_k": "5"}, "whole number"),
        ({"min_score": -0.1}, "from 0 to 1"),
        ({"min_score": float("nan")}, "from 0 to 1"),
    ],
)
def test_arguments_out_of_range_are_refused(
    dummy: Classifier, gradient: Image.Image, given: dict[str, object], told: str
) -> None:
    with pytest.raises(RequestError, match=told):
        dummy.classify(gradient, **given)  # type: ignore[arg-type]  # the checks are tested
    with pytest.raises(RequestError, match=told):
        dummy.classify_many([gradient], **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("picture", [None, 3, ["cat.jpg"]])
def test_what_is_no_picture_is_refused(dummy: Classifier, picture: object) -> None:
    with pytest.raises(RequestError, match="is no picture"):
        dummy.classify(picture)  # type: ignore[arg-type]  # that it is refused is the point


def test_missing_file_and_folder_are_image_errors(dummy: Classifier, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        dummy.classify(tmp_path / "nope.jpg")
    with pytest.raises(ImageError, match="directory"):
        dummy.classify(tmp_path)


def test_limits_are_kept(home: Path, gradient: Image.Image, photos: Path) -> None:
    limits = ImageLimits(max_pixels=1000)
    with Classifier(backend=DummyBackend(), home=home, limits=limits) as small:
        with pytest.raises(ImageTooLargeError):
            small.classify(photos / "rocket.jpg")
        # The caller has decoded this one already: there is nothing left to protect.
        assert small.classify(gradient)


def test_many_pictures_keep_their_order_and_their_errors(
    dummy: Classifier, gradient: Image.Image
) -> None:
    turned = [gradient.rotate(angle) for angle in range(40)]
    mixed: list[object] = [*turned[:20], b"no picture", *turned[20:], "nope.jpg"]
    answers = list(dummy.classify_many(mixed))  # type: ignore[arg-type]  # mixed on purpose
    expected = [
        int(expected_class(prepare(image, dummy.card.recipe)[None], 1000)[0]) for image in turned
    ]
    good = [a.top.index for a in answers if isinstance(a, Prediction)]
    assert good == expected
    assert [n for n, a in enumerate(answers) if isinstance(a, SightboxError)] == [20, 41]
    assert result_to_json(answers[20])["error"]["code"] == "unsupported_format"


def test_many_pictures_are_read_a_few_ahead_and_may_be_endless(
    dummy: Classifier, gradient: Image.Image
) -> None:
    taken = itertools.count()
    endless = (gradient for _ in iter(lambda: next(taken), -1))
    results = dummy.classify_many(endless)
    assert len(list(itertools.islice(results, 50))) == 50
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert next(taken) < 100


def test_error_of_the_iterable_comes_after_the_answers_to_what_it_gave(
    dummy: Classifier, gradient: Image.Image
) -> None:
    def pictures() -> Iterator[Image.Image]:
        yield from [gradient] * 3
        raise KeyError("the caller's own")

    results = dummy.classify_many(pictures())
    assert all(isinstance(next(results), Prediction) for _ in range(3))
    with pytest.raises(KeyError, match="the caller's own"):
        next(results)


def test_endless_and_impossible_files_are_image_errors(
    dummy: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightbox.pictures.MAX_FILE_BYTES", 1000)
    (tmp_path / "edge").write_bytes(b"x" * 1000)
    (tmp_path / "above").write_bytes(b"x" * 1001)
    with pytest.raises(ImageFormatError):
        dummy.classify(tmp_path / "edge")
    for endless in (tmp_path / "above", "/dev/zero"):
        with pytest.raises(ImageError, match="more than 1,000 bytes"):
            dummy.classify(endless)
    with pytest.raises(ImageError, match="null"):
        dummy.classify("a\0b.jpg")


@pytest.mark.parametrize("name", ["threads", "streams", "max_batch", "queue_size"])
def test_numbers_below_one_are_refused(home: Path, name: str) -> None:
    with pytest.raises(RequestError, match=f"{name} is 0"):
        Classifier(backend=DummyBackend(), home=home, **{name: 0})  # type: ignore[arg-type]


def test_score_at_the_edge_is_named(classifier: Classifier, photos: Path) -> None:
    best = classifier.classify(photos / "coffee.png").top.score
    assert classifier.classify(photos / "coffee.png", min_score=best).top.score == best


def test_threads_each_get_their_own_answer(dummy: Classifier) -> None:
    side = dummy.card.recipe.crop
    pictures = [
        np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
        for seed in range(32)
    ]
    answers: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        answers[number] = [dummy.classify(pictures[number]).top.index for _ in range(20)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, picture in enumerate(pictures):
        pixels = prepare(Image.fromarray(picture), dummy.card.recipe)[None]
        assert answers[number] == [int(expected_class(pixels, 1000)[0])] * 20


def test_closed_classifier_says_so(home: Path, gradient: Image.Image) -> None:
    with Classifier(backend=DummyBackend(), home=home) as classifier:
        classifier.classify(gradient)
    classifier.close()
    with pytest.raises(ClosedError):
        classifier.classify(gradient)


def test_failing_engine_is_an_error_and_the_next_picture_is_fine(
    home: Path, gradient: Image.Image
) -> None:
    broken = threading.Event()

    def fail(_images: Pixels) -> None:
        if broken.is_set():
            raise BackendError("Out of order.")

    with Classifier(backend=DummyBackend(fail), home=home) as classifier:
        broken.set()
        with pytest.raises(BackendError, match="Out of order"):
            classifier.classify(gradient)
        broken.clear()
        while not classifier.ready:
            pass
        assert classifier.classify(gradient)


class NanBackend(DummyBackend):
    """Answers with what is no number."""

    def run(self, images: Pixels, outputs: object = ()) -> dict[str, np.ndarray]:  # noqa: ARG002 - the protocol
        """Answers a batch."""
        return {"logits": np.full((len(images), 1000), np.nan, np.float32)}


def test_engine_that_answers_nonsense_is_found_at_the_start(home: Path) -> None:
    with pytest.raises(BackendError, match="no number"):
        Classifier(backend=NanBackend(), home=home)


def test_unknown_model_and_backend_are_refused(home: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="'nope'"):
        Classifier("nope", home=home)
    with pytest.raises(BackendNotAvailableError, match="There are onnxruntime, "):
        Classifier(backend="nope", home=home)


def test_damaged_graph_is_a_backend_error(classifier: Classifier) -> None:
    model = seal(classifier.card, {"model.onnx": b"nonsense", "weights.safetensors": b""})
    with pytest.raises(BackendError, match="ONNX Runtime refuses efficientnet-lite0"):
        OnnxRuntimeBackend().load(model, 1)


def test_logits_and_accuracy_over_the_labelled_photos(
    classifier: Classifier, shared_photos: Path
) -> None:
    reference = np.load(shared_photos.parent / "reference" / "efficientnet_lite0_logits.npz")
    hits, largest = 0, 0.0
    for name, logits, target in zip(
        reference["names"], reference["logits"], reference["target"], strict=True
    ):
        pixels = classifier.prepare(shared_photos / str(name)).pixels
        ours = classifier.infer(pixels[None])[0].logits
        largest = max(largest, float(np.abs(ours - logits).max()))
        hits += int(ours.argmax()) == int(target)
    assert largest <= 1e-3
    assert hits / len(reference["names"]) >= 0.885


def test_prepared_pictures_get_the_logits_behind_the_scores(
    classifier: Classifier, photos: Path
) -> None:
    names = ("chelsea.png", "coffee.png", "rocket.jpg")
    prepared = [classifier.prepare(photos / name) for name in names]
    answers = classifier.infer(np.stack([one.pixels for one in prepared]))
    for name, one, answer in zip(names, prepared, answers, strict=True):
        expected = classifier.classify(photos / name)
        assert answer.logits.argmax() == expected.top.index
        assert softmax(answer.logits).max() == pytest.approx(expected.top.score, abs=1e-6)
        assert one.image == expected.image
        assert min(answer.waited, answer.ran, one.decoding, one.preprocessing) > 0


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((1, 8, 8, 3), "uint8"), ((0,), "uint8"), ((), "uint8"), (None, "float32"), (0, "uint8")],
)
def test_pixels_of_another_type_or_shape_are_refused(
    dummy: Classifier, shape: tuple[int, ...] | int | None, kind: str
) -> None:
    side = dummy.card.recipe.crop
    batch = np.zeros(
        shape if isinstance(shape, tuple) else (0 if shape == 0 else 1, side, side, 3), kind
    )
    with pytest.raises(RequestError, match="takes uint8"):
        dummy.infer(batch)
