"""The native API over a real socket: its answers and its errors."""

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from serving import FORM, ask, assert_problem, form, serving
from sightbox.backends import Arrays, Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.errors import BackendError
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.service import READY_SECONDS, Readiness


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    """The embedded model, served for all tests of this module."""
    with Classifier(home=home) as classifier, serving(classifier, home=home) as served:
        yield served


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        ("chelsea.png", {"tabby", "tiger cat", "Egyptian cat"}),
        ("coffee.png", {"espresso", "cup"}),
        ("rocket.jpg", {"missile", "projectile"}),
    ],
)
def test_raw_photo_is_classified(url: str, photos: Path, photo: str, expected: set[str]) -> None:
    status, headers, answer = ask(url, "/v1/classify", (photos / photo).read_bytes())
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert answer["predictions"][0]["label"]["en"] in expected
    assert set(answer["predictions"][0]["label"]) == {"en", "zh"}
    assert answer["model"] == {
        "name": "efficientnet-lite0",
        "variant": "fp32",
        "backend": "onnxruntime",
    }
    assert set(answer["timings_ms"]) == {"decode", "preprocess", "queue", "infer", "total"}


def test_declared_content_type_does_not_matter(url: str, cat: bytes) -> None:
    for kind in ("application/x-www-form-urlencoded", "image/jpeg", "text/plain"):
        assert ask(url, "/v1/classify", cat, {"Content-Type": kind})[0] == 200


def test_parameters_shape_the_answer(url: str, cat: bytes) -> None:
    _, _, answer = ask(url, "/v1/classify?top_k=2&lang=zh&model=efficientnet-lite0", cat)
    assert [list(p["label"]) for p in answer["predictions"]] == [["zh"], ["zh"]]
    assert ask(url, "/v1/classify?min_score=1", cat)[2]["predictions"] == []


def test_settings_are_the_defaults_of_the_parameters(dummy: Classifier, cat: bytes) -> None:
    with serving(dummy, top_k=3) as url:
        assert len(ask(url, "/v1/classify", cat)[2]["predictions"]) == 3
        assert len(ask(url, "/v1/classify?top_k=2", cat)[2]["predictions"]) == 2
    with serving(dummy, min_score=0.5) as url:
        assert len(ask(url, "/v1/classify", cat)[2]["predictions"]) == 1
        assert len(ask(url, "/v1/classify?min_score=0", cat)[2]["predictions"]) == 5


class FlatBackend(DummyBackend):
    """Finds all classes equally likely."""

    def run(self, images: Pixels, outputs: Sequence[str] = ("logits",)) -> Arrays:
        return {name: 0 * array for name, array in super().run(images, outputs).items()}


def test_score_equal_to_the_least_score_is_named(home: Path, cat: bytes) -> None:
    """Each of 1,000 classes has exactly 1 / 1000: in, and out by the smallest step above."""
    with Classifier(backend=FlatBackend(), home=home) as flat, serving(flat) as url:
        for least, expected in ((0.001, 5), (math.nextafter(0.001, 1), 0)):
            answer = ask(url, f"/v1/classify?min_score={least!r}", cat)[2]
            assert len(answer["predictions"]) == expected


def test_form_gives_results_in_order_with_errors_in_place(url: str, cat: bytes) -> None:
    status, _, answer = ask(url, "/v1/classify?top_k=1", form(cat, b"junk", cat), FORM)
    assert status == 200
    assert [next(iter(result)) for result in answer["results"]] == ["model", "error", "model"]
    assert answer["results"][1]["error"]["status"] == 415


