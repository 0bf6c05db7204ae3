"""Preprocessing in less time: other bytes, the same shape, the same faults found."""

import io
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commandline import run
from serving import ask, assert_problem, serving
from sightbox.classifier import Classifier
from sightbox.errors import ImageError, ImageTooLargeError, RequestError
from sightbox.image import ImageLimits, decode_image
from sightbox.pictures import prepare_picture
from sightbox.prediction import Prediction
from sightbox.preprocessing import PREPROCESSINGS, Recipe, prepare

RECIPE = Recipe(64, 56, "bilinear")
ORIENTATION = 274
"""The EXIF tag."""


def _jpeg(photo: Path, size: tuple[int, int], orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = io.BytesIO()
    with Image.open(photo) as image:
        image.convert("RGB").resize(size).save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.fixture(scope="module")
def cat(photos: Path) -> bytes:
    """A JPEG that may be decoded at a quarter of its size."""
    return _jpeg(photos / "chelsea.png", (451, 300))


def test_jpeg_is_decoded_as_small_as_may_be(cat: bytes) -> None:
    for least, size in ((None, (451, 300)), (64, (113, 75)), (76, (226, 150)), (151, (451, 300))):
        image = decode_image(cat, least_side=least)
        assert image.pixels.size == size
        assert (image.width, image.height) == (451, 300)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_size_is_that_of_the_whole_picture(photos: Path, orientation: int) -> None:
    data = _jpeg(photos / "chelsea.png", (401, 303), orientation)
    whole, small = decode_image(data), decode_image(data, least_side=64)
    assert (small.width, small.height) == (whole.width, whole.height)
    assert (small.width > small.height) == (orientation < 5)
    assert small.pixels.size != whole.pixels.size
    assert (small.pixels.width > small.pixels.height) == (orientation < 5)


@pytest.mark.parametrize(
    ("size", "fit"), list(product([(451, 300), (300, 451), (70, 65), (64, 64)], ["crop", "pad"]))
)
def test_pixels_are_nearly_those_of_the_exact_way(
    photos: Path, size: tuple[int, int], fit: str
) -> None:
    recipe = Recipe(64, 56, "bilinear", fit)  # type: ignore[arg-type]  # one of its two values
    data = _jpeg(photos / "chelsea.png", size)
    exact, fast, nearest = (
        prepare_picture(data, recipe, ImageLimits(), way).pixels.astype(int)
        for way in PREPROCESSINGS
    )
    assert exact.shape == fast.shape == nearest.shape == (56, 56, 3)
    assert np.abs(fast - exact).mean() < 4
    assert np.abs(nearest - exact).mean() < 15


def test_fast_resizes_nothing_but_what_is_kept(photos: Path) -> None:
    with Image.open(photos / "chelsea.png") as image:
        exact, fast, nearest = (
            prepare(image.convert("RGB"), RECIPE, preprocessing=way).astype(int)
            for way in PREPROCESSINGS
        )
    assert np.abs(fast - exact).max() <= 1
    assert set(np.unique(nearest)) <= set(np.unique(np.asarray(Image.open(photos / "chelsea.png"))))


def test_faults_are_found_in_the_small_picture_too(cat: bytes) -> None:
    with pytest.raises(ImageError, match="cut short"):
        decode_image(cat[:-4000], least_side=64)
    with pytest.raises(ImageTooLargeError):
        decode_image(cat, ImageLimits(max_pixels=451 * 300 - 1), least_side=64)


@pytest.fixture(scope="module")
def classifier(home: Path) -> Iterator[Classifier]:
    """The embedded model, fast unless told otherwise."""
    with Classifier(home=home, preprocessing="fast") as made:
        yield made


def test_each_way_sees_the_same_and_says_which_size(classifier: Classifier, photos: Path) -> None:
    data = _jpeg(photos / "coffee.png", (1200, 800))
    answers = [classifier.classify(data, preprocessing=way) for way in PREPROCESSINGS]
    assert {answer.top.label["en"] for answer in answers} == {"espresso"}
    assert {(answer.image.width, answer.image.height) for answer in answers} == {(1200, 800)}
    assert len({answer.top.score for answer in answers}) == 3
    assert classifier.classify(data).top.score == answers[1].top.score
    (many,) = classifier.classify_many([data], preprocessing="nearest")
    assert isinstance(many, Prediction)
    assert many.top.score == answers[2].top.score


def test_unknown_way_is_refused(classifier: Classifier, home: Path) -> None:
    told = "There is no preprocessing 'quick'"
    with pytest.raises(RequestError, match=told):
        classifier.classify(b"", preprocessing="quick")
    with pytest.raises(RequestError, match=told):
        classifier.classify_many([], preprocessing="quick")
    with pytest.raises(RequestError, match=told):
        Classifier(home=home, preprocessing="quick")


def test_request_and_server_choose_the_way(classifier: Classifier, photos: Path) -> None:
    data = _jpeg(photos / "coffee.png", (1200, 800))
    expected = [
        round(classifier.classify(data, preprocessing=way).top.score, 6) for way in PREPROCESSINGS
    ]
    with serving(classifier, preprocessing="fast") as url:
        scores = [
            ask(url, f"/v1/classify?preprocessing={way}", data)[2]["predictions"][0]["score"]
            for way in PREPROCESSINGS
        ]
        unasked = ask(url, "/v1/classify", data)[2]["predictions"][0]["score"]
        refused = ask(url, "/v1/classify?preprocessing=quick", data)
    assert scores == pytest.approx(expected, abs=1e-5)
    assert unasked == pytest.approx(expected[1], abs=1e-5)
    assert "exact, fast or nearest" in assert_problem(refused, 400, "bad_request")


def test_command_line_chooses_the_way(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "coffee.jpg"
    file.write_bytes(_jpeg(photos / "coffee.png", (1200, 800)))
    scores = []
    for way in (["--preprocessing", "fast"], ["--exact"], []):
        code, out, _ = run("classify", file, "--json", *way)
        assert code == 0
        scores.append(json.loads(out)["results"][0]["predictions"][0]["score"])
    assert scores[0] != scores[1] == scores[2]
    assert run("classify", file, "--exact", "--preprocessing", "fast")[0] == 2
