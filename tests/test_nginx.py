"""The example of deploy/nginx.conf, in front of a real server."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from serving import Answer, read_answer, serving
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier

EXAMPLE = Path(__file__).parents[1] / "deploy" / "nginx.conf"
NAME = "box.example"

AROUND = """
daemon on;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/unused;
    uwsgi_temp_path {folder}/unused;
    scgi_temp_path {folder}/unused;
    include {folder}/site.conf;
}}
"""


@dataclass
class Proxy:
    """A running nginx."""

    port: int
    folder: Path

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        host: str = NAME,
    ) -> Answer:
        """Sends one request over TLS, and returns status, headers and body."""
        trust = ssl.create_default_context(cafile=self.folder / "cert.pem")
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as plain:
            connection = http.client.HTTPConnection(host)
            connection.sock = trust.wrap_socket(plain, server_hostname=NAME)
            with closing(connection):
                method = "GET" if body is None else "POST"
                connection.request(method, path, body, dict(headers or {}))
                return read_answer(connection.getresponse())


@pytest.fixture(scope="module")
def proxy(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The example, with ports and a certificate of this test, before the dummy backend."""
    if not shutil.which("nginx") or not shutil.which("openssl"):
        pytest.skip("this system has no nginx or no openssl")
    folder = tmp_path_factory.mktemp("nginx")
    key = ["-nodes", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    name = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *key, *name]
    subprocess.run(make, check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        Classifier(backend=DummyBackend(), home=home) as classifier,
        serving(classifier, allowed_hosts=(NAME,)) as url,
    ):
        site = EXAMPLE.read_text()
        for pattern, here in (
            (r"127\.0\.0\.1:8018", urlsplit(url).netloc),
            (r"listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            (r"/etc/ssl/box\.example\.pem", str(folder / "cert.pem")),
            (r"/etc/ssl/private/box\.example\.key", str(folder / "key.pem")),
        ):
            site, found = re.subn(pattern, here, site)
            assert found == 1, pattern
        (folder / "site.conf").write_text(site)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=user))
        nginx = ["nginx", "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]
        subprocess.run([*nginx, "-t"], check=True, capture_output=True)
        # It returns when it listens.
        subprocess.run(nginx, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield Proxy(port, folder)
        finally:
            subprocess.run([*nginx, "-s", "stop"], check=True)


def test_page_and_answers_come_through(proxy: Proxy, photos: Path) -> None:
    status, headers, page = proxy.ask("/")
    assert (status, b"<html" in page) == (200, True)
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    cat = (photos / "chelsea.png").read_bytes()
    own = {"Origin": f"https://{NAME}", "Sec-Fetch-Site": "same-origin"}
    status, _, answer = proxy.ask("/v1/classify", cat, own)
    assert (status, answer["image"]["format"]) == (200, "PNG")


def test_guard_works_behind_the_proxy(proxy: Proxy) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        status, _, problem = proxy.ask("/v1/classify", b"x", headers)
        assert (status, problem["code"]) == (403, "forbidden")
    assert proxy.ask("/livez", host="evil.example")[0] == 403


def test_upload_that_is_too_large_is_told_by_sightbox(proxy: Proxy) -> None:
    status, _, problem = proxy.ask("/v1/classify", b"x" * 32_000_001)
    assert (status, problem["code"]) == (413, "body_too_large")
    assert "max_body_mb" in json.dumps(problem)


def test_uploads_are_in_no_file_of_the_proxy(proxy: Proxy) -> None:
    assert proxy.ask("/v1/classify", b"x" * 9_000_000)[0] == 415
    # It would warn: "a client request body is buffered to a temporary file".
    assert "temporary file" not in (proxy.folder / "error.log").read_text()


def test_metrics_stay_inside(proxy: Proxy) -> None:
    status, headers, _ = proxy.ask("/metrics")
    assert status == 404
    assert headers["Content-Type"] == "text/html"
