"""The metrics, as a scraper reads them from a real server."""

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_families,
)
from prometheus_client.parser import text_string_to_metric_families

from serving import (
    END,
    FORM,
    ask,
    connect,
    form,
    part,
    running,
    say,
    serving,
)
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.errors import QueueFullError
from sightbox.settings import load_settings
from sightbox.tracing import STAGES
from sightbox.web.app import create_app

TOKEN = "a-token-of-this-test-alone"  # noqa: S105 - of this test alone
MODEL = "efficientnet-lite0"

Scraped = dict[str, float]


@pytest.fixture
def cat(photos: Path) -> bytes:
    return (photos / "chelsea.png").read_bytes()


def scrape(url: str, headers: Mapping[str, str] | None = None) -> Scraped:
    """Returns each sample of /metrics: its name and labels as text -> its value."""
    status, _, body = ask(url, "/metrics", headers=headers)
    assert status == 200
    return {
        " ".join([sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))]): (
            sample.value
        )
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def refusals(scraped: Scraped) -> dict[str, float]:
    """Returns how often each code was told."""
    prefix = "sightbox_refusals_total code="
    return {name.removeprefix(prefix): n for name, n in scraped.items() if name.startswith(prefix)}


def test_requests_are_counted_by_method_route_and_status(dummy: Classifier, cat: bytes) -> None:
    with serving(dummy) as url:
        for _ in range(2):
            assert ask(url, "/v1/classify?top_k=1", cat)[0] == 200
        ask(url, "/v1/classify", b"no picture")
        ask(url, f"/v1/models/{MODEL}")
        ask(url, "/no-such-path")
        ask(url, "/v1/classify")
        ask(url, "/livez", method="BREW")
        say(url, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nbad line\r\n\r\n")
        seen = scrape(url)
    counts = {
        tuple(part.partition("=")[2] for part in name.split(" ")[1:]): value
        for name, value in seen.items()
        if name.startswith("sightbox_requests_total")
    }
    assert counts == {
        ("POST", "/v1/classify", "200"): 2,
        ("POST", "/v1/classify", "415"): 1,
        ("GET", "/v1/models/<name>", "200"): 1,
        ("GET", "none", "404"): 1,
        ("GET", "none", "405"): 1,
        ("other", "none", "405"): 1,
        ("other", "refused", "400"): 1,
    }
    assert seen["sightbox_request_duration_seconds_count route=/v1/classify"] == 3


def test_each_picture_is_measured_in_each_stage(dummy: Classifier, cat: bytes) -> None:
    tensor = {"Inference-Header-Content-Length": "0"}
    with serving(dummy) as url:
        assert ask(url, "/v1/classify", cat)[0] == 200
        assert ask(url, "/v1/classify", form(cat, cat, b"no picture"), FORM)[0] == 200
        assert ask(url, f"/v2/models/{MODEL}_image/infer", cat, tensor)[0] == 200
        seen = scrape(url)
    counts = {
        stage: seen[f"sightbox_stage_duration_seconds_count stage={stage}"] for stage in STAGES
    }
    assert counts == {
        "accept": 3,
        "wait": 4,
        "decode": 4,
        "preprocess": 4,
        "queue": 4,
        "infer": 4,
        "encode": 3,
    }
    decoding = seen["sightbox_stage_duration_seconds_sum stage=decode"]
    whole = seen["sightbox_request_duration_seconds_sum route=/v1/classify"]
    assert decoding > 0
    assert whole > 0
    assert seen[f"sightbox_pictures_total model={MODEL}"] == 4
    assert refusals(seen) == {"unsupported_format": 1}


def test_refusals_are_counted_by_code_wherever_they_are_made(dummy: Classifier) -> None:
    given = {"Authorization": f"Bearer {TOKEN}"}
    head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"
    allowed = head + f"Authorization: Bearer {TOKEN}\r\n".encode()
    with serving(dummy, token=TOKEN, max_body_mb=0.001) as url:
        ask(url, "/v1/info")
        ask(url, "/v1/info", headers=given | {"Host": "evil.example"})
        say(url, head, b"Content-Length: 5\r\n\r\n")
        say(url, allowed, b"Content-Length: 1001\r\n\r\n")
        say(url, b"GET / HTTP/1.1\r\n", b"X: " + 20_000 * b"x", b"\r\n\r\n")
        say(url, allowed, b"bad line\r\n\r\n")
        ask(url, "/v1/classify", form(b"no picture"), given | FORM)
        seen = scrape(url, given)
    assert refusals(seen) == {
        "token_needed": 2,
        "forbidden": 1,
        "body_too_large": 1,
        "head_too_large": 1,
        "bad_request": 1,
        "unsupported_format": 1,
    }


def test_gauges_show_what_is_there_at_the_moment(home: Path, cat: bytes) -> None:
    inside, go_on = threading.Event(), threading.Event()
    proof = iter([True])

    def hold(_images: Pixels) -> None:
        if not next(proof, False):
            inside.set()
            go_on.wait()

    labels = f"model={MODEL} variant=fp32"
    with (
        Classifier(backend=DummyBackend(hold), home=home, queue_size=2) as classifier,
        serving(classifier) as url,
    ):
        asking = [threading.Thread(target=ask, args=(url, "/v1/classify", cat)) for _ in range(3)]
        asking[0].start()
        inside.wait()
        for thread in asking[1:]:
            thread.start()
        with connect(url) as upload:
            upload.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n12345")
            while (seen := scrape(url))["sightbox_buffered_bytes"] != 3 * len(cat) + 5:
                pass
        while (seen := scrape(url))[f"sightbox_queue_depth {labels}"] < 2:
            pass
        answer = ask(url, "/v1/classify", cat)
        go_on.set()
        for thread in asking:
            thread.join()
        after = scrape(url)
    assert (answer[0], answer[2]["code"]) == (503, QueueFullError.code)
    assert seen[f"sightbox_queue_capacity {labels}"] == 2
    assert seen["sightbox_connections"] >= 4
    assert seen["sightbox_buffered_limit_bytes"] == 256_000_000
    assert seen["sightbox_ready"] == 1
    assert seen["sightbox_process_threads"] > 16
    assert seen["sightbox_process_resident_memory_bytes"] > 10**7
    assert seen["sightbox_process_open_fds"] > 3
    assert after[f"sightbox_queue_depth {labels}"] == 0
    # One picture alone, then the two that waited together.
    assert after[f"sightbox_batch_size_count {labels}"] == 2
    assert after[f"sightbox_batch_size_sum {labels}"] == 3
    assert after[f"sightbox_batch_size_bucket le=1.0 {labels}"] == 1
    assert after[f"sightbox_batch_size_bucket le=2.0 {labels}"] == 2
    assert after[f"sightbox_batch_size_bucket le=+Inf {labels}"] == 2
    assert after[f"sightbox_model_info backend=dummy {labels}"] == 1
    assert refusals(after) == {QueueFullError.code: 1}


def test_broken_engine_and_stopping_server_are_not_ready(home: Path, cat: bytes) -> None:
    broken = threading.Event()

    def fail(_images: Pixels) -> None:
        if broken.is_set():
            raise RuntimeError

    settings = load_settings(port=0)
    with Classifier(backend=DummyBackend(fail), home=home) as classifier:
        app = create_app(classifier, settings)
        client = app.test_client()

        def ready() -> bool:
            return "sightbox_ready 1.0" in client.get("/metrics").get_data(as_text=True)

        with running(app, settings):
            assert ready()
            broken.set()
            assert client.post("/v1/classify", data=cat).status_code == 500
            assert not ready()
            broken.clear()
            while not ready():
                pass
        assert not ready()


def test_applications_of_one_process_count_for_themselves(dummy: Classifier) -> None:
    with serving(dummy) as one, serving(dummy) as other:
        ask(one, "/livez")
        name = "sightbox_requests_total method=GET route=/livez status=200"
        assert scrape(one)[name] == 1
        assert name not in scrape(other)


PLAIN, OPEN = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/html", PLAIN),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", PLAIN),
        ("application/openmetrics-text", OPEN),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.1", OPEN),
        ("application/openmetrics-text;q=0.1,text/plain;q=0.2", PLAIN),
        ("application/openmetrics-text;q=0", PLAIN),
        ("application/openmetrics-text;version=abc", OPEN),
    ],
)
def test_form_is_what_the_client_prefers(dummy: Classifier, accept: str, content_type: str) -> None:
    client = create_app(dummy, load_settings()).test_client()
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.content_type == f"{content_type}; charset=utf-8"
    text = answer.get_data(as_text=True)
    parse = open_families if content_type == OPEN else text_string_to_metric_families
    assert "sightbox_requests" in {family.name for family in parse(text)}
    assert text.endswith("# EOF\n") is (content_type == OPEN)


def test_metrics_need_the_token_where_one_is_set(dummy: Classifier) -> None:
    with serving(dummy, token=TOKEN) as url:
        assert ask(url, "/metrics")[0] == 401
        assert ask(url, "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})[0] == 200
        assert ask(url, "/livez")[0] == 200


def test_no_label_and_no_name_comes_from_a_client(dummy: Classifier) -> None:
    with serving(dummy) as url:
        ask(url, "/v1/models/evil1?evil2=evil3", headers={"X-Evil4": "evil5"}, method="EVIL6")
        ask(url, "/v1/models/evil1?lang=evil3")
        ask(url, "/evil7/..%0aevil8")
        ask(url, "/v1/classify", part(b"evil9", more='; filename="evil10"') + END, FORM)
        assert "evil" not in str(ask(url, "/metrics")[2]).lower()


def test_command_line_loads_no_metrics_for_its_help() -> None:
    program = (
        "import sys\nfrom sightbox.cli.commands import app\n"
        "try:\n    app(['--help'])\n"
        "except SystemExit:\n    assert 'prometheus_client' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