def test_form_with_one_picture_still_is_a_list(url: str, cat: bytes) -> None:
    assert len(ask(url, "/v1/classify", form(cat), FORM)[2]["results"]) == 1


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("top_k=0", "top_k is '0'. It can be from 1 to 1,000,000."),
        ("top_k=1000001", "from 1 to 1,000,000"),
        ("top_k=" + "9" * 5000, "from 1 to 1,000,000"),
        ("top_k=many", "'many', which is no whole number"),
        ("top_k=1.5", "no whole number"),
        ("top_k=1_0", "no whole number"),
        ("top_k=%2B1", "no whole number"),
        ("top_k=%D9%A1", "no whole number"),
        ("top_k=1e400", "no whole number"),
        ("top_k=", "no whole number"),
        ("min_score=2", "from 0 to 1"),
        ("min_score=1e400", "from 0 to 1"),
        ("min_score=-1e-9", "from 0 to 1"),
        ("min_score=nan", "'nan', which is no number"),
        ("min_score=infinity", "no number"),
        ("min_score=%200.5", "no number"),
        ("preprocessing=best", "It can be exact, fast or nearest."),
        ("explain=yes", "explain is 'yes', which is no truth value. It can be true or false."),
        ("explain=True", "true or false"),
        ("top_k=1&top_k=1", "top_k is given 2 times"),
        ("top_k=%FF", "not UTF-8"),
        ("lang=", "lang can be en, zh or both"),
        ("=1", "no parameter ''"),
        ("lang=xx", "lang can be en, zh or both"),
        ("topk=3", "no parameter 'topk'"),
        ("topk=3", "There are: top_k, lang, model, variant, min_score, preprocessing, explain."),
    ],
)
def test_bad_parameter_is_a_bad_request(url: str, cat: bytes, query: str, told: str) -> None:
    assert told in assert_problem(ask(url, f"/v1/classify?{query}", cat), 400, "bad_request")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_image"),
        (b"hello", 415, "unsupported_format"),
        (b"\x89PNG\r\n\x1a\n", 400, "bad_image"),
    ],
)
def test_bad_picture_has_its_own_error(url: str, body: bytes, status: int, code: str) -> None:
    assert_problem(ask(url, "/v1/classify", body), status, code)


def test_truncated_photo_is_a_bad_image_and_the_next_one_is_fine(url: str, cat: bytes) -> None:
    assert_problem(ask(url, "/v1/classify", cat[: len(cat) // 2]), 400, "bad_image")
    assert ask(url, "/v1/classify", cat)[0] == 200


def test_one_bad_picture_among_seven_good_ones_at_once(url: str, cat: bytes) -> None:
    bodies = [cat] * 7 + [cat[:5000]]
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda b=body: found.append(ask(url, "/v1/classify", b)[0]))
        for body in bodies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200] * 7 + [400]


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/labels?x=1", "There are: lang, model."),
        ("/v1/models?lang=en", "This route takes none."),
        ("/v1/models/efficientnet-lite0?x", "This route takes none."),
        ("/v1/info?x", "This route takes none."),
    ],
)
def test_unknown_parameter_is_refused_everywhere(url: str, path: str, known: str) -> None:
    assert known in assert_problem(ask(url, path), 400, "bad_request")


def test_probe_may_carry_any_parameter(url: str) -> None:
    assert ask(url, "/livez?against-caches=1")[0] == 200


@pytest.mark.parametrize("body", [form(), form(b"x", name="file")])
def test_form_without_a_picture_is_a_bad_request(url: str, body: bytes) -> None:
    told = assert_problem(ask(url, "/v1/classify", body, FORM), 400, "bad_request")
    assert "image=@photo.jpg" in told


def test_model_that_is_not_here_is_not_found(url: str, cat: bytes) -> None:
    answer = ask(url, "/v1/classify?model=resnet18", cat)
    assert "Here are: efficientnet-lite0." in assert_problem(answer, 404, "model_not_found")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nope", 404, "not_found"),
        ("/v1/models/nope", 404, "model_not_found"),
        ("/v1/models/..%2f..", 404, "not_found"),
        ("/v1/models/%2Fx", 404, "not_found"),
        ("/v1//models", 404, "not_found"),
        ("/v1/models/-x", 404, "model_not_found"),
        ("/v1/models/a%20b", 404, "model_not_found"),
        ("/v1/models/%00", 404, "model_not_found"),
        ("/v1/models/%ff", 404, "model_not_found"),
        ("/v1/classify", 405, "method_not_allowed"),
        ("/v1/labels?lang=xx", 400, "bad_request"),
    ],
)
def test_every_error_is_a_problem(url: str, path: str, status: int, code: str) -> None:
    assert_problem(ask(url, path), status, code)


def test_models_tell_their_cards(url: str) -> None:
    listed = ask(url, "/v1/models")[2]
    assert listed["default"] == "efficientnet-lite0"
    assert [model["name"] for model in listed["models"]] == ["efficientnet-lite0"]
    card = ask(url, "/v1/models/efficientnet-lite0")[2]
    assert card == listed["models"][0]
    assert (card["classes"], card["input"]["crop"], card["loaded"]) == (1000, 224, True)


