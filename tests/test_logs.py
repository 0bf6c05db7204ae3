"""The log: what it tells, and what never gets into it."""

import hashlib
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Response
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from serving import (
    END,
    FORM,
    ask,
    assert_problem,
    form,
    part,
    running,
    say,
    serving,
)
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.logs import FORMATS, JsonFormatter, TextFormatter
from sightbox.settings import load_settings
from sightbox.tracing import DIGEST_DIGITS, STAGES, Trace, current_trace
from sightbox.web.app import create_app
from sightbox.web.observing import LISTED_PICTURES

MONITORING = Path(__file__).parents[1] / "docs" / "monitoring.md"
SERVE = [sys.executable, "-W", "error", "-m", "sightbox", "serve", "--port", "0"]
TOKEN = "a-secret-token-of-nobody"  # noqa: S105 - of this test alone
WORD = "Xq7Zkw"
"""A word that is in everything a client sends and in nothing of ours."""

Line = dict[str, Any]


@pytest.fixture
def cat(photos: Path) -> bytes:
    return (photos / "chelsea.png").read_bytes()


@contextmanager
def logging_to(formatter: logging.Formatter, level: int = logging.INFO) -> Iterator[io.StringIO]:
    """Collects what is logged inside, as `configure` would have it written."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter)
    handler.addFilter(lambda record: record.name != "waitress.queue")
    own, before = logging.getLogger("sightbox"), logging.getLogger("sightbox").level
    # Instead of pytest's own handlers, whose copy of half a character a second process cannot read.
    handlers, logging.root.handlers = logging.root.handlers, [handler]
    own.setLevel(level)
    try:
        yield written
    finally:
        logging.root.handlers = handlers
        own.setLevel(before)


def lines_of(written: io.StringIO) -> list[Line]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def served(*options: str, **environment: str) -> subprocess.Popen[str]:
    """Starts a server without an engine, whose log is in a pipe."""
    return subprocess.Popen(
        [*SERVE, "--backend", "dummy", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def test_line_of_a_request_tells_what_it_took(dummy: Classifier, cat: bytes) -> None:
    with logging_to(JsonFormatter()) as written, serving(dummy) as url:
        _, headers, answer = ask(url, "/v1/classify?top_k=1", cat)
    (line,) = lines_of(written)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    told = {name: line[name] for name in ("level", "logger", "method", "route", "status")}
    assert told == {
        "level": "info",
        "logger": "sightbox.access",
        "method": "POST",
        "route": "/v1/classify",
        "status": 200,
    }
    assert line["request_id"] == headers["X-Request-Id"]
    assert (line["bytes_in"], line["bytes_out"]) == (len(cat), int(headers["Content-Length"]))
    assert list(line["stages_ms"]) == list(STAGES)
    assert line["stages_ms"]["decode"] == answer["timings_ms"]["decode"]
    assert sum(line["stages_ms"].values()) <= line["duration_ms"]
    assert line["pictures"] == [
        {
            "format": "PNG",
            "width": 451,
            "height": 300,
            "bytes": len(cat),
            "sha256": hashlib.sha256(cat).hexdigest()[:DIGEST_DIGITS],
        }
    ]


def test_what_a_client_has_already_is_not_counted_as_sent(dummy: Classifier) -> None:
    with logging_to(JsonFormatter()) as written, serving(dummy) as url:
        _, headers, page = ask(url, "/")
        assert ask(url, "/", headers={"If-None-Match": headers["ETag"]})[0] == 304
        ask(url, "/", method="HEAD")
    assert [line["bytes_out"] for line in lines_of(written)] == [len(page), 0, 0]


def test_line_of_the_page_has_the_fields_of_a_real_one(dummy: Classifier, cat: bytes) -> None:
    page = MONITORING.read_text("utf-8")
    (shown,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    with logging_to(JsonFormatter()) as written, serving(dummy) as url:
        ask(url, "/v1/classify", cat)
    (line,) = lines_of(written)
    example = json.loads(shown)
    assert list(example) == list(line)
    assert list(example["stages_ms"]) == list(line["stages_ms"])
    assert list(example["pictures"][0]) == list(line["pictures"][0])


def test_line_of_a_form_counts_all_pictures_and_describes_some(
    dummy: Classifier, cat: bytes
) -> None:
    files = [*[cat] * (LISTED_PICTURES + 1), b"no picture", b"none either"]
    with logging_to(JsonFormatter()) as written, serving(dummy) as url:
        ask(url, "/v1/classify", form(*files), FORM)
    (line,) = lines_of(written)
    assert line["picture_count"] == LISTED_PICTURES + 1
    assert len(line["pictures"]) == LISTED_PICTURES
    assert line["problems"] == {"unsupported_format": 2}


def test_text_line_has_the_same_as_names_and_values(dummy: Classifier, cat: bytes) -> None:
    with logging_to(TextFormatter()) as written, serving(dummy) as url:
        ask(url, "/v1/classify", cat, {"X-Request-Id": "mine"})
    (line,) = written.getvalue().splitlines()
    assert "Z info sightbox.access answered request_id=mine method=POST route=/v1/cl" in line
    assert re.search(r" stages_ms=accept:[\d.]+,wait:[\d.]+,decode:[\d.]+,", line)
    assert re.search(r" pictures=format:PNG,width:451,height:300,bytes:\d+,sha256:\w{12}$", line)


def hostile_picture() -> bytes:
    """Returns a picture whose metadata have the secret in every place there is."""
    text, exif = PngInfo(), Image.Exif()
    text.add_text(WORD, WORD)
    text.add_itxt("Comment", f"{WORD}\n{WORD}")
    exif[0x010E] = WORD
    content = io.BytesIO()
    Image.new("RGB", (300, 300)).save(content, "PNG", pnginfo=text, exif=exif)
    return content.getvalue()


def send_hostile_requests(url: str, headers: dict[str, str]) -> int:
    """Sends the secret in every place of a request that there is; returns how many requests."""
    picture = hostile_picture()
    names = [f"{WORD}.png", f"../../{WORD}", f"{WORD}%0d%0a{WORD}", f"\x1b[31m{WORD}"]
    all_headers = headers | {
        "X-Request-Id": f"{WORD} {WORD}",
        "User-Agent": WORD,
        "Referer": f"http://{WORD}/",
        "Cookie": WORD,
        f"X-{WORD}": WORD,
        "Accept": f"text/{WORD}",
    }
    requests: list[tuple[str, bytes | None, dict[str, str]]] = [
        ("/v1/classify", picture, all_headers),
        ("/v1/classify", WORD.encode(), all_headers),
        *[
            ("/v1/classify", part(picture, more=f'; filename="{name}"') + END, all_headers | FORM)
            for name in names
        ],
        ("/v1/classify", part(WORD.encode(), name=WORD) + END, all_headers | FORM),
        (f"/v1/classify?{WORD}={WORD}", picture, all_headers),
        (f"/v1/classify?model={WORD}", picture, all_headers),
        (f"/v1/classify?top_k={WORD}", picture, all_headers),
        (f"/v1/models/{WORD}", None, all_headers),
        (f"/{WORD}%0d%0a{WORD}%00%1b%e2%80%a8/{WORD}", None, all_headers),
        (f"/static/{WORD}", None, all_headers),
        (f"/v2/models/{WORD}/infer", json.dumps({"id": WORD}).encode(), all_headers),
        ("/v2/models/efficientnet-lite0/infer", json.dumps([WORD]).encode(), all_headers),
        ("/v2/logging", WORD.encode(), all_headers),
        ("/livez", None, all_headers | {"Host": WORD}),
        ("/livez", None, all_headers | {"Origin": f"http://{WORD}"}),
        ("/v1/info", None, all_headers | {"Authorization": f"Bearer {WORD}"}),
        ("/v1/classify", picture, all_headers | {"Content-Encoding": WORD}),
        ("/v1/classify", picture, all_headers | {"Content-Type": f"multipart/{WORD}"}),
    ]
    for path, body, given in requests:
        ask(url, path, body, given)
    ask(url, "/livez", method=WORD.upper())
    say(url, f"{WORD} /{WORD} HTTP/1.1\r\n{WORD}: {WORD}\r\n{WORD}\r\n\r\n".encode())
    say(url, f"GET /{WORD}\r{WORD} HTTP/1.1\r\n\r\n".encode())
    say(url, f"GET http://[{WORD} HTTP/1.1\r\nHost: {WORD}\r\n\r\n".encode())
    return len(requests) + 4


@pytest.mark.parametrize("form_of_log", FORMATS)
def test_nothing_of_a_client_reaches_the_log(form_of_log: str) -> None:
    """In a real process, with all that is logged, and a token that is not told either."""
    given = ["--log-format", form_of_log, "--log-level", "debug"]
    with served(*given, SIGHTBOX_TOKEN=TOKEN) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        greeting = (process.stderr if form_of_log == "json" else process.stdout).readline()
        url = re.search(r"http://[\d.:]+", greeting)
        assert url is not None, greeting
        sent = send_hostile_requests(url.group(), {"Authorization": f"Bearer {TOKEN}"})
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate()
    assert process.returncode == 0
    lines = log.splitlines()
    assert WORD.lower() not in log.lower()
    assert TOKEN not in log
    assert log.isascii()
    assert len([line for line in lines if "sightbox.access" in line]) == sent
    if form_of_log == "json":
        assert all(isinstance(json.loads(line), dict) for line in lines)
        assert {"time", "level", "logger", "message"} <= set(json.loads(greeting))


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_control_characters_are_escaped(formatter: logging.Formatter) -> None:
    logger = logging.getLogger("sightbox.some.module")
    with logging_to(formatter) as written:
        logger.warning("one%s", "\r\n2026-01-01 forged \x1b[31m \x00 \x85 \u2028 \udc80 虎")
        logger.error("two", exc_info=ValueError("a\nb\x1b"))
    text = written.getvalue()
    if isinstance(formatter, JsonFormatter):
        assert len(text.splitlines()) == 2
    else:
        # Only a line that begins with a time is an event.
        assert [line[:2] for line in text.split("\n")[:-1]].count("20") == 2
        assert "虎" in text
    assert not set(text) & set("\r\x1b\x00\x85\u2028\udc80")
    assert "ValueError: a" in text


def test_bug_is_logged_with_its_place_and_without_its_words(dummy: Classifier) -> None:
    def stumble() -> str:
        try:
            int(WORD)
        except ValueError as error:
            raise LookupError(WORD) from error
        return ""

    settings = load_settings(port=0)
    app = create_app(dummy, settings)
    app.add_url_rule("/bug", view_func=stumble)
    with logging_to(JsonFormatter()) as written, running(app, settings) as server:
        answer = ask(server.url, "/bug")
    assert_problem(answer, 500, "error")
    bug, access = lines_of(written)
    assert WORD not in written.getvalue()
    assert bug["level"] == "error"
    assert bug["request_id"] == access["request_id"] == answer[1]["X-Request-Id"]
    trace = "\n".join(bug["trace"])
    assert "int(WORD)" in trace
    assert trace.index("ValueError (") < trace.index("LookupError (")
    assert (access["status"], access["problems"]) == (500, {"error": 1})


def test_failure_outside_of_the_application_is_logged_without_the_path(dummy: Classifier) -> None:
    settings = load_settings(port=0)
    app = create_app(dummy, settings)

    def stumble(environ: object, start: object) -> list[bytes]:
        raise LookupError(WORD)

    app.wsgi_app = stumble  # type: ignore[method-assign,assignment] # as a middleware would
    with logging_to(JsonFormatter()) as written, running(app, settings) as server:
        answer = ask(server.url, f"/{WORD}")
    assert_problem(answer, 500, "internal_server_error")
    failure, access = lines_of(written)
    assert WORD not in written.getvalue()
    assert failure["message"] == "Exception while serving a request"
    assert (access["route"], access["status"]) == ("refused", 500)


def test_failure_of_the_engine_is_logged_with_its_words(home: Path, cat: bytes) -> None:
    calls = iter([True])

    def fail(_images: Pixels) -> None:
        if next(calls, False):
            return
        raise RuntimeError("no memory left")

    with (
        Classifier(backend=DummyBackend(fail), home=home) as classifier,
        logging_to(JsonFormatter()) as written,
        serving(classifier) as url,
    ):
        ask(url, "/v1/classify", cat)
    engine = next(line for line in lines_of(written) if line["logger"] == "sightbox.batching")
    assert "no memory left" in "\n".join(engine["trace"])


def test_busy_server_logs_one_line_for_each_refusal(home: Path, cat: bytes) -> None:
    inside, go_on = threading.Event(), threading.Event()
    proof = iter([True])

    def hold(_images: Pixels) -> None:
        if not next(proof, False):
            inside.set()
            go_on.wait()

    with (
        Classifier(backend=DummyBackend(hold), home=home, queue_size=1) as classifier,
        logging_to(JsonFormatter()) as written,
        serving(classifier) as url,
    ):
        asking = [threading.Thread(target=ask, args=(url, "/v1/classify", cat)) for _ in range(2)]
        asking[0].start()
        inside.wait()
        asking[1].start()
        while not classifier.load.waiting:
            pass
        assert ask(url, "/v1/classify", cat)[0] == 503
        (line,) = lines_of(written)
        go_on.set()
        for thread in asking:
            thread.join()
    assert line["problems"] == {"queue_full": 1}


@pytest.mark.parametrize(
    ("given", "level"), [({"access_log": False}, logging.INFO), ({}, logging.WARNING)]
)
def test_lines_of_requests_can_be_left_out(
    dummy: Classifier, cat: bytes, given: dict[str, object], level: int
) -> None:
    with logging_to(JsonFormatter(), level) as written, serving(dummy, **given) as url:
        assert ask(url, "/v1/classify", cat)[0] == 200
    assert not written.getvalue()


def test_pictures_are_hashed_only_for_the_log(dummy: Classifier, cat: bytes) -> None:
    settings = load_settings(access_log=False)
    app = create_app(dummy, settings)
    seen: list[Trace | None] = []

    # Those that were added last run first.
    @app.after_request
    def look(response: Response) -> Response:
        seen.append(current_trace())
        return response

    assert app.test_client().post("/v1/classify", data=cat).status_code == 200
    (trace,) = seen
    assert trace is not None
    assert [picture.digest for picture in trace.pictures] == [None]
    assert current_trace() is None


def test_libraries_are_silent_but_for_warnings() -> None:
    """Pillow's debugging would tell the metadata of pictures."""
    program = (
        "import logging, warnings\nfrom sightbox.logs import configure\n"
        "configure('json', 'debug')\n"
        "logging.getLogger('PIL.TiffImagePlugin').debug('metadata')\n"
        "logging.getLogger('sightbox.x').debug('ours')\n"
        "warnings.warn('odd')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    ours, warning = [json.loads(line) for line in done.stderr.splitlines()]
    assert (ours["message"], ours["level"]) == ("ours", "debug")
    assert warning["logger"] == "py.warnings"
