"""The server as a process: starts, stops in order, loses nothing, reaches nobody."""

import errno
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from serving import ask, connect, gated, serving
from sightbox.classifier import Classifier
from sightbox.errors import SettingsError
from sightbox.settings import load_settings
from sightbox.store import Store
from sightbox.web.app import create_app
from sightbox.web.listening import listen
from sightbox.web.server import Server

SERVE = [sys.executable, "-W", "error", "-m", "sightbox", "serve", "--port", "0"]


@contextmanager
def running(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Runs ``sightbox serve`` and gives the process and its URL, as soon as it prints it."""
    with subprocess.Popen(
        [*SERVE, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"SIGHTBOX_ACCESS_LOG": "false"} | environment,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        try:
            yield process, found.group() if found else ""
        finally:
            process.kill()


def test_serve_prints_its_address_answers_and_stops_on_sigterm(cat: bytes) -> None:
    with running() as (process, url):
        assert ask(url, "/readyz")[0] == 200
        assert ask(url, "/v1/classify", cat)[2]["predictions"][0]["wnid"].startswith("n0212")
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate()
    assert (process.returncode, error) == (0, "")


def test_interrupt_stops_in_order_too() -> None:
    with running("--backend", "dummy") as (process, url):
        assert ask(url, "/livez")[0] == 200
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()
    assert (process.returncode, error) == (0, "")


def test_killed_server_starts_again_and_answers(cat: bytes, tmp_path: Path) -> None:
    mine = {"SIGHTBOX_HOME": str(tmp_path)}
    for _ in range(2):
        with running(**mine) as (process, url):
            assert ask(url, "/v1/classify", cat)[0] == 200
            process.kill()
            process.wait()
    store = Store(tmp_path)
    assert [check.problem for check in store.verify("efficientnet-lite0")] == [None] * 3


def test_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*SERVE[:-1], port, "--backend", "dummy"], capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Is Sightbox running already?" in done.stderr


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("192.0.2.7", "no address of this machine"),
        ("a..b", "'a..b' cannot be found"),
        ("fe80::1%none", "cannot be found"),
    ],
)
def test_address_that_cannot_be_had_is_told(host: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        listen(host, 0)
    assert "already" not in str(caught.value)


def test_port_that_needs_rights_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_address: object, **_options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(SettingsError, match="Ports below 1024 need special rights"):
        listen("127.0.0.1", 80)


def test_stopping_server_answers_everything_it_accepted(home: Path, cat: bytes) -> None:
    """Stops while one request is inside the engine and others wait for it: all are answered."""
    answers: list[int] = []
    with gated(home) as (classifier, gate):
        settings = load_settings(port=0)
        server = Server(create_app(classifier, settings), settings)
        finished: list[bool] = []
        runner = threading.Thread(target=lambda: finished.append(server.run()))
        runner.start()
        url = server.url
        connections = [http.client.HTTPConnection(urlsplit(url).netloc) for _ in range(6)]
        for connection in connections:
            connection.request("POST", "/v1/classify", cat)
        assert gate.entered.wait(60)
        while server._busy() < len(connections):
            pass
        server.stop()
        gate.open.set()
        for connection in connections:
            response = connection.getresponse()
            answers.append(response.status)
            assert response.read()
            connection.close()
        runner.join()
    assert answers == [200] * 6
    assert finished == [True]
    with pytest.raises(ConnectionRefusedError):
        ask(url, "/livez")


def test_server_that_cannot_finish_in_time_says_so(home: Path, cat: bytes) -> None:
    with gated(home) as (classifier, gate):
        settings = load_settings(port=0, grace=0)
        server = Server(create_app(classifier, settings), settings)
        finished: list[bool] = []
        runner = threading.Thread(target=lambda: finished.append(server.run()))
        runner.start()
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
        connection.request("POST", "/v1/classify", cat)
        assert gate.entered.wait(60)
        server.stop()
        runner.join()
        gate.open.set()
        connection.close()
    assert finished == [False]


def test_stopping_server_waits_for_its_grace_and_no_longer(home: Path, cat: bytes) -> None:
    """Lets the engine answer only once the server is stopping, or not at all."""
    with gated(home) as (classifier, gate):
        for grace, expected in ((60.0, True), (0.2, False)):
            gate.shut()
            settings = load_settings(port=0, grace=grace)
            server = Server(create_app(classifier, settings), settings)
            finished: list[bool] = []
            runner = threading.Thread(target=lambda s=server, f=finished: f.append(s.run()))
            runner.start()
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
            connection.request("POST", "/v1/classify", cat)
            assert gate.entered.wait(60)
            server.stop()
            while server._waitress.accepting:
                pass
            if expected:
                gate.open.set()
                assert connection.getresponse().status == 200
            runner.join()
            gate.open.set()
            connection.close()
            assert finished == [expected]


def test_draining_server_is_not_ready(dummy: Classifier) -> None:
    settings = load_settings(port=0)
    app = create_app(dummy, settings)
    app.extensions["sightbox"].draining.set()
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "closed")


def test_stalled_uploads_do_not_block_others(dummy: Classifier, cat: bytes) -> None:
    with serving(dummy, http_threads=2) as url:
        address = urlsplit(url)
        stalled = [socket.create_connection((address.hostname, address.port)) for _ in range(20)]
        for connection in stalled:
            connection.sendall(
                b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\nabc"
            )
        assert ask(url, "/livez")[0] == 200
        assert ask(url, "/v1/classify", cat)[0] == 200
        for connection in stalled:
            connection.close()


def _posted(picture: bytes) -> bytes:
    fields = ("POST /v1/classify HTTP/1.1", "Host: localhost", f"Content-Length: {len(picture)}")
    return "\r\n".join((*fields, "", "")).encode() + picture


def test_client_that_goes_away_does_no_harm(dummy: Classifier, cat: bytes) -> None:
    with serving(dummy) as url:
        for _ in range(20):
            with connect(url) as connection:
                connection.sendall(_posted(cat))
        assert ask(url, "/v1/classify", cat)[0] == 200


OFFLINE = """
import json, os, pathlib, subprocess, sys, threading, urllib.request
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
links = json.loads(subprocess.check_output(["ip", "-json", "link"]))
assert [link["ifname"] for link in links] == ["lo"], links
photo = pathlib.Path(sys.argv[1])
sightbox = [sys.executable, "-m", "sightbox"]
cli = subprocess.check_output([*sightbox, "classify", photo, "-k1", "--json"])
serve = subprocess.Popen([*sightbox, "serve"], stdout=subprocess.PIPE, text=True)
serve.stdout.readline()
def get(path, body=None):
    with urllib.request.urlopen("http://127.0.0.1:8018" + path, body) as answer:
        return answer.read()
assert b"<html" in get("/")
http = json.loads(get("/v1/classify?top_k=1", photo.read_bytes()))
serve.terminate()
assert serve.wait() == 0
found = json.loads(cli)["results"][0]
assert found["predictions"] == http["predictions"]
print(found["predictions"][0]["wnid"])
"""


def test_no_network_is_needed_once_set_up(photos: Path) -> None:
    """Classifies by CLI and HTTP in a network namespace that has no interface but loopback."""
    isolated = ["unshare", "--net", "--map-root-user"]
    if not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("this system has no unshare(1) or ip(8)")
    if subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system allows no network namespace")
    done = subprocess.run(
        [*isolated, sys.executable, "-c", OFFLINE, photos / "coffee.png"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "n07920052\n"), done.stderr