def test_asking_for_a_model_that_is_not_here_makes_nothing(
    dummy: Classifier, tmp_path: Path
) -> None:
    dummy.card = replace(dummy.card, name="another")
    dummy.model = replace(dummy.model, card=dummy.card)
    home = tmp_path / "home"
    with serving(dummy, home=home) as url:
        answer = ask(url, "/v1/models/efficientnet-lite0")
        assert [model["name"] for model in ask(url, "/v1/models")[2]["models"]] == ["another"]
    assert "another" in assert_problem(answer, 404, "model_not_found")
    assert not home.exists()


def test_damaged_model_is_listed_with_its_problem(dummy: Classifier, tmp_path: Path) -> None:
    (tmp_path / "models" / "broken").mkdir(parents=True)
    with serving(dummy, home=tmp_path) as url:
        listed = ask(url, "/v1/models")[2]["models"]
        assert_problem(ask(url, "/v1/models/broken"), 500, "bad_model")
    assert [model["name"] for model in listed] == ["broken", "efficientnet-lite0"]
    assert listed[0] | {"problem": ""} == {"name": "broken", "loaded": False, "problem": ""}
    assert "no readable card" in listed[0]["problem"]
    assert str(tmp_path) not in listed[0]["problem"]


def test_labels_are_listed(url: str) -> None:
    labels = ask(url, "/v1/labels")[2]
    assert labels["languages"] == ["en", "zh"]
    assert len(labels["labels"]) == 1000
    assert labels["labels"][281] == {
        "index": 281,
        "wnid": "n02123045",
        "label": {"en": "tabby", "zh": "虎斑猫"},
    }
    assert ask(url, "/v1/labels?lang=zh")[2]["labels"][0]["label"] == {"zh": "丁鱥"}


def test_info_tells_versions_machine_and_limits(url: str) -> None:
    info = ask(url, "/v1/info")[2]
    assert info["limits"]["max_body_mb"] == 32
    assert info["machine"]["threads"] >= 1


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/ping"])
def test_probes_answer(url: str, path: str) -> None:
    assert ask(url, path)[0] == 200


def test_broken_engine_is_alive_but_not_ready(home: Path, cat: bytes) -> None:
    broken = threading.Event()

    def fail(_images: Pixels) -> None:
        if broken.is_set():
            raise BackendError("Out of order.")

    with (
        Classifier(backend=DummyBackend(fail), home=home) as classifier,
        serving(classifier) as url,
    ):
        broken.set()
        assert ask(url, "/livez")[0] == 200
        answer = ask(url, "/readyz")
        assert_problem(answer, 503, "not_ready")
        assert answer[1]["Retry-After"] == "1"
        assert_problem(ask(url, "/v1/classify", cat), 500, "backend_failed")
        broken.clear()
        while ask(url, "/readyz")[0] != 200:
            pass
        assert ask(url, "/v1/classify", cat)[0] == 200


def test_proof_of_readiness_is_good_for_a_second_and_a_failure_for_none(home: Path) -> None:
    runs: list[int] = []
    broken = threading.Event()
    now = [0.0]

    def count(images: Pixels) -> None:
        runs.append(len(images))
        if broken.is_set():
            raise BackendError("Out of order.")

    with Classifier(backend=DummyBackend(count), home=home) as classifier:
        readiness = Readiness(clock=lambda: now[0])
        runs.clear()
        for now[0], expected in ((0, 1), (READY_SECONDS - 0.001, 1), (READY_SECONDS, 2)):
            readiness.check(classifier)
            assert len(runs) == expected
        now[0] = 10
        broken.set()
        with pytest.raises(BackendError, match="Out of order"):
            readiness.check(classifier)
        with pytest.raises(BackendError):
            readiness.check(classifier)
        broken.clear()


def test_bug_in_the_engine_is_told_without_its_words(
    home: Path, cat: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    calls = iter([None])

    def stumble(_images: Pixels) -> None:
        if next(calls, 0) == 0:
            raise ZeroDivisionError("a secret of the inside")

    with Classifier(backend=DummyBackend(stumble), home=home) as one, serving(one) as url:
        answer = ask(url, "/v1/classify", cat)
    assert "secret" not in assert_problem(answer, 500, "backend_failed")
    assert "a secret of the inside" in caplog.text


def test_bug_is_told_without_its_trace(dummy: Classifier, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(dummy, load_settings())

    def stumble() -> str:
        raise ZeroDivisionError("a secret of the inside")

    app.add_url_rule("/bug", view_func=stumble)
    answer = app.test_client().get("/bug")
    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert "secret" not in answer.get_data(as_text=True)
    assert "a secret of the inside" in caplog.text
