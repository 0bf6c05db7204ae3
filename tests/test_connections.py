"""Connections under pressure: time limits, numbers of them, clients that do not read."""

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import SupportsIndex

import pytest

from serving import Clock, ask, assert_problem, connect, hear, running, serving
from sightbox.classifier import Classifier
from sightbox.machine import allow_open_files
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.connections import Channel
from sightbox.web.listening import REFUSALS
from sightbox.web.receiving import Request
from sightbox.web.server import Server

POST = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
LABELS = b"GET /v1/labels HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(dummy: Classifier, clock: Clock) -> Iterator[Server]:
    """A server whose time stands still."""
    settings = load_settings(port=0)
    with running(create_app(dummy, settings), settings, clock) as made:
        yield made


def channel_of(server: Server, connection: socket.socket) -> Channel:
    """Returns the server's end of a connection, as soon as it is accepted."""
    while True:
        channels: tuple[Channel, ...] = tuple(server._waitress.active_channels.values())
        for channel in channels:
            if channel.addr == connection.getsockname():
                return channel


def turn(server: Server, clock: Clock, seconds: float) -> None:
    """Turns the clock forward, and lets the server look at it."""
    clock.now += seconds
    assert ask(server.url, "/livez")[0] == 200


def trickle(server: Server, clock: Clock, connection: socket.socket, data: bytes) -> None:
    """Sends bytes, and waits until the server has them."""
    connection.sendall(data)
    channel = channel_of(server, connection)
    while channel.touched < clock.now or channel.request is None:
        pass


def test_silent_connection_is_closed_at_a_sharp_time(server: Server, clock: Clock) -> None:
    with connect(server.url) as silent:
        channel_of(server, silent)
        turn(server, clock, 20)
        silent.sendall(LIVEZ)
        assert hear(silent)[0] == 200
        turn(server, clock, 20)
        assert len(server._waitress.active_channels) >= 1
        turn(server, clock, 1)
        assert silent.recv(1) == b""


def test_request_that_pauses_is_told_why(server: Server, clock: Clock) -> None:
    with connect(server.url) as paused:
        trickle(server, clock, paused, POST + b"Content-Length: 9\r\n\r\nabc")
        turn(server, clock, 20)
        turn(server, clock, 1)
        told = assert_problem(hear(paused), 408, "request_too_slow")
        assert "paused for more than 20 s" in told
        assert "idle_seconds" in told
        assert paused.recv(1) == b""


@pytest.mark.parametrize("start", [b"", POST + b"Content-Length: 999\r\n\r\n"])
def test_request_that_trickles_has_an_absolute_time(
    server: Server, clock: Clock, start: bytes
) -> None:
    """A byte every 15 seconds is never silent, in the head or in the body."""
    with connect(server.url) as slow:
        trickle(server, clock, slow, start + b"P")
        for _ in range(8):
            turn(server, clock, 15)
            trickle(server, clock, slow, b"x")
        assert server._waitress.clock() - 1000 == 120
        turn(server, clock, 1)
        told = assert_problem(hear(slow), 408, "request_too_slow")
        assert "took more than 120 s" in told
        assert "request_seconds" in told


def test_next_request_has_time_of_its_own(server: Server, clock: Clock) -> None:
    with connect(server.url) as steady:
        for _ in range(20):
            steady.sendall(LIVEZ)
            assert hear(steady)[0] == 200
            turn(server, clock, 15)


