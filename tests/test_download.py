"""Downloads from a real server on the loopback that misbehaves in every way we could think of."""

import base64
import hashlib
import pickle
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sightbox import download as module
from sightbox.download import download
from sightbox.errors import DownloadError

WEIGHTS = random.Random(18).randbytes(300_000)
OTHER = random.Random(34).randbytes(len(WEIGHTS))
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
HALF = len(WEIGHTS) // 2
ETAG = {"ETag": '"one"'}
REST = f"bytes={HALF}-"
OLD, WEAK = {"ETag": '"old"'}, {"ETag": 'W/"one"'}
DATE = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals, limits, devices")

CHILD = """
import os, sys
from pathlib import Path
from sightbox.download import download
from sightbox.errors import DownloadError

def report(done, total):
    print(done, flush=True)

{setup}
print("ready", flush=True)
try:
    download(sys.argv[1], Path(sys.argv[2]), size={size}, sha256="{sha256}", progress=report)
except DownloadError as error:
    print(error)
"""

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Gives the next of the server's answers, the last one for ever."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append(self)
        self.close_connection = True
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def head(self, code: int, length: int | None = None, /, **headers: str) -> None:
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


class Server(ThreadingHTTPServer):
    """Listens on a free port; knows what it was asked and what it will answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = [whole]
        self.asked: list[Handler] = []
        self.gate = threading.Event()
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"http://{self.host}/models/net.pth"

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: clients that leave early are the point of these tests."""

    def ranges(self) -> list[str | None]:
        return [handler.headers["Range"] for handler in self.asked]


def whole(handler: Handler, body: bytes = WEIGHTS, tag: dict[str, str] = ETAG) -> None:
    """Answers as RFC 9110 wants it, with a part if one is asked for and the tag still fits."""
    wanted = handler.headers["Range"]
    if wanted and handler.headers["If-Range"] in tag.values():
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.head(206, len(body) - start, Content_Range=span, **tag)
        handler.wfile.write(body[start:])
    else:
        handler.head(200, len(body), **tag)
        handler.wfile.write(body)


def answered_with(body: bytes = WEIGHTS, tag: dict[str, str] = ETAG) -> Answer:
    return lambda handler: whole(handler, body, tag)


def half(tag: dict[str, str] = ETAG, body: bytes = WEIGHTS) -> Answer:
    def answer(handler: Handler) -> None:
        handler.head(200, len(body), **tag)
        handler.wfile.write(body[:HALF])

    return answer


def stalled_half(handler: Handler) -> None:
    half()(handler)
    handler.wfile.flush()
    handler.server.gate.wait(60)


def silence(handler: Handler) -> None:
    handler.server.gate.wait(60)


def hang_up(handler: Handler) -> None:
    handler.wfile.flush()


def status(code: int, **headers: str) -> Answer:
    return lambda handler: handler.head(code, 0, **headers)


def part_from(
    start: int, end: int = len(WEIGHTS), /, total: str = str(len(WEIGHTS)), **tag: str
) -> Answer:
    def answer(handler: Handler) -> None:
        span = f"bytes {start}-{end - 1}/{total}"
        handler.head(206, end - start, Content_Range=span, **tag)
        handler.wfile.write(WEIGHTS[start:end])

    return answer


def until_closed(body: bytes) -> Answer:
    def answer(handler: Handler) -> None:
        handler.head(200, **ETAG)
        handler.wfile.write(body)

    return answer


def chunked(body: bytes, *, end: bool = True) -> Answer:
    def answer(handler: Handler) -> None:
        handler.head(200, Transfer_Encoding="chunked")
        for at in range(0, len(body), 70_000):
            chunk = body[at : at + 70_000]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if end:
            handler.wfile.write(b"0\r\n\r\n")

    return answer


def serve(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def site() -> Iterator[Server]:
    yield from serve(Server())


@pytest.fixture
def mirror() -> Iterator[Server]:
    yield from serve(Server())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "net.pth"


@pytest.fixture(autouse=True)
def _no_proxy_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "BACKOFF_S", (0.0, 0.0, 0.0))


