"""Limits at their edges, and requests that are malformed, cut short or never end."""

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from serving import (
    END,
    FORM,
    ask,
    assert_problem,
    connect,
    form,
    gated,
    hear,
    part,
    running,
    say,
    serving,
)
from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web import connections
from sightbox.web.app import create_app

HEADER_BYTES = 16_000
"""The default of the setting `max_header_kb`."""

POST = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HEAD_BYTES = 16_000
TEXT_BYTES = 500_000


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
    told = assert_problem(answer, 413, "too_many_parts")
    assert "more than 2 parts" in told
    assert "max_parts" in told


def test_malformed_request_line_is_a_problem(url: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.putrequest("GET", "/livez")
    connection.putheader("Content-Length", "ten")
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 400
    assert json.loads(response.read())["code"] == "bad_request"
    connection.close()


def test_text_limit_of_a_form_has_a_sharp_edge(url: str, cat: bytes) -> None:
    half = part(b"x" * (TEXT_BYTES // 2), "note", "")
    for more, status in ((b"", 200), (part(b"x", "note", ""), 413)):
        answer = ask(url, "/v1/classify", half + half + more + form(cat), FORM)
        assert answer[0] == status
    told = assert_problem(answer, 413, "too_much_text")
    assert "more than 500 kB beside its files" in told
    assert "max_text_kb" in told


def test_endless_head_of_a_part_is_too_much_text(url: str) -> None:
    body = b'--a-boundary\r\nContent-Disposition: form-data; name="' + b"x" * 1_000_000
    assert_problem(ask(url, "/v1/classify", body, FORM), 413, "too_much_text")


def test_large_file_of_another_name_is_passed_over(url: str, cat: bytes) -> None:
    other = part(b"x" * (2 * TEXT_BYTES), "other")
    assert len(ask(url, "/v1/classify", other + form(cat), FORM)[2]["results"]) == 1


def test_picture_sent_as_a_text_is_a_bad_request(url: str, cat: bytes) -> None:
    """Left out, it would shift the places of the other results."""
    body = part(cat) + part(cat, more="") + END
    told = assert_problem(ask(url, "/v1/classify", body, FORM), 400, "bad_request")
    assert "text and no file" in told
    assert "image=@photo.jpg" in told


@pytest.mark.parametrize("kept", [0, 5, 40, 80, 5_000, -len(END), -3])
def test_form_that_is_cut_short_is_a_bad_request(url: str, cat: bytes, kept: int) -> None:
    body = form(cat)[:kept]
    told = assert_problem(ask(url, "/v1/classify", body, FORM), 400, "bad_request")
    assert "cut short" in told


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("multipart/form-data", form(b"x"), "names no boundary"),
        ('multipart/form-data; boundary="\xe9"', form(b"x"), "cut short"),
        (FORM["Content-Type"], b"--a-boundary\r\nX: y\r\n\r\nx\r\n" + END, "malformed"),
    ],
)
def test_malformed_form_is_a_bad_request(url: str, kind: str, body: bytes, told: str) -> None:
    answer = ask(url, "/v1/classify", body, {"Content-Type": kind})
    assert told in assert_problem(answer, 400, "bad_request")


def test_head_limit_has_a_sharp_edge(url: str) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Padding: "
    fits = head.ljust(HEAD_BYTES - 4, b"x")
    assert say(url, fits, b"\r\n\r\n")[0] == 200
    answer = say(url, fits, b"x\r\n\r\n")
    told = assert_problem(answer, 431, "head_too_large")
    assert "larger than 16 kB" in told
    assert "max_header_kb" in told


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v2/health/live HTTP/1.1\r\n",
        b"\r\nPOST /v2/models?x=1 HTTP/1.1\r\n",
        b"GET http://localhost/v2 HTTP/1.1\r\n",
        b"GET /v2/",
    ],
)
@pytest.mark.parametrize("sent", ["at once", "in two"])
def test_head_that_is_too_large_is_refused_in_the_form_of_its_path(
    url: str, line: bytes, sent: str
) -> None:
    rest = b"X:".ljust(HEADER_BYTES, b"x")
    with connect(url) as connection:
        connection.sendall(line + rest[:9] if sent == "in two" else line + rest)
        if sent == "in two":
            connection.sendall(rest[9:] + b"\r\n\r\n")
        status, headers, body = hear(connection)
    assert (status, headers["Content-Type"], list(body)) == (431, "application/json", ["error"])


@pytest.mark.parametrize("line", [b"", b"GET", b"GET /livez", b"GET http://[/v2 HTTP/1.1\r\n"])
def test_head_that_is_too_large_and_names_no_dialect_is_a_problem(url: str, line: bytes) -> None:
    answer = say(url, line, b"x" * (HEADER_BYTES + 1))
    assert_problem(answer, 431, "head_too_large")