def test_upload_survives_a_jump_of_the_time_of_day(
    dummy: Classifier, cat: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waitress measures silence with the time of day, which is set forward now and then."""
    settings = load_settings(port=0)
    with running(create_app(dummy, settings), settings) as made, connect(made.url) as upload:
        upload.sendall(POST + f"Content-Length: {len(cat)}\r\n\r\n".encode() + cat[:1000])
        while not channel_of(made, upload).held:
            pass
        now = time.time
        for jump in (86_400, -86_400):
            monkeypatch.setattr(time, "time", lambda jump=jump: now() + jump)
            made._waitress.maintenance(made._waitress.clock())
            made._waitress._next_check = 0
            assert ask(made.url, "/livez")[0] == 200
        upload.sendall(cat[1000:])
        assert hear(upload)[0] == 200


def deaf(server: Server, words: bytes) -> socket.socket:
    """Asks over a connection with little room for answers, and waits until one is stuck."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = server.url.removeprefix("http://").split(":")
    connection.connect((host, int(port)))
    channel = channel_of(server, connection)
    channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection.sendall(words)
    while not channel.total_outbufs_len or channel.requests:
        pass
    return connection


def test_client_that_reads_no_answer_holds_one_and_no_thread(
    dummy: Classifier, clock: Clock, cat: bytes
) -> None:
    settings = load_settings(port=0, http_threads=1)
    with running(create_app(dummy, settings), settings, clock) as made, ExitStack() as stack:
        answer = int(ask(made.url, "/v1/labels")[1]["Content-Length"])
        clients = [stack.enter_context(deaf(made, LABELS * 150)) for _ in range(3)]
        channels = [channel_of(made, client) for client in clients]
        assert ask(made.url, "/v1/classify", cat)[0] == 200
        assert all(0 < channel.held < 2 * answer for channel in channels)
        assert made._waitress.buffered.count() >= sum(channel.held for channel in channels)
        turn(made, clock, 20)
        assert all(channel.connected for channel in channels)
        turn(made, clock, 1)
        assert not any(channel.connected for channel in channels)


def test_client_that_reads_too_slowly_is_cut_off(dummy: Classifier, clock: Clock) -> None:
    settings = load_settings(port=0, request_seconds=30, idle_seconds=3600)
    with (
        running(create_app(dummy, settings), settings, clock) as made,
        deaf(made, LABELS * 2) as client,
    ):
        channel = channel_of(made, client)
        for _ in range(3):
            turn(made, clock, 10)
            assert client.recv(1)
        assert channel.connected
        turn(made, clock, 1)
        assert not channel.connected


def test_requests_sent_ahead_are_answered_in_order(server: Server) -> None:
    paths = ["/livez"] * 30 + ["/v1/labels", "/nope", "/livez", "/v1/models/none"] * 5
    words = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths]
    with connect(server.url) as eager:
        eager.sendall(
            "".join([*words[:-1], words[-1].replace("\r", "\r\nConnection: close\r", 1)]).encode()
        )
        heard = b"".join(iter(lambda: eager.recv(65_536), b""))
    statuses = [int(answer[:3]) for answer in heard.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200] * 30 + [200, 404, 200, 404] * 5


def test_new_connection_takes_the_place_of_the_one_unused_for_longest(dummy: Classifier) -> None:
    with serving(dummy, max_connections=8) as url, ExitStack() as stack:
        idle = [stack.enter_context(connect(url)) for _ in range(8)]
        for connection in (*idle[1:], idle[0]):
            connection.sendall(LIVEZ)
            assert hear(connection)[0] == 200
        late = stack.enter_context(connect(url))
        late.sendall(LIVEZ)
        assert hear(late)[0] == 200
        assert idle[1].recv(1) == b""
        for connection in (*idle[2:], idle[0]):
            connection.sendall(LIVEZ)
            assert hear(connection)[0] == 200


def test_connection_beyond_those_in_use_is_told_at_once(dummy: Classifier) -> None:
    settings = load_settings(port=0, max_connections=8)
    with running(create_app(dummy, settings), settings) as made, ExitStack() as stack:
        used = [stack.enter_context(connect(made.url)) for _ in range(8)]
        for connection in used:
            connection.sendall(b"GET")
            while channel_of(made, connection).request is None:
                pass
        with connect(made.url) as late:
            answer = hear(late)
        told = assert_problem(answer, 503, "too_many_connections")
        assert "8 connections" in told
        assert "max_connections" in told
        assert answer[1]["Retry-After"] == "1"
        # Of those that stay when they were refused, some; the others hear nothing.
        many = [stack.enter_context(connect(made.url)) for _ in range(REFUSALS + 8)]
        assert b"" in [connection.recv(1) for connection in many]
        assert len(made._waitress.active_channels) <= 8 + REFUSALS
        for connection in many:
            connection.close()
        used[0].sendall(LIVEZ[3:])
        assert hear(used[0])[0] == 200
        while len(made._waitress.active_channels) > 8:
            pass
        assert ask(made.url, "/livez")[0] == 200


def test_one_address_cannot_take_all_connections(dummy: Classifier) -> None:
    settings = load_settings(port=0, max_connections_per_client=2)
    with running(create_app(dummy, settings), settings) as made, ExitStack() as stack:
        for _ in range(2):
            connection = stack.enter_context(connect(made.url))
            connection.sendall(b"GET")
            while channel_of(made, connection).request is None:
                pass
        with connect(made.url) as third:
            told = assert_problem(hear(third), 429, "too_many_from_one_address")
        assert "2 connections come from 127.0.0.1" in told
        assert "max_connections_per_client" in told
        host, port = made.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 60, ("127.0.0.2", 0)) as other:
            other.sendall(LIVEZ)
            assert hear(other)[0] == 200
    assert not made._waitress._clients