def fetch(url: str, target: Path, **changes: Any) -> None:  # noqa: ANN401 - any argument of it
    arguments: dict[str, Any] = {"size": len(WEIGHTS), "sha256": SHA256, "timeout": 20.0}
    download(url, target, **arguments | changes)


def beside(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def child(url: str, target: Path | str, setup: str = "", **options: Any) -> subprocess.Popen[str]:  # noqa: ANN401
    code = CHILD.format(setup=setup, size=len(WEIGHTS), sha256=SHA256)
    arguments = [sys.executable, "-c", code, url, str(target)]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options
    )


def read_until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    while (said := process.stdout.readline()) != f"{line}\n":
        assert said, f"the child ended before it said {line}"


def test_file_arrives_whole_and_alone(site: Server, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch(site.url, target, progress=lambda done, size: seen.append((done, size)))
    assert target.read_bytes() == WEIGHTS
    assert beside(target) == ["net.pth"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(WEIGHTS), len(WEIGHTS))


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8], SHA256[:17], SHA256.upper()])
def test_sha256_may_be_short_or_in_capitals(site: Server, target: Path, sha256: str) -> None:
    fetch(site.url, target, sha256=sha256)
    fetch(site.url, target, sha256=sha256)
    assert len(site.asked) == 1


@pytest.mark.parametrize("sha256", ["", SHA256[:7], SHA256 + "0", "resnet18"])
def test_bad_sha256_is_refused(target: Path, sha256: str) -> None:
    with pytest.raises(DownloadError, match="8 to 64 digits of a sha256"):
        fetch("http://127.0.0.1/net.pth", target, sha256=sha256)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "net.pth",
        "file:///etc/passwd",
        "ftp://127.0.0.1/net.pth",
        "http://",
        "http:///net.pth",
        "http://[::1/net.pth",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nX-Injected: 1",
    ],
)
def test_other_addresses_are_refused(target: Path, url: str) -> None:
    with pytest.raises(DownloadError, match=r"needs an http\(s\) address"):
        fetch(url, target)


