"""The native API over a real socket: answers, errors, limits, and who may come in."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from serving import FORM, ask, assert_problem, form, serving
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.errors import BackendError
from sightbox.settings import load_settings
from sightbox.web.app import create_app

TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    """The embedded model, served for all tests of this module."""
    with Classifier(home=home) as classifier, serving(classifier, home=home) as served:
        yield served


@pytest.fixture(scope="module")
def cat(photos: Path) -> bytes:
    """A photo of a cat, as a file."""
    return (photos / "chelsea.png").read_bytes()


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
        ("top_k=0", "at least 1"),
        ("top_k=many", "'many', which is no number"),
        ("top_k=1.5", "no number"),
        ("min_score=2", "from 0 to 1"),
        ("lang=xx", "lang can be en, zh or both"),
        ("topk=3", "no parameter 'topk'"),
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


@pytest.mark.parametrize("body", [form(), form(b"x", name="file"), b"", b"--a-boundary"])
def test_form_without_a_picture_is_a_bad_request(url: str, body: bytes) -> None:
    told = assert_problem(ask(url, "/v1/classify", body, FORM), 400, "bad_request")
    assert "image=@photo.jpg" in told


def test_model_that_is_not_loaded_is_not_found(url: str, cat: bytes) -> None:
    answer = ask(url, "/v1/classify?model=resnet18", cat)
    assert "answers with efficientnet-lite0" in assert_problem(answer, 404, "model_not_found")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nope", 404, "not_found"),
        ("/v1/models/nope", 404, "model_not_found"),
        ("/v1/models/..%2f..", 404, "not_found"),
        ("/v1/models/-x", 500, "bad_model"),
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
        assert ask(url, "/readyz")[0] == 200
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


def test_body_limit_has_a_sharp_edge(dummy: Classifier) -> None:
    with serving(dummy, max_body_mb=1) as url:
        fits = ask(url, "/v1/classify", b"x" * 1_000_000)
        too_large = ask(url, "/v1/classify", b"x" * 1_000_001)
    assert_problem(fits, 415, "unsupported_format")
    told = assert_problem(too_large, 413, "body_too_large")
    assert "larger than 1 MB" in told
    assert "max_body_mb" in told


def test_refused_client_may_finish_sending_and_reads_why(dummy: Classifier) -> None:
    with serving(dummy, max_body_mb=1) as url:
        answer = ask(url, "/v1/classify", b"x" * 20_000_000)
    assert_problem(answer, 413, "body_too_large")


def test_chunked_body_above_the_limit_is_refused(dummy: Classifier) -> None:
    with serving(dummy, max_body_mb=0.1) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        chunks = iter([b"x" * 60_000] * 2)
        connection.request("POST", "/v1/classify", chunks, encode_chunked=True)
        response = connection.getresponse()
        assert response.status == 413
        assert json.loads(response.read())["code"] == "body_too_large"
        connection.close()


def test_parts_limit_is_kept(dummy: Classifier, cat: bytes) -> None:
    with serving(dummy, max_parts=2) as url:
        assert ask(url, "/v1/classify", form(cat, cat), FORM)[0] == 200
        answer = ask(url, "/v1/classify", form(cat, cat, cat), FORM)
    assert_problem(answer, 413, "too_many_parts")


def test_malformed_request_line_is_a_problem(url: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.putrequest("GET", "/livez")
    connection.putheader("Content-Length", "ten")
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 400
    assert json.loads(response.read())["code"] == "bad_request"
    connection.close()


def test_every_answer_carries_the_guarding_headers(url: str, cat: bytes) -> None:
    answers = [ask(url, "/"), ask(url, "/nope"), ask(url, "/v1/classify", cat)]
    for _, headers, _ in answers:
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Server" not in headers
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8018"},
        {"Host": "192.168.1.5"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/v1/classify", "/v1/info", "/readyz"])
def test_pages_from_elsewhere_are_kept_out(
    url: str, cat: bytes, path: str, headers: dict[str, str]
) -> None:
    body = cat if path == "/v1/classify" else None
    assert_problem(ask(url, path, body, headers), 403, "forbidden")


def test_own_page_and_links_from_elsewhere_come_in(url: str, cat: bytes) -> None:
    host = urlsplit(url).netloc
    own = {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert ask(url, "/v1/classify", cat, own)[0] == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(url, "/", headers=link)[0] == 200
    port = urlsplit(url).port
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert ask(url, "/livez", headers={"Host": f"{name}:{port}"})[0] == 200


def test_allowed_host_comes_in(dummy: Classifier) -> None:
    with serving(dummy, allowed_hosts=("box.local",)) as url:
        assert ask(url, "/livez", headers={"Host": "box.local"})[0] == 200


def test_token_is_needed_for_everything_but_the_page_and_the_probes(
    dummy: Classifier, cat: bytes
) -> None:
    with serving(dummy, token=TOKEN) as url:
        for path in ("/", "/livez", "/readyz", "/static/icon.svg"):
            assert ask(url, path)[0] == 200
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            assert_problem(ask(url, "/v1/classify", cat, given), 401, "token_needed")
            assert_problem(ask(url, "/v1/info", headers=given), 401, "token_needed")
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(url, "/v1/classify", cat, right)[0] == 200