@pytest.mark.parametrize(
    ("head", "status", "told"),
    [
        (b"GET http://[ HTTP/1.1\r\n", 400, "cannot be read."),
        (b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n", 400, "cannot be read."),
        (b"GET / HTTP/1.1\r\nno colon\r\n", 400, "Invalid header."),
        (POST + b"Transfer-Encoding: gzip\r\n", 501, "requested is not supported."),
        (POST + b"Content-Length: 5\r\n" + CHUNKED, 400, "neither Content-Length nor"),
        (POST + CHUNKED + b"Content-Length: 5\r\n", 400, "neither Content-Length nor"),
        (POST + b"Transfer-Encoding:\r\nContent-Length: 5\r\n", 400, "neither Content-Length"),
        (POST.replace(b"1.1", b"1.0") + CHUNKED, 400, "nor HTTP/1.0."),
    ],
)
def test_malformed_head_is_a_problem(url: str, head: bytes, status: int, told: str) -> None:
    """Two lengths in one request let a second one be smuggled in (RFC 9112, section 6.3)."""
    answer = say(url, head, b"\r\n")
    code = {400: "bad_request", 501: "not_implemented"}[status]
    text = assert_problem(answer, status, code).strip()
    assert told in text
    assert not text.endswith("..")


@pytest.mark.parametrize("start", [b"", b"1\r\nx\r\n", b"0\r\nX: "])
def test_endless_line_between_chunks_is_refused(url: str, start: bytes) -> None:
    """Waitress would search it from its start again with each packet."""
    answer = say(url, POST, CHUNKED, b"\r\n", start, b"1" * (3 * HEAD_BYTES))
    assert "max_header_kb" in assert_problem(answer, 400, "bad_request")


def test_body_that_will_be_refused_is_not_asked_for(url: str) -> None:
    answer = say(url, POST, b"Content-Length: 99000000\r\nExpect: 100-continue\r\n\r\n")
    assert_problem(answer, 413, "body_too_large")


def test_request_without_a_body_may_expect_to_go_on(url: str) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n"
    assert say(url, head)[0] == 200


def test_refused_client_that_never_ends_is_cut_off(
    dummy: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LINGER_BYTES", 1_000_000)
    with serving(dummy, max_body_mb=1) as url, connect(url) as connection:
        connection.sendall(POST + b"Content-Length: 9000000000\r\n\r\n")
        assert hear(connection)[0] == 413
        with pytest.raises(OSError, match=r"reset|pipe"):
            connection.sendall(b"x" * 100_000_000)


def test_uploads_in_memory_have_a_sharp_limit_over_all_connections(
    dummy: Classifier, cat: bytes
) -> None:
    """Stalls three uploads of 2 MB in all; one byte more is refused, and others are answered."""
    settings = load_settings(port=0, max_body_mb=1, max_buffered_mb=2)
    with running(create_app(dummy, settings), settings) as server:
        stalled = [connect(server.url) for _ in range(3)]
        for connection, size in zip(stalled, (900_000, 900_000, 200_000), strict=True):
            connection.sendall(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * size)
        while server._waitress.buffered.count() < 2_000_000:
            pass
        stalled[-1].sendall(b"x")
        answer = hear(stalled[-1])
        told = assert_problem(answer, 503, "too_many_uploads")
        assert "2 MB" in told
        assert "max_buffered_mb" in told
        assert answer[1]["Retry-After"] == "1"
        assert ask(server.url, "/livez")[0] == 200
        for connection in stalled:
            connection.close()
        while server._waitress.buffered.count():
            pass
        assert ask(server.url, "/v1/classify", cat)[0] == 200


def test_two_largest_uploads_always_find_room(dummy: Classifier) -> None:
    settings = load_settings(port=0, max_body_mb=1024)
    with running(create_app(dummy, settings), settings) as server:
        assert server._waitress.buffered.limit == 2 * 1024 * 1_000_000
    settings = load_settings(port=0)
    with running(create_app(dummy, settings), settings) as server:
        assert server._waitress.buffered.limit == 256_000_000


def test_upload_counts_while_it_waits_even_if_its_client_has_gone(home: Path, cat: bytes) -> None:
    settings = load_settings(port=0, http_threads=1)
    with (
        gated(home) as (classifier, gate),
        running(create_app(classifier, settings), settings) as server,
    ):
        try:
            head = POST + f"Content-Length: {len(cat)}\r\n\r\n".encode()
            with connect(server.url) as one:
                one.sendall(head + cat)
                assert gate.entered.wait(60)
                with connect(server.url) as other:
                    other.sendall(head + cat)
                    while server._waitress.buffered.count() < 2 * len(cat):
                        pass
                assert server._waitress.buffered.count() == 2 * len(cat)
                gate.open.set()
                assert hear(one)[0] == 200
            while server._waitress.buffered.count():
                pass
        finally:
            gate.open.set()