def test_right_file_at_the_target_needs_no_network(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(WEIGHTS)
    fetch(f"http://127.0.0.1:{closed_port()}/net.pth", target)
    assert beside(target) == ["net.pth"]


def test_wrong_file_at_the_target_is_replaced(site: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(OTHER)
    fetch(site.url, target)
    assert target.read_bytes() == WEIGHTS


@POSIX_ONLY
def test_replaced_file_stays_whole_for_its_readers(site: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(OTHER)
    with target.open("rb") as reader:
        fetch(site.url, target)
        assert reader.read() == OTHER


CURABLE: dict[str, tuple[list[Answer], list[str | None]]] = {
    "dropped": ([half(), whole], [None, REST]),
    "dropped, only a date": ([half(DATE), answered_with(tag=DATE)], [None, REST]),
    "dropped, weak tag and date": ([half(WEAK | DATE), answered_with(tag=DATE)], [None, REST]),
    "dropped, weak tag": ([half(WEAK), whole], [None, None]),
    "dropped, no tag": ([half({}), whole], [None, None]),
    "ranges ignored": ([half(), until_closed(WEIGHTS)], [None, REST]),
    "file changed": ([half(OLD, OTHER), whole], [None, REST]),
    "changed, part sent": ([half(OLD, OTHER), part_from(HALF, **ETAG), whole], [None, REST, None]),
    "416": ([half(), status(416), whole], [None, REST, None]),
    "part from before": ([half(), part_from(HALF - 1), whole], [None, REST, None]),
    "part from behind": ([half(), part_from(HALF + 1), whole], [None, REST, None]),
    "part from nowhere": ([half(), status(206), whole], [None, REST, None]),
    "short part": ([half(), part_from(HALF, HALF + 9), whole], [None, REST, f"bytes={HALF + 9}-"]),
    "trouble between": ([half(), status(503), whole], [None, REST, REST]),
    "trouble": ([status(500), status(502), status(503), whole], [None] * 4),
    "chunks without end": ([chunked(WEIGHTS, end=False), whole], [None, None]),
}


@pytest.mark.parametrize(("answers", "ranges"), CURABLE.values(), ids=CURABLE)
def test_curable_failure_is_cured(
    site: Server, target: Path, answers: list[Answer], ranges: list[str | None]
) -> None:
    site.answers = list(answers)
    fetch(site.url, target)
    assert target.read_bytes() == WEIGHTS
    assert beside(target) == ["net.pth"]
    assert site.ranges() == ranges


FINAL: dict[str, tuple[list[Answer], str, int]] = {
    "416 for ever": ([status(416)], "{host} answers 416 ", 4),
    "500 for ever": (
        [status(500)],
        "{host} answers 500 Internal Server Error to /models/net.pth",
        4,
    ),
    "wrong part for ever": ([part_from(7)], "{host} sent another part", 4),
    "ends early": ([until_closed(WEIGHTS[:-1])], "{host} stopped after 299999 of 300000 bytes", 4),
    "chunks end early": ([chunked(WEIGHTS[:-1])], "{host} stopped after 299999 of 300000 bytes", 4),
    "other total": ([half(), part_from(HALF, total="9")], "{host} offers 9 bytes, not 300000", 2),
    "empty": ([answered_with(b"")], "{host} offers 0 bytes", 1),
    "too short": ([answered_with(WEIGHTS[:-1])], "{host} offers 299999 bytes", 1),
    "too long": ([answered_with(WEIGHTS + b"!")], "{host} offers 300001 bytes", 1),
    "login page": ([answered_with(b"<html>Log in</html>")], "{host} offers 19 bytes", 1),
} | {str(n): ([status(n)], f"answers {n} .* to /models", 1) for n in (400, 401, 403, 404, 410, 429)}


@pytest.mark.parametrize(("answers", "message", "tries"), FINAL.values(), ids=FINAL)
def test_final_failure_is_an_error(
    site: Server, target: Path, answers: list[Answer], message: str, tries: int
) -> None:
    site.answers = list(answers)
    with pytest.raises(DownloadError, match=message.format(host=site.host)):
        fetch(site.url, target)
    assert len(site.asked) == tries
    assert not target.exists()


def test_resuming_asks_for_the_same_version(site: Server, target: Path) -> None:
    site.answers = [half(), whole]
    fetch(site.url, target)
    assert [handler.headers["If-Range"] for handler in site.asked] == [None, '"one"']


def test_connection_that_always_drops_ends_and_keeps_the_part(site: Server, target: Path) -> None:
    site.answers = [half(), hang_up]
    with pytest.raises(DownloadError, match=f"connection to {site.host} broke") as caught:
        fetch(site.url, target)
    assert len(site.asked) == 4
    assert "goes on where it stopped" in caught.value.hint
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), DownloadError)
    assert target.with_name("net.pth.part").read_bytes() == WEIGHTS[:HALF]
    assert beside(target) == ["net.pth.part", "net.pth.part.tag"]


def test_part_is_resumed_by_the_next_call(
    site: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", ())
    site.answers = [half(), whole]
    with pytest.raises(DownloadError, match=f"stopped after {HALF} of {len(WEIGHTS)} bytes"):
        fetch(site.url, target)
    fetch(site.url, target)
    assert site.ranges() == [None, REST]
    assert target.read_bytes() == WEIGHTS


def test_finished_part_is_only_checked(target: Path) -> None:
    target.parent.mkdir()
    target.with_name("net.pth.part").write_bytes(WEIGHTS)
    target.with_name("net.pth.part.tag").write_text('"one"')
    fetch(f"http://127.0.0.1:{closed_port()}/net.pth", target)
    assert beside(target) == ["net.pth"]


@pytest.mark.parametrize("tag", [b"", b'"a"\r\nX: 1', b"\xff\xfe", None])
def test_part_with_a_damaged_tag_is_not_resumed(
    site: Server, target: Path, tag: bytes | None
) -> None:
    target.parent.mkdir()
    target.with_name("net.pth.part").write_bytes(OTHER[:HALF])
    if tag is not None:
        target.with_name("net.pth.part.tag").write_bytes(tag)
    fetch(site.url, target)
    assert site.ranges() == [None]


def test_part_that_is_too_long_is_not_resumed(site: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("net.pth.part").write_bytes(WEIGHTS + b"!")
    target.with_name("net.pth.part.tag").write_text('"one"')
    fetch(site.url, target)
    assert site.ranges() == [None]


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8]])
def test_wrong_file_is_removed_and_both_digests_shown(
    site: Server, target: Path, sha256: str
) -> None:
    site.answers = [answered_with(OTHER)]
    found = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(DownloadError, match=f"is {found}, not {sha256}"):
        fetch(site.url, target, sha256=sha256)
    assert beside(target) == []
    assert len(site.asked) == 1


