"""POST /v1/walkthrough: the walk over HTTP, its limits and its errors."""

import base64
import io
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving import FORM, ask, assert_problem, form, serving
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier

PATH = "/v1/walkthrough"

TOKEN = "a-secret-of-16-letters"  # noqa: S105 - no secret

MAX_ANSWER_BYTES = 2_500_000
"""Most bytes of an answer: what noise, which nothing can compress, comes to, and a little more."""


@pytest.fixture(scope="module")
def url(classifier: Classifier, home: Path) -> Iterator[str]:
    """The embedded model, served for all tests of this module."""
    with serving(classifier, home=home) as served:
        yield served


@pytest.fixture(scope="module")
def told(url: str, cat: bytes) -> dict[str, Any]:
    """The answer for the cat."""
    status, _, answer = ask(url, PATH, cat)
    assert status == 200
    return dict(answer)


def decoded(address: str) -> Image.Image:
    """Returns the picture of a data URL."""
    head, _, text = address.partition(",")
    picture = Image.open(io.BytesIO(base64.b64decode(text)))
    assert head == f"data:image/{str(picture.format).lower()};base64"
    picture.load()
    return picture


def test_walk_names_what_classify_names(url: str, cat: bytes, told: dict[str, Any]) -> None:
    answer = ask(url, "/v1/classify", cat)[2]
    assert told["model"] == answer["model"] | {"title": "EfficientNet-Lite0"}
    assert [one["label"] for one in told["best"]] == [p["label"] for p in answer["predictions"]]
    assert [one["score"] for one in told["best"]] == pytest.approx(
        [p["score"] for p in answer["predictions"]], abs=2e-6
    )


def test_pictures_of_the_steps_are_pictures(told: dict[str, Any]) -> None:
    for step in told["steps"]:
        for address in step["photos"]:
            assert decoded(address).mode == "RGB"
        planes = [*step["planes"], *(p for a in step["additions"] for p in a["planes"])]
        for plane in planes:
            assert decoded(plane["png"]).mode == "P"
            assert plane["low"] <= plane["high"]
    stem = next(step for step in told["steps"] if step["kind"] == "stem")
    assert decoded(stem["planes"][0]["png"]).size == (112, 112)


def test_answer_is_bounded_whatever_the_picture(url: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    answer = ask(url, PATH, file.getvalue())[2]
    assert len(json.dumps(answer)) <= MAX_ANSWER_BYTES


def test_names_come_in_the_language_asked_for(url: str, cat: bytes) -> None:
    assert ask(url, f"{PATH}?lang=zh", cat)[2]["best"][0]["label"] == {"zh": "虎纹猫"}


def test_model_is_chosen_and_need_not_be_the_one_that_answers(home: Path, cat: bytes) -> None:
    """The dummy backend answers, and the network's own graph is walked all the same."""
    with Classifier(backend=DummyBackend(), home=home) as made, serving(made, home=home) as url:
        answer = ask(url, f"{PATH}?model=efficientnet-lite0", cat)[2]
    assert answer["model"]["backend"] == "onnxruntime"
    assert answer["best"][0]["label"]["en"] == "tiger cat"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?top_k=3", 400, "bad_request"),
        ("?lang=xx", 400, "bad_request"),
        ("?model=nothing", 404, "model_not_found"),
    ],
)
def test_wrong_parameter_is_told(url: str, cat: bytes, query: str, status: int, code: str) -> None:
    assert_problem(ask(url, PATH + query, cat), status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [(b"", 400, "bad_image"), (b"no picture", 415, "unsupported_format")],
)
def test_picture_that_cannot_be_read_is_told_as_by_classify(
    url: str, body: bytes, status: int, code: str
) -> None:
    assert assert_problem(ask(url, PATH, body), status, code) == assert_problem(
        ask(url, "/v1/classify", body), status, code
    )


def test_cut_off_picture_and_form_are_told(url: str, cat: bytes) -> None:
    assert_problem(ask(url, PATH, cat[:5000]), 400, "bad_image")
    assert_problem(ask(url, PATH, form(cat), FORM), 415, "unsupported_format")


def test_limits_of_the_settings_are_kept(classifier: Classifier, home: Path, cat: bytes) -> None:
    with serving(classifier, home=home, max_body_mb=0.1) as url:
        assert_problem(ask(url, PATH, cat), 413, "body_too_large")


def test_walk_needs_the_token_and_its_page_does_not(
    classifier: Classifier, home: Path, cat: bytes
) -> None:
    with serving(classifier, home=home, token=TOKEN) as url:
        assert_problem(ask(url, PATH, cat), 401, "token_needed")
        given = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(url, PATH, cat, given)[0] == 200
        assert ask(url, "/how-it-works")[0] == 200


def test_command_of_the_document_works_as_written(url: str, cat: bytes, tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "teaching.md").read_text("utf-8")
    (command,) = re.findall(r"^```sh\n(.*)\n```", page, re.MULTILINE)
    (tmp_path / "cat.jpg").write_bytes(cat)
    words = shlex.split(command.replace("http://127.0.0.1:8018", url))
    done = subprocess.run([*words, "-fsS"], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout)["best"][0]["label"] == {"en": "tiger cat"}