def test_own_idle_connection_makes_room_for_its_client(dummy: Classifier) -> None:
    with serving(dummy, max_connections_per_client=2) as url, ExitStack() as stack:
        first, *_ = [stack.enter_context(connect(url)) for _ in range(2)]
        late = stack.enter_context(connect(url))
        late.sendall(LIVEZ)
        assert hear(late)[0] == 200
        assert first.recv(1) == b""


def test_this_machine_may_have_all_connections_and_others_a_quarter(server: Server) -> None:
    assert server._waitress._most_of("127.0.0.1") > 1_000_000
    assert server._waitress._most_of("192.0.2.7") == 256


def test_stalled_uploads_and_a_thousand_idle_connections_starve_nobody(
    dummy: Classifier, cat: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    if allow_open_files(2_400) < 2_400:
        pytest.skip("the system allows too few open files")
    settings = load_settings(port=0)
    with running(create_app(dummy, settings), settings) as made, ExitStack() as stack:

        def fastest(path: str, body: bytes | None = None) -> float:
            times = []
            for _ in range(20):
                start = time.perf_counter()
                assert ask(made.url, path, body)[0] == 200
                times.append(1000 * (time.perf_counter() - start))
            return min(times)

        alone = fastest("/livez"), fastest("/v1/classify", cat)
        for _ in range(1_000):
            stack.enter_context(connect(made.url))
        for _ in range(20):
            stalled = stack.enter_context(connect(made.url))
            stalled.sendall(POST + b"Content-Length: 99999\r\n\r\nabc")
        assert ask(made.url, "/livez")[0] == 200
        assert len(made._waitress.active_channels) >= 1_020
        beside = fastest("/livez"), fastest("/v1/classify", cat)
    with capsys.disabled():
        print(
            f"\n/livez {alone[0]:.1f} ms, beside 1,020 connections {beside[0]:.1f} ms; a photo "
            f"{alone[1]:.1f} ms and {beside[1]:.1f} ms"
        )
    assert beside[0] < 5 * alone[0]
    assert beside[1] < 5 * alone[1]


FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, tuple(map(int, sys.argv[1:3])))
from sightbox.cli.main import run
sys.argv = ["sightbox", "serve", "--port", "0", "--backend", "dummy"]
run()
"""


@pytest.mark.parametrize(
    ("soft", "hard", "told"), [(256, 256, "allows 64 connections"), (256, 4096, "")]
)
def test_limit_of_open_files_is_raised_or_told(soft: int, hard: int, told: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FEW_FILES, str(soft), str(hard)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"SIGHTBOX_ACCESS_LOG": "false"},
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[-1]
        assert ask(url, "/livez")[0] == 200
        if hard > soft:
            limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            assert limits == (1024 + 64 + 128, hard)
        process.terminate()
        _, errors = process.communicate()
    assert process.returncode == 0
    assert told in errors
    assert bool(errors) == bool(told)


class Interrupted(list[Request]):
    """The requests of a connection: the next one comes just when one has been taken off."""

    def __init__(self, channel: Channel, following: Request) -> None:
        super().__init__()
        self._coming = threading.Thread(target=channel._begin, args=[following])

    def pop(self, place: SupportsIndex = -1) -> Request:
        taken = super().pop(place)
        if self._coming.ident is None:
            self._coming.start()
            # It must wait until this thread has seen that nothing else is there.
            self._coming.join(0.1)
        return taken


def test_request_that_comes_while_one_is_put_away_is_answered_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Channel] = []
    begin = server._waitress.add_task

    def count(channel: Channel) -> None:
        begun.append(channel)
        begin(channel)

    monkeypatch.setattr(server._waitress, "add_task", count)
    with connect(server.url) as client:
        channel = channel_of(server, client)
        following = channel.parser_class(channel.adj)
        following.received(LABELS)
        channel.requests = Interrupted(channel, following)
        client.sendall(LABELS)
        assert [hear(client)[0] for _ in range(2)] == [200, 200]
        client.sendall(LIVEZ)
        assert hear(client)[2] == {"status": "alive"}
    assert len(begun) == 2