def test_stalled_server_ends_with_the_timeout_and_a_part(site: Server, target: Path) -> None:
    site.answers = [stalled_half, whole]
    with pytest.raises(DownloadError, match=rf"{site.host} sent nothing for 0\.2 seconds"):
        fetch(site.url, target, timeout=0.2)
    assert beside(target) == ["net.pth.part", "net.pth.part.tag"]
    fetch(site.url, target)
    assert target.read_bytes() == WEIGHTS
    assert site.ranges()[1] is not None


def test_silent_server_ends_with_the_timeout(site: Server, target: Path) -> None:
    site.answers = [silence]
    with pytest.raises(DownloadError, match=r"sent nothing for 0\.2 seconds"):
        fetch(site.url, target, timeout=0.2)
    assert len(site.asked) == 1


def test_endless_server_is_stopped(site: Server, target: Path) -> None:
    def endless(handler: Handler) -> None:
        handler.head(200, **ETAG)
        while not handler.server.gate.is_set():
            handler.wfile.write(OTHER)

    site.answers = [endless]
    with pytest.raises(DownloadError, match=f"sends more than {len(WEIGHTS)} bytes"):
        fetch(site.url, target)
    assert target.with_name("net.pth.part").stat().st_size <= len(WEIGHTS)
    assert not target.exists()


@pytest.mark.parametrize("answer", [whole, until_closed(WEIGHTS), chunked(WEIGHTS)])
@pytest.mark.parametrize("size", [None, len(WEIGHTS)])
def test_every_framing_is_read(
    site: Server, target: Path, answer: Answer, size: int | None
) -> None:
    site.answers = [answer]
    fetch(site.url, target, size=size)
    assert target.read_bytes() == WEIGHTS


def test_resume_works_without_a_known_size(site: Server, target: Path) -> None:
    site.answers = [half(), part_from(HALF, total="*")]
    fetch(site.url, target, size=None)
    assert target.read_bytes() == WEIGHTS


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_is_followed_without_the_password(
    site: Server, mirror: Server, target: Path, code: int
) -> None:
    site.answers = [status(code, Location=mirror.url)]
    fetch(site.url.replace("//", "//ann:secret@"), target)
    assert target.read_bytes() == WEIGHTS
    assert site.asked[0].headers["Authorization"]
    assert not mirror.asked[0].headers["Authorization"]


def test_redirected_download_is_resumed(site: Server, mirror: Server, target: Path) -> None:
    site.answers = [status(302, Location=mirror.url)]
    mirror.answers = [half(), whole]
    fetch(site.url, target)
    assert mirror.ranges() == [None, REST]


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/net.pth",
        "data:text/plain,weights",
        "http://ann:secret@127.0.0.1/net.pth",
        "/models/net.pth",
        "",
    ],
)
def test_redirect_elsewhere_is_refused(site: Server, target: Path, location: str) -> None:
    site.answers = [status(302, Location=location)]
    with pytest.raises(DownloadError, match="answers 302 Found") as caught:
        fetch(site.url, target)
    assert "secret" not in str(caught.value)
    assert beside(target) == []


