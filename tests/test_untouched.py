"""What no request makes the server do: open a file, write one, run a program, call somebody."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from flask import Flask

import sightbox
import watched_server
from serving import BOUNDARY, END, FORM, form, part
from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app

PACKAGE = Path(sightbox.__file__).parent

SYSTEM = (Path("/proc/self"), Path("/proc/cpuinfo"), Path("/sys/fs/cgroup"))
"""Where the system tells of its cores, and of this process."""

CANARY = "the canary sings"

PATH_LIKE = (
    "../../../../../../../../etc/passwd",
    "..\\..\\..\\windows\\win.ini",
    "C:\\windows\\win.ini",
    "\\\\127.0.0.1\\share\\x.png",
    "/proc/self/environ",
    "~root/.bashrc",
    "file:///etc/passwd",
    "http://127.0.0.1:9/x.png",
    "//127.0.0.1:9/x.png",
    "%2e%2e%2fetc%2fpasswd",
    "a\0b",
    "CON",
    "$(id)",
    "`id`",
    "| id",
)

Event = tuple[str, list[str]]


class Watched:
    """A client of a server whose process is watched."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.close = self._connection.close

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Sends a request, and returns the answer's body; an iterator goes in chunks."""
        self._connection.request(method, path, body, dict(headers or {}))
        return self._connection.getresponse().read()


@contextmanager
def _watched(events: list[Event]) -> Iterator[Watched]:
    """Serves in a child; `events` has what the child did during the block, at its end."""
    with subprocess.Popen(
        [sys.executable, watched_server.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with closing(Watched(child.stdout.readline())) as watched:
                # What is imported or read once, at the first request, is not a client's choice.
                for path in ("/", "/static/icon.svg", "/v1/models/x", "/nope", "/readyz"):
                    watched.ask("GET", path)
                watched.ask("POST", "/v1/classify", form(b"no picture"), FORM)
                watched.ask("POST", "/v1/classify", b"no picture")
                print(file=child.stdin, flush=True)
                assert child.stdout.readline() == "watching\n"
                yield watched
            print(file=child.stdin, flush=True)
            events.extend(json.loads(child.stdout.readline()))
        finally:
            child.kill()


STARTS_A_PROCESS = "benchmark.start"
"""The one route that does so on purpose; that nothing of a request reaches its process is shown by
tests/test_benchmark_page.py."""


def _routes(app: Flask, value: str) -> list[tuple[str, str]]:
    """Returns method and path of each route, with `value` for each parameter."""
    routes: list[tuple[str, str]] = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint == STARTS_A_PROCESS:
            continue
        path = rule.rule
        for name in rule.arguments:
            path = "".join(
                quote(value, safe="") if piece.endswith(f"{name}>") else piece
                for piece in path.replace("<", "\n<").replace(">", ">\n").split("\n")
            )
        routes.extend(
            (method, path) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        )
    return routes


def test_path_from_a_client_is_never_opened(dummy: Classifier, home: Path, tmp_path: Path) -> None:
    bait = tmp_path / "bait.txt"
    bait.write_text(CANARY)
    answers = []
    events: list[Event] = []
    app = create_app(dummy, load_settings(port=0))
    with _watched(events) as server:
        for value in (*PATH_LIKE, str(bait), f"file://{bait}"):
            told = quote(value, safe="")
            asked = "&".join(f"{n}={told}" for n in ("model", "lang", "url", "path", "file"))
            body = json.dumps(dict.fromkeys(("url", "path", "image", "inputs"), value)).encode()
            headers = dict.fromkeys(("Content-Location", "X-Sendfile", "X-Original-URL"), told)
            for method, path in _routes(app, value):
                answers.append(server.ask(method, path, headers=headers))
                answers.append(server.ask(method, f"{path}?{asked}", body, headers))
            named = part(b"no picture", more=f'; filename="{value}"') + END
            answers.append(server.ask("POST", "/v1/classify", named, FORM))
            answers.append(server.ask("POST", "/v1/classify", form(b"x", name=told), FORM))
            answers.append(server.ask("GET", f"/static/{value.replace(' ', '')}".split("\0")[0]))
    assert len(answers) > 500
    assert not [answer for answer in answers if CANARY.encode() in answer]
    assert not [event for event in events if event[0].startswith(watched_server.REACHED)]
    opened = {Path(words[0]) for name, words in events if name in {"open", "os.listdir"}}
    assert opened, "the watch saw nothing"
    assert not {path for path in opened if not _is_within(path, PACKAGE, home, *SYSTEM)}
    assert {name for name, _ in events} <= {"open", "os.listdir", "os.scandir"}


def test_uploads_never_touch_the_disk(home: Path, photos: Path) -> None:
    """Raw, in a form and in chunks, each larger than what libraries by habit keep in memory."""
    large = (photos / "chelsea.png").read_bytes() + b"\0" * 9_000_000
    chunks = (large[start : start + 65_536] for start in range(0, len(large), 65_536))
    events: list[Event] = []
    with _watched(events) as server:
        answers = [
            server.ask("POST", "/v1/classify", large),
            server.ask("POST", "/v1/classify", form(large, large), FORM),
            server.ask("POST", "/v1/classify", chunks),
            server.ask("POST", "/v1/classify", f"--{BOUNDARY}".encode() + large, FORM),
        ]
    assert all(b'"predictions"' in answer for answer in answers[:3])
    assert not [event for event in events if event[0] != "open"]
    opened = {Path(words[0]) for _, words in events}
    assert not {path for path in opened if not _is_within(path, PACKAGE, home, *SYSTEM)}
    assert not [words for _, words in events if set(words[1]) & set("wax+")]


def _is_within(path: Path, *folders: Path) -> bool:
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)


@pytest.mark.parametrize("argument", ["../etc", "a b"])
def test_the_walk_puts_the_value_into_every_route(dummy: Classifier, argument: str) -> None:
    paths = {path for _, path in _routes(create_app(dummy, load_settings(port=0)), argument)}
    assert f"/v1/models/{quote(argument, safe='')}" in paths
    assert not [path for path in paths if "<" in path]
