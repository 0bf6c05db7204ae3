"""More requests than can be answered: refused at once, and signs of life given all the same."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from serving import Clock, ask, assert_problem, connect, hear, running, undecoded
from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.server import Server

PROBES = ("/livez", "/healthz", "/ping", "/v2/health/live", "/readyz", "/v2/health/ready")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def go_on(dummy: Classifier) -> Iterator[threading.Event]:
    """Keeps every picture from being decoded until it is set."""
    event, turns = threading.Event(), ExitStack()
    turns.enter_context(undecoded(dummy))

    def release() -> None:
        event.wait()
        turns.close()

    thread = threading.Thread(target=release)
    thread.start()
    yield event
    event.set()
    thread.join()


@pytest.fixture
def full(
    dummy: Classifier, cat: bytes, clock: Clock, go_on: threading.Event
) -> Iterator[tuple[Server, list[int]]]:
    """A server with one thread, which is busy, and two requests that wait for it: its limit."""
    settings = load_settings(port=0, http_threads=1, queue_size=2)
    statuses: list[int] = []
    with running(create_app(dummy, settings), settings, clock) as made:

        def post() -> None:
            statuses.append(ask(made.url, "/v1/classify", cat)[0])

        threads = [threading.Thread(target=post) for _ in range(3)]
        for thread in threads:
            thread.start()
        while made._waitress.waiting < 2 or not dummy.decoder.budget.waiting:
            pass
        try:
            yield made, statuses
        finally:
            go_on.set()
            for thread in threads:
                thread.join()


def posted(picture: bytes, length: int | None = None) -> bytes:
    head = (
        f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length or len(picture)}"
    )
    return head.encode() + b"\r\n\r\n" + picture


def test_request_beyond_the_queue_is_refused_at_once_and_may_ask_again(
    full: tuple[Server, list[int]], cat: bytes, go_on: threading.Event
) -> None:
    server, statuses = full
    with connect(server.url) as connection:
        for _ in range(3):
            connection.sendall(posted(cat))
            answer = hear(connection)
            told = assert_problem(answer, 503, "queue_full")
            assert "2 requests wait already" in told
            assert "queue_size" in told
            assert answer[1]["Retry-After"] == "1"
        assert statuses == []
        go_on.set()
        while len(statuses) < 3:
            pass
        connection.sendall(posted(cat))
        assert hear(connection)[0] == 200
    assert statuses == [200] * 3


def test_large_upload_beyond_the_queue_is_refused_before_its_body(
    full: tuple[Server, list[int]],
) -> None:
    with connect(full[0].url) as connection:
        connection.sendall(posted(b"", 20_000_000))
        assert_problem(hear(connection), 503, "queue_full")


def test_refusal_of_head_has_no_body(full: tuple[Server, list[int]]) -> None:
    with connect(full[0].url) as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        heard = b""
        while b"alive" not in heard:
            heard += connection.recv(65_536)
    assert heard.startswith(b"HTTP/1.1 503")
    assert heard.count(b"HTTP/1.1") == 2
    assert b"queue_full" not in heard


@pytest.mark.parametrize("path", PROBES)
def test_probe_does_not_wait_behind_pictures(full: tuple[Server, list[int]], path: str) -> None:
    server, statuses = full
    assert ask(server.url, path)[0] == 200
    assert statuses == []


def test_request_that_waited_too_long_for_a_thread_is_not_computed(
    full: tuple[Server, list[int]], clock: Clock, go_on: threading.Event
) -> None:
    """The one that is worked on began in time; the two behind it are given up."""
    server, statuses = full
    clock.now += 30.5
    go_on.set()
    while len(statuses) < 3:
        pass
    assert sorted(statuses) == [200, 504, 504]
    assert ask(server.url, "/livez")[0] == 200


def test_overload_keeps_its_order_and_loses_nothing(
    full: tuple[Server, list[int]], cat: bytes, go_on: threading.Event
) -> None:
    """Fifty more than fit: each is told at once, none takes the place of an accepted one."""
    server, statuses = full
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server.url)) for _ in range(50)]
        for connection in connections:
            connection.sendall(posted(cat))
        assert [hear(connection)[0] for connection in connections] == [503] * 50
    assert server._waitress.waiting == 2
    go_on.set()
    while len(statuses) < 3:
        pass
    assert statuses == [200] * 3
