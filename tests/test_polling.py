"""The server's wait for its sockets: who is asked, who is heard, who is let go."""

import socket
from collections import Counter
from contextlib import ExitStack

import pytest

from serving import ask, connect, hear, running, undecoded
from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.connections import Channel
from sightbox.web.polling import Sockets
from sightbox.web.server import Server

REQUESTS = 50


def fill(server: Server, stack: ExitStack, count: int) -> None:
    """Opens connections that say nothing, and waits until the server has them all."""
    for _ in range(count):
        stack.enter_context(connect(server.url))
    while len(server._waitress.active_channels) < count:
        ask(server.url, "/livez")


def test_idle_connections_are_not_asked_for_each_request(
    dummy: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[int] = Counter()
    readable = Channel.readable

    def count(channel: Channel) -> bool:
        asked[id(channel)] += 1
        return readable(channel)

    settings = load_settings(port=0)
    with running(create_app(dummy, settings), settings) as server, ExitStack() as stack:
        fill(server, stack, 40)
        # Kept, so that no other one gets the number of one that has gone.
        kept = list(server._waitress.active_channels.values())
        idle = set(map(id, kept))
        monkeypatch.setattr(Channel, "readable", count)
        with connect(server.url) as connection:
            for _ in range(REQUESTS):
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert hear(connection)[0] == 200
        busy = sum(asked[channel] for channel in asked.keys() - idle)
        assert busy >= REQUESTS
        # Each is asked once a second all the same; this test takes a fraction of one.
        assert sum(asked[channel] for channel in idle) < len(idle) * REQUESTS / 5


def test_idle_connection_is_heard_when_it_speaks_at_last(dummy: Classifier) -> None:
    settings = load_settings(port=0)
    with running(create_app(dummy, settings), settings) as server, ExitStack() as stack:
        late = stack.enter_context(connect(server.url))
        fill(server, stack, 10)
        late.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert hear(late)[0] == 200


def test_closed_socket_is_no_longer_watched() -> None:
    class Listener:
        """Wants to read, and counts how often it may."""

        accepting = False
        heard = 0

        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

        def handle_read_event(self) -> None:
            self.heard += 1
            del sockets[near.fileno()]

    near, far = socket.socketpair()
    sockets, listener = Sockets(), Listener()
    with near, far:
        sockets[near.fileno()] = listener
        far.sendall(b"xx")
        sockets.wait(1)
        sockets.wait(0)
    assert listener.heard == 1
    sockets.close()


def test_socket_that_is_stirred_while_it_is_asked_is_asked_again() -> None:
    class Connection:
        """Has its answer written just after it was asked, as a thread does."""

        unsettled = False
        asked = 0

        def readable(self) -> bool:
            self.asked += 1
            if self.asked == 1:
                sockets.stir(near.fileno())
            return False

        def writable(self) -> bool:
            return False

    near, far = socket.socketpair()
    sockets, connection = Sockets(), Connection()
    with near, far:
        sockets[near.fileno()] = connection
        # No time passes between the rounds, so that none asks everybody.
        for _ in range(3):
            sockets._ask(60)
    assert connection.asked == 2
    sockets.close()


def test_connections_in_the_queue_are_not_asked_for_each_request(
    dummy: Classifier, cat: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[int] = Counter()
    readable = Channel.readable

    def count(channel: Channel) -> bool:
        asked[id(channel)] += 1
        return readable(channel)

    settings = load_settings(port=0, http_threads=1)
    with ExitStack() as stack:
        turns = stack.enter_context(ExitStack())
        turns.enter_context(undecoded(dummy))
        server = stack.enter_context(running(create_app(dummy, settings), settings))
        waiting = [stack.enter_context(connect(server.url)) for _ in range(40)]
        head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(cat)}"
        for connection in waiting:
            connection.sendall(f"{head}\r\n\r\n".encode() + cat)
        while server._waitress.waiting < len(waiting) - 1:
            pass
        queued = {id(channel) for channel in server._waitress.active_channels.values()}
        monkeypatch.setattr(Channel, "readable", count)
        for _ in range(REQUESTS):
            ask(server.url, "/livez")
        # As above: once a second all the same.
        assert sum(asked[channel] for channel in queued) < len(queued) * REQUESTS / 5
        turns.close()
        assert [hear(connection)[0] for connection in waiting] == [200] * len(waiting)
