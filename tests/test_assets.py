"""The files of the page: addresses that never change, tags, and compressed where that is taken."""

import gzip
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import ask, assert_problem, connect, hear, serving
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.web import assets
from sightbox.web.assets import FOLDER, load_assets

NAMES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file())
PACKED = {"Accept-Encoding": "gzip, deflate, br"}


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    """The dummy backend, served for all tests of this module."""
    with Classifier(backend=DummyBackend(), home=home) as made, serving(made) as served:
        yield served


def versioned(name: str) -> str:
    return f"/static/{load_assets().version}/{name}"


def test_each_file_is_served_as_it_is_under_both_addresses(url: str) -> None:
    for name in NAMES:
        content = (FOLDER / name).read_bytes()
        for path in (f"/static/{name}", versioned(name)):
            status, headers, body = ask(url, path, headers=PACKED)
            assert status == 200, path
            packed = headers["Content-Encoding"] == "gzip"
            assert (gzip.decompress(body) if packed else body) == content, path


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("js/main.js", "text/javascript; charset=utf-8"),
        ("css/page.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml; charset=utf-8"),
        ("i18n/zh.json", "application/json"),
    ],
)
def test_media_type_does_not_hang_on_the_machine(url: str, name: str, media_type: str) -> None:
    assert ask(url, versioned(name))[1]["Content-Type"] == media_type


def test_versioned_file_is_kept_for_good_and_the_plain_one_is_asked_about(url: str) -> None:
    kept = ask(url, versioned("js/main.js"))[1]["Cache-Control"]
    assert kept == "public, max-age=31536000, immutable"
    plain = ask(url, "/static/js/main.js")[1]
    assert plain["Cache-Control"] == "no-cache"
    assert ask(url, "/static/js/main.js", headers={"If-None-Match": plain["ETag"]})[0] == 304


@pytest.mark.parametrize("version", ["0" * 16, "0123456789abcdef"])
@pytest.mark.parametrize("name", ["js/main.js", "nope.js", ""])
def test_other_version_is_not_found(url: str, version: str, name: str) -> None:
    answer = ask(url, f"/static/{version}/{name}")
    assert_problem(answer, 404, "not_found")
    assert "immutable" not in answer[1].get("Cache-Control", "")


@pytest.mark.parametrize(
    "path",
    ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "js/../../app.py", "js", "js/", "/etc/hosts"],
)
def test_nothing_but_the_files_is_served(url: str, path: str) -> None:
    assert ask(url, f"/static/{path}")[0] == 404
    assert ask(url, versioned(path))[0] == 404


@pytest.mark.parametrize(
    "path", ["/", "/how-it-works", "/benchmark", "/docs", "/openapi.json", "/static/icon.svg"]
)
def test_each_encoding_has_its_own_tag(url: str, path: str) -> None:
    _, plain, _ = ask(url, path)
    _, packed, _ = ask(url, path, headers=PACKED)
    tags = {plain["ETag"], packed["ETag"]}
    assert len(tags) == 2
    assert not [tag for tag in tags if tag.startswith("W/")]
    assert "Content-Encoding" not in plain
    assert packed["Content-Encoding"] == "gzip"
    assert int(packed["Content-Length"]) < int(plain["Content-Length"])
    for headers in (plain, packed):
        assert "Accept-Encoding" in headers["Vary"]
    for mine, other in ((plain, packed), (packed, plain)):
        asked = PACKED if mine is packed else {}
        same = ask(url, path, headers=asked | {"If-None-Match": mine["ETag"]})
        assert (same[0], same[2]) == (304, b"")
        assert same[1]["ETag"] == mine["ETag"]
        assert same[1]["Vary"] == mine["Vary"]
        assert ask(url, path, headers=asked | {"If-None-Match": other["ETag"]})[0] == 200


@pytest.mark.parametrize(
    ("accept", "packed"),
    [
        ("gzip", True),
        ("GZIP;q=0.5", True),
        ("br, *;q=0.1", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("gzip;q=0.5, identity", False),
        ("br", False),
        ("", False),
    ],
)
def test_encoding_is_one_that_the_client_takes(url: str, accept: str, packed: bool) -> None:
    headers = ask(url, versioned("js/main.js"), headers={"Accept-Encoding": accept})[1]
    assert (headers["Content-Encoding"] == "gzip") is packed


def test_head_tells_what_get_would_bring(url: str) -> None:
    for path in ("/", versioned("js/main.js")):
        head = ask(url, path, headers=PACKED, method="HEAD")
        got = ask(url, path, headers=PACKED)
        assert head[2] == b""
        for name in ("ETag", "Content-Length", "Content-Encoding", "Cache-Control", "Vary"):
            assert head[1][name] == got[1][name]


def test_version_follows_each_name_and_each_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    versions = set()
    for name, content in (("a.js", b"1"), ("a.js", b"2"), ("b.js", b"2"), ("b/c.js", b"")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        versions.add(load_assets.__wrapped__().version)
    assert len(versions) == 4
    (tmp_path / "a.js~").write_bytes(b"an editor's copy")
    assert load_assets.__wrapped__().version in versions


def test_files_are_not_read_before_they_are_asked_for() -> None:
    program = (
        "from sightbox.backends.dummy import DummyBackend;"
        "from sightbox.classifier import Classifier;"
        "from sightbox.settings import load_settings; from sightbox.web.app import create_app;"
        "from sightbox.web.assets import load_assets as load;"
        "app = create_app(Classifier(backend=DummyBackend()), load_settings());"
        "client = app.test_client(); client.get('/livez'); print(load.cache_info().currsize);"
        "client.get('/'); print(load.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.split() == [b"0", b"1"]


def test_connection_stays_open_behind_an_answer_without_a_body(dummy: Classifier) -> None:
    with serving(dummy) as url, connect(url) as browser:
        browser.sendall(b"GET /static/icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, headers, _ = hear(browser)
        assert status == 200
        again = (
            f"GET /static/icon.svg HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {headers['ETag']}"
        )
        for more, closes in (("", None), ("", None), ("\r\nConnection: close", "close")):
            browser.sendall(f"{again}{more}\r\n\r\n".encode())
            status, headers, _ = hear(browser)
            assert (status, headers["Connection"]) == (304, closes)
        assert browser.recv(1) == b""