def test_body_of_a_redirect_is_not_read(site: Server, mirror: Server, target: Path) -> None:
    def endless(handler: Handler) -> None:
        handler.head(302, Location=mirror.url)
        while not handler.server.gate.is_set():
            handler.wfile.write(OTHER)

    site.answers = [endless]
    fetch(site.url, target)
    assert target.read_bytes() == WEIGHTS


def test_failure_behind_a_redirect_names_that_host(site: Server, target: Path) -> None:
    port = closed_port()
    site.answers = [status(302, Location=f"http://127.0.0.1:{port}/net.pth")]
    with pytest.raises(DownloadError, match=f"No connection to 127.0.0.1:{port}"):
        fetch(site.url, target)


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "nowhere.invalid", "127.0.0.1:http"])
def test_no_network_ends_at_once_with_a_way_out(
    target: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(seconds: float) -> None:
        raise AssertionError(seconds)

    host = host.format(port=closed_port())
    monkeypatch.setattr("sightbox.download.time.sleep", never)
    with pytest.raises(DownloadError, match=f"No connection to {host}: [A-Zu]") as caught:
        fetch(f"http://{host}/net.pth", target)
    assert "sightbox models import FILE" in caught.value.hint
    assert "HTTPS_PROXY" in caught.value.hint


def test_user_and_password_are_sent_but_never_shown(site: Server, target: Path) -> None:
    site.answers = [status(401)]
    with pytest.raises(DownloadError, match="answers 401") as caught:
        fetch(site.url.replace("//", "//ann:s%40cret@") + "?token=hidden#top", target)
    sent = site.asked[0].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == b"ann:s@cret"
    assert site.asked[0].path == "/models/net.pth?token=hidden"
    assert not any(word in str(caught.value) for word in ("ann", "cret", "hidden"))


def test_proxy_is_used_and_its_password_sent(
    site: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://ann:secret@{site.host}")
    monkeypatch.delenv("no_proxy")
    fetch("http://weights.invalid/net.pth", target)
    assert site.asked[0].requestline == "GET http://weights.invalid/net.pth HTTP/1.1"
    assert site.asked[0].headers["Proxy-Authorization"].startswith("Basic ")
    assert target.read_bytes() == WEIGHTS


def test_no_proxy_is_honoured(
    site: Server, mirror: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{mirror.host}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetch(site.url, target)
    assert site.asked[0].path == "/models/net.pth"
    assert mirror.asked == []


def test_proxy_password_does_not_leave_with_a_redirect(
    site: Server, mirror: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://ann:secret@{site.host}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site.answers = [status(302, Location=mirror.url)]
    fetch("http://weights.invalid/net.pth", target)
    assert site.asked[0].headers["Proxy-Authorization"]
    assert not mirror.asked[0].headers["Proxy-Authorization"]


@pytest.mark.parametrize(
    "proxy",
    ["http://ann:secret@127.0.0.1:1", "http:/ann:secret@p", "http://p:secret", "socks5://p"],
)
def test_proxy_that_fails_is_an_error_without_its_password(
    target: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.delenv("no_proxy")
    with pytest.raises(DownloadError, match=r"No connection to weights\.invalid") as caught:
        fetch("http://weights.invalid/net.pth", target)
    assert "secret" not in str(caught.value)


@pytest.fixture
def secure_site(tmp_path: Path) -> Iterator[Server]:
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"]
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    usage = ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    command = ["openssl", "req", "-x509", *kind, *files, *names, *usage]
    subprocess.run(command, check=True, capture_output=True)
    server = Server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.url = server.url.replace("http:", "https:")
    yield from serve(server)


def test_https_needs_a_certificate_that_is_trusted(
    secure_site: Server, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadError, match="certificate verify failed") as caught:
        fetch(secure_site.url, target)
    assert "SSL_CERT_FILE" in caught.value.hint
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    secure_site.answers = [half(), whole]
    fetch(secure_site.url, target)
    assert target.read_bytes() == WEIGHTS


def test_https_is_never_redirected_to_http(
    secure_site: Server,
    mirror: Server,
    target: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    secure_site.answers = [status(302, Location=mirror.url)]
    with pytest.raises(DownloadError, match="answers 302 Found"):
        fetch(secure_site.url, target)
    assert mirror.asked == []


def test_http_may_be_redirected_to_https(
    secure_site: Server, site: Server, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    site.answers = [status(302, Location=secure_site.url)]
    fetch(site.url, target)
    assert target.read_bytes() == WEIGHTS


def test_two_threads_download_once(site: Server, target: Path) -> None:
    def patient(handler: Handler) -> None:
        handler.server.gate.wait(0.2)
        whole(handler)

    site.answers = [patient]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: fetch(site.url, target), range(2)))
    assert len(site.asked) == 1
    assert beside(target) == ["net.pth"]


def test_two_processes_download_once(site: Server, target: Path) -> None:
    def patient(handler: Handler) -> None:
        handler.server.gate.wait(60)
        whole(handler)

    site.answers = [patient]
    children = [child(site.url, target) for _ in range(2)]
    for process in children:
        read_until(process, "ready")
    site.gate.wait(0.2)
    site.gate.set()
    assert [process.communicate(timeout=60) and process.returncode for process in children] == [
        0,
        0,
    ]
    assert len(site.asked) == 1
    assert target.read_bytes() == WEIGHTS


@POSIX_ONLY
@pytest.mark.parametrize("number", ["SIGKILL", "SIGINT"])
def test_killed_download_leaves_a_part_that_is_resumed(
    site: Server, target: Path, number: str
) -> None:
    site.answers = [stalled_half, whole]
    with child(site.url, target) as process:
        read_until(process, str(HALF // 65_536 * 65_536))
        process.send_signal(signal.Signals[number])
        assert process.wait(60) != 0
    assert not target.exists()
    assert target.with_name("net.pth.lock").exists() == (number == "SIGKILL")
    fetch(site.url, target)
    assert site.ranges() == [None, f"bytes={HALF // 65_536 * 65_536}-"]
    assert target.read_bytes() == WEIGHTS
    assert beside(target) == ["net.pth"]


@POSIX_ONLY
def test_file_size_limit_is_an_error_and_the_part_is_resumed(site: Server, target: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    with child(site.url, target, limit) as process:
        said = process.communicate(timeout=60)[0]
    assert f"{target} cannot be written: File too large; " in said
    assert "MB are free there. Free some space" in said
    fetch(site.url, target)
    assert site.ranges() == [None, "bytes=100000-"]
    assert target.read_bytes() == WEIGHTS


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_full_disk_is_an_error_with_the_free_space(site: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("net.pth.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"No space left on device; [\d,]+ MB are free there"):
        fetch(site.url, target)
    assert len(site.asked) == 1


@POSIX_ONLY
def test_folder_that_is_read_only_is_an_error(site: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    # The superuser may write anywhere, so the child becomes "nobody" first.
    nobody = "os.geteuid() or os.setuid(65534)"
    with child(site.url, "net.pth", nobody, cwd=tmp_path) as process:
        said = process.communicate(timeout=60)[0]
    tmp_path.chmod(0o755)
    assert "net.pth cannot be written: Permission denied; " in said
    assert "SIGHTBOX_HOME" in said
    assert site.asked == []


def test_folder_that_is_a_file_is_an_error(site: Server, tmp_path: Path) -> None:
    (tmp_path / "models").touch()
    with pytest.raises(DownloadError, match="cannot be written: Not a directory"):
        fetch(site.url, tmp_path / "models" / "net.pth")


def test_folder_at_the_target_is_an_error(site: Server, target: Path) -> None:
    target.mkdir(parents=True)
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch(site.url, target)
