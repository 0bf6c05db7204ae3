"""The guard around every route, with every method, and around what is no route at all."""

import http.client
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from flask import Flask

from serving import END, FORM, ask, assert_problem, form, part, running, say, serving
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.guard import HEADERS, OPEN_ENDPOINTS

TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone

METHODS = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"),
    *("PROPFIND", "BREW"),
)

NO_ROUTES = ("/nope", "/v1/nope", "/v2/nope", "/static", "/static/", "/static/nope", "//v1//info")

FROM_ELSEWHERE = (
    {"Host": "evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
)

LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
"""What a click on a link elsewhere sends, and what a form elsewhere sends by POST."""

MARKUP = "<script>alert('x')</script>\"&"

Answer = tuple[int, http.client.HTTPMessage, bytes]


class Client:
    """One connection to a server, and the paths of its routes."""

    def __init__(self, app: Flask, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.close = self._connection.close
        self.cancel_run = app.extensions["sightbox"].benchmarks.cancel
        self.url = url
        address = app.url_map.bind(urlsplit(url).netloc)
        # Every kind of parameter takes a one.
        self.endpoints: dict[str, set[str]] = defaultdict(set)
        for rule in app.url_map.iter_rules():
            for method in rule.methods or ():
                path = address.build(rule.endpoint, dict.fromkeys(rule.arguments, "1"), method)
                self.endpoints[path].add(rule.endpoint)
        self.paths = (*self.endpoints, "/static/icon.svg", *NO_ROUTES)

    def ask(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """Sends one request and returns status, headers and body."""
        self._connection.request(method, path, headers=dict(headers))
        response = self._connection.getresponse()
        return response.status, response.headers, response.read()


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[Client]:
    """A client of the dummy backend, served for all tests of this module."""
    settings = load_settings(port=0)
    with Classifier(backend=DummyBackend(), home=home) as classifier:
        app = create_app(classifier, settings)
        with running(app, settings) as server, closing(Client(app, server.url)) as made:
            yield made


@pytest.fixture(autouse=True)
def no_run_goes_on(client: Client) -> Iterator[None]:
    """Ends the benchmark that a walk over all routes starts."""
    yield
    client.cancel_run()


def _assert_guarded(headers: http.client.HTTPMessage) -> None:
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in headers if name.lower().startswith(("access-control-", "server"))]


def test_the_walk_meets_all_kinds_of_routes(client: Client) -> None:
    assert {"/", "/v1/classify", "/v1/models/1", "/v2/models/1/infer", "/readyz"} < {*client.paths}


@pytest.mark.parametrize("method", METHODS)
def test_pages_from_elsewhere_are_kept_out_of_every_route(client: Client, method: str) -> None:
    places = FROM_ELSEWHERE if method == "GET" else (*FROM_ELSEWHERE, LINK)
    for path in client.paths:
        for place in places:
            status, headers, body = client.ask(method, path, place)
            assert status == 403, (path, place)
            assert headers["Content-Type"].endswith("json")
            assert (body == b"") == (method == "HEAD")
            _assert_guarded(headers)


@pytest.mark.parametrize("method", METHODS)
def test_every_answer_of_every_route_is_guarded(client: Client, method: str) -> None:
    for path in client.paths:
        status, headers, _ = client.ask(method, path, {})
        assert status != 403
        # A redirection would repeat the request's words.
        assert not 300 <= status < 400, path
        _assert_guarded(headers)


@pytest.mark.parametrize("method", METHODS)
def test_every_route_but_the_open_ones_wants_the_token(home: Path, method: str) -> None:
    settings = load_settings(port=0, token=TOKEN)
    with Classifier(backend=DummyBackend(), home=home) as classifier:
        app = create_app(classifier, settings)
        with running(app, settings) as server, closing(Client(app, server.url)) as client:
            closed = {
                p for p in client.paths if not client.endpoints.get(p, set()) & OPEN_ENDPOINTS
            }
            for path in closed - {"/static/icon.svg", "/static/", "/static/nope"}:
                assert client.ask(method, path, {})[0] == 401, path


def test_form_of_the_open_page_wants_the_token(dummy: Classifier) -> None:
    with serving(dummy, token=TOKEN) as url:
        assert_problem(ask(url, "/", form(b"x"), FORM), 401, "token_needed")


@pytest.mark.parametrize(
    ("status", "request_text"),
    [
        (400, b"GET / HTTP/1.1\r\nHost: localhost\r\nno header\r\n\r\n"),
        (400, b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (400, b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (400, b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n"),
        (403, b"POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 9\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"),
        (501, b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ],
)
def test_refusals_before_the_application_are_guarded(
    client: Client, status: int, request_text: bytes
) -> None:
    found, headers, _ = say(client.url, request_text)
    assert found == status
    _assert_guarded(headers)


@pytest.mark.parametrize("place", [*FROM_ELSEWHERE, LINK])
def test_body_from_elsewhere_is_refused_before_it_is_sent(
    client: Client, place: dict[str, str]
) -> None:
    head = {"Host": "localhost", "Content-Length": "9999999"} | place
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    answer = say(client.url, f"POST /v1/classify HTTP/1.1\r\n{lines}\r\n".encode())
    assert answer[0] == 403


def test_target_and_host_must_name_the_same(client: Client) -> None:
    ask = "GET http://{} HTTP/1.1\r\nHost: localhost\r\n\r\n".format
    assert say(client.url, ask("evil.example/livez").encode())[0] == 400
    assert say(client.url, ask("LOCALHOST/livez").encode())[0] == 200


def test_refusal_of_head_has_no_content(client: Client) -> None:
    head = b"HEAD / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
    with closing(http.client.HTTPConnection(urlsplit(client.url).netloc)) as connection:
        connection.connect()
        connection.sock.sendall(head)
        connection.sock.shutdown(1)
        said = b"".join(iter(lambda: connection.sock.recv(65536), b""))
    assert said.startswith(b"HTTP/1.1 413 ")
    assert said.endswith(b"\r\n\r\n")


def test_markup_of_a_request_never_comes_back_as_html(client: Client) -> None:
    """Markup in path, query and headers; only the page itself is HTML, and repeats none of it."""
    names = ("User-Agent", "Referer", "Accept-Language", "Accept", "Cookie", "X-Request-Id")
    headers = dict.fromkeys((*names, "Content-Type", "If-None-Match"), MARKUP)
    told = quote(MARKUP)
    query = "&".join(f"{name}={told}" for name in ("lang", "model", "top_k", "url", told))
    html = set()
    for method in ("GET", "POST", "PUT"):
        for path in (*client.paths, f"/{told}", f"/v1/models/{told}", f"/static/{told}"):
            _, found, body = client.ask(method, f"{path}?{query}", headers)
            assert MARKUP.encode() not in b"".join(f"{v}".encode() for v in found.values())
            if "json" not in found["Content-Type"]:
                html.add(found["Content-Type"].partition(";")[0])
                assert MARKUP.encode() not in body, path
                assert b"alert(" not in body, path
    assert "text/html" in html
    assert html <= {"text/html", "image/svg+xml", "text/plain"}


def test_file_name_with_markup_is_not_repeated(client: Client) -> None:
    name = f'; filename="{quote(MARKUP)}<b>"'
    body = part(b"no picture", more=name) + END
    lines = "".join(f"{n}: {v}\r\n" for n, v in (FORM | {"Content-Length": str(len(body))}).items())
    head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()
    status, headers, answer = say(client.url, head, body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert answer["results"][0]["error"]["code"] == "unsupported_format"
    assert "<b>" not in str(answer)
