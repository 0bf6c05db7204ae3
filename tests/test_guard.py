"""Who may come in: Host, Origin, tokens, and the headers of each answer."""

import ast
import inspect
from urllib.parse import urlsplit

import pytest
from flask import request

from serving import ask, assert_problem, running, say, serving
from sightbox.classifier import Classifier
from sightbox.errors import SettingsError
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.guard import check_exposure, check_token, is_loopback
from sightbox.web.server import Server

TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone


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
        {"Host": "localhost.evil.example"},
        {"Host": "evil@localhost"},
        {"Host": "localhost/evil"},
        {"Host": "localhost, localhost"},
        {"Host": "["},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": ""},
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


@pytest.mark.parametrize("name", ["localhost", "LocalHost", "localhost.", "127.0.0.1", "[::1]"])
def test_names_of_this_machine_come_in(url: str, name: str) -> None:
    port = urlsplit(url).port
    assert ask(url, "/livez", headers={"Host": f"{name}:{port}"})[0] == 200


@pytest.mark.parametrize("name", ["box.local", "BOX.local", "box.local.", "box.local.:8018"])
def test_allowed_host_comes_in(dummy: Classifier, name: str) -> None:
    with serving(dummy, allowed_hosts=("Box.local",)) as url:
        assert ask(url, "/livez", headers={"Host": name})[0] == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/ping"])
def test_probe_without_a_host_header_comes_in(url: str, path: str) -> None:
    assert say(url, f"GET {path} HTTP/1.0\r\n\r\n".encode())[0] == 200


@pytest.mark.parametrize("path", ["/", "/v1/info", "/nope"])
def test_nothing_else_comes_in_without_a_host_header(url: str, path: str) -> None:
    assert_problem(say(url, f"GET {path} HTTP/1.0\r\n\r\n".encode()), 403, "forbidden")


def test_origin_without_a_host_header_is_kept_out(url: str) -> None:
    answer = say(url, b"GET /livez HTTP/1.0\r\nOrigin: null\r\n\r\n")
    assert_problem(answer, 403, "forbidden")


def test_origin_is_compared_without_case(url: str) -> None:
    port = urlsplit(url).port
    for host, origin in (("LOCALHOST", "localhost"), ("localhost", "LOCALHOST")):
        own = {"Host": f"{host}:{port}", "Origin": f"http://{origin}:{port}"}
        assert ask(url, "/livez", headers=own)[0] == 200


def test_token_is_needed_for_everything_but_the_page_and_the_probes(
    dummy: Classifier, cat: bytes
) -> None:
    with serving(dummy, token=TOKEN) as url:
        for path in ("/", "/livez", "/readyz", "/ping", "/static/icon.svg"):
            assert ask(url, path)[0] == 200
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            assert_problem(ask(url, "/v1/classify", cat, given), 401, "token_needed")
            assert_problem(ask(url, "/v1/info", headers=given), 401, "token_needed")
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(url, "/v1/classify", cat, right)[0] == 200


def test_token_is_compared_in_constant_time() -> None:
    """No operator compares it: those end at the first byte that differs."""
    tree = ast.parse(inspect.getsource(check_token))
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert "hmac.compare_digest" in calls
    compared = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    assert not [text for text in compared if "token" in text or "given" in text]


def test_missing_token_is_told_before_the_body_is_sent(dummy: Classifier) -> None:
    head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n"
    with serving(dummy, token=TOKEN) as url:
        answer = say(url, head, b"Expect: 100-continue\r\n\r\n")
        wrong = say(url, head, b"Authorization: Bearer wrong\r\n\r\n")
    told = assert_problem(answer, 401, "token_needed")
    assert "Authorization: Bearer" in told
    assert answer[1]["WWW-Authenticate"] == "Bearer"
    assert_problem(wrong, 401, "token_needed")


def test_refusals_of_the_server_itself_carry_the_guarding_headers(url: str) -> None:
    _, headers, _ = say(url, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nbad line\r\n\r\n")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in headers


def test_proxy_headers_do_not_reach_the_application(dummy: Classifier) -> None:
    """No proxy is trusted, so that nobody can claim to be somebody else."""
    settings = load_settings(port=0)
    app = create_app(dummy, settings)
    app.add_url_rule("/seen", view_func=lambda: " ".join(name for name, _ in request.headers))
    claims = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Other")
    with running(app, settings) as server:
        seen = ask(server.url, "/seen", headers=dict.fromkeys(claims, "evil"))[2]
    assert set(claims) & set(seen.decode().split()) == {"X-Other"}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "box.local"])
def test_listening_to_a_network_needs_a_token(dummy: Classifier, host: str) -> None:
    settings = load_settings(host=host)
    with pytest.raises(SettingsError, match="Give a token"):
        Server(create_app(dummy, settings), settings)
    check_exposure(load_settings(host=host, token="a" * 16))
    check_exposure(load_settings(host=host, insecure=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    check_exposure(load_settings(host=host))
