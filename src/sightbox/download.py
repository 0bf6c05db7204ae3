"""Fetches a weights file over http(s) so that only the whole, right file is ever seen.

The bytes go to ``<name>.part``, the server's tag for this version to ``<name>.part.tag``. A broken
transfer goes on from there: `Range` asks for the rest and `If-Range` (RFC 9110, 13.1.5) for all of
it, should it have changed. The finished part is checked, flushed to the disk and only then renamed.
"""

import base64
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse, InvalidURL, responses
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from sightbox.errors import DownloadError
from sightbox.filelock import exclusive_lock

BACKOFF_S: tuple[float, ...] = (0.5, 1.0, 2.0)
"""The wait before each further try after a broken connection, in seconds."""

# Also what a reset or a timeout in the middle of a read may lose.
_BLOCK_BYTES = 64 * 1024
# Scheme, user and password, host and port, the rest; no IPv6 literals, whose rules are many.
_ADDRESS = re.compile(r"(?ai)(https?://)(?:([^/?#\s]*)@)?([\w.:-]+)([/?][!\"$-~]*)?(?:#.*)?")
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
_FINAL = (ConnectionRefusedError, InvalidURL)
_AGAIN = "Start the download again: it goes on where it stopped."
_ELSEWHERE = "Or fetch the file on another machine and run `sightbox models import FILE`."
_OFFLINE = f"Behind a proxy, set HTTPS_PROXY; for its certificates SSL_CERT_FILE. {_ELSEWHERE}"
_WRONG = f"Look at the address: a login page, a filter or a bad redirect may answer. {_ELSEWHERE}"
_DISK = "Free some space, or choose a folder that you may write to with SIGHTBOX_HOME."


def download(
    url: str,
    target: Path,
    *,
    size: int | None,
    sha256: str,
    timeout: float = 20.0,
    progress: Callable[[int, int | None], None] | None = None,
) -> None:
    """Fetches ``url`` to ``target``; returns at once if the right file stands there already.

    Proxies come from HTTP_PROXY, HTTPS_PROXY and NO_PROXY, authorities for certificates from
    SSL_CERT_FILE. A broken connection and a status of 500 or more are tried again (`BACKOFF_S`);
    after any other end, Ctrl-C included, the part waits for the next call; wrong bytes are removed.
    Of two callers with the same target one waits, then finds the file.

    Args:
        url: An http or https address; ``user:password@`` becomes basic authentication.
        target: The file to make; its folder is made as well.
        size: The file's length in bytes, if known. Without it, nothing limits what is stored.
        sha256: 64 hexadecimal digits, or the first 8 or more, as torchvision's file names have.
        timeout: Seconds to wait for the connection, and for each piece of the answer.
        progress: Is called with the bytes that are here and all of them, if their number is known.

    Raises:
        DownloadError: No network, a refusal, the wrong bytes, or a folder that cannot take them.
    """
    address = _ADDRESS.fullmatch(url)
    if not address or not re.fullmatch(r"[0-9a-fA-F]{8,64}", sha256):
        raise DownloadError("A download needs an http(s) address and 8 to 64 digits of a sha256.")
    scheme, login, host, path = address.groups("")
    part, tag, lock = (Path(f"{target}{end}") for end in (".part", ".part.tag", ".lock"))
    transfer = _Transfer(f"{scheme}{host}{path}", login, part, tag, size, timeout, progress)
    try:
        if _digest(target).startswith(sha256.lower()):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(lock):
            # Whoever held the lock before may have done the work.
            if not _digest(target).startswith(sha256.lower()):
                transfer.fetch()
                transfer.finish(target, sha256.lower())
    except OSError as error:
        raise _disk_error(error, target) from error


class _PassingError(DownloadError):
    """This try failed in a way that the next one may not."""


@dataclass(frozen=True)
class _Transfer:
    url: str
    login: str
    part: Path
    tag: Path
    size: int | None
    timeout: float
    progress: Callable[[int, int | None], None] | None

    def fetch(self) -> None:
        for wait in BACKOFF_S:
            with suppress(_PassingError):
                return self.attempt()
            time.sleep(wait)
        return self.attempt()

    def attempt(self) -> None:
        offset, tag = self.resume_point()
        if offset == self.size:
            return
        with self.request(offset, tag) as response:
            start, total, new_tag = _described(response)
            host = urlsplit(response.url).netloc
            if start and (start != offset or new_tag not in {"", tag}):
                self.discard()
                raise _PassingError(f"{host} sent another part than the one asked for.", _AGAIN)
            goal = total if self.size is None else self.size
            if total not in {None, goal}:
                raise DownloadError(f"{host} offers {total} bytes, not {goal}.", _WRONG)
            done = self.store(response, start, goal, new_tag)
            if goal is not None and done < goal:
                raise _PassingError(f"{host} stopped after {done} of {goal} bytes.", _AGAIN)

    def resume_point(self) -> tuple[int, str]:
        """How many bytes are here, and the tag of their version; none if it is not known."""
        with suppress(OSError, ValueError):
            tag, offset = self.tag.read_text("ascii"), self.part.stat().st_size
            if tag and tag.isprintable() and offset <= (self.size or offset):
                return offset, tag
        return 0, ""

    def request(self, offset: int, tag: str) -> HTTPResponse:
        headers = {"User-Agent": "sightbox"}
        if offset:
            headers |= {"Range": f"bytes={offset}-", "If-Range": tag}
        request = Request(self.url, headers=headers)  # noqa: S310 - `_ADDRESS` has only http(s)
        if self.login:
            token = base64.b64encode(unquote(self.login).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {token}")
        redirects = _Redirects()
        try:
            response: HTTPResponse = build_opener(redirects).open(request, timeout=self.timeout)
        except (OSError, HTTPException, ValueError) as error:
            raise self.failure(error, redirects.url or self.url) from None
        return response

    def store(self, response: HTTPResponse, start: int, goal: int | None, tag: str) -> int:
        done = start
        with self.part.open("ab" if start else "wb") as file:
            if not start:
                self.tag.write_text(tag, "ascii")
            while block := self.read(response):
                done += len(block)
                if goal is not None and done > goal:
                    raise DownloadError(f"The server sends more than {goal} bytes.", _WRONG)
                file.write(block)
                if self.progress:
                    self.progress(done, goal)
        return done

    def read(self, response: HTTPResponse) -> bytes:
        try:
            return response.read(_BLOCK_BYTES)
        except (OSError, HTTPException) as error:
            raise self.failure(error, response.url) from None

    def failure(self, error: Exception, url: str) -> DownloadError:
        """What to raise for a network's ``error``; it never quotes an address with its secrets."""
        host, reason = urlsplit(url).netloc, error.reason if isinstance(error, URLError) else error
        if isinstance(error, HTTPError):
            error.close()
            if error.code == 416:
                self.discard()
            status = f"{error.code} {responses.get(error.code, '')}"
            detail = f"{host} answers {status} to {urlsplit(url).path}."
            again = error.code == 416 or error.code >= 500
            return _PassingError(detail, _AGAIN) if again else DownloadError(detail, _WRONG)
        if isinstance(reason, TimeoutError):
            return DownloadError(f"{host} sent nothing for {self.timeout:g} seconds.", _AGAIN)
        if isinstance(reason, (ConnectionError, HTTPException)) and not isinstance(reason, _FINAL):
            return _PassingError(f"The connection to {host} broke.", _AGAIN)
        # An error that does not come from the system may quote the proxy's password.
        text = reason.strerror or str(reason) if isinstance(reason, OSError) else "unusable address"
        return DownloadError(f"No connection to {host}: {text}.", _OFFLINE)

    def finish(self, target: Path, sha256: str) -> None:
        with self.part.open("r+b") as file:
            os.fsync(file.fileno())
        found = _digest(self.part)
        if not found.startswith(sha256):
            self.discard()
            raise DownloadError(f"The sha256 of {target.name} is {found}, not {sha256}.", _WRONG)
        self.part.replace(target)
        self.discard()

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to http and https only, and never from https to http."""

    url = ""  # the latest

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        # Or else urllib reads the redirect's own body into memory, however long it is.
        fp.close()
        parts = urlsplit(newurl)
        if parts.scheme not in {"https", urlsplit(req.full_url).scheme} or "@" in parts.netloc:
            return None
        if request := super().redirect_request(req, fp, code, msg, headers, newurl):
            self.url = newurl
            # urllib would hand it on, even to a host that NO_PROXY makes a direct one.
            request.remove_header("Proxy-authorization")
        return request


def _described(response: HTTPResponse) -> tuple[int, int | None, str]:
    """Where the body begins (-1: unknown), the file's size, and what `If-Range` may carry of it."""
    headers, start, total = response.headers, 0, response.length
    if response.status == 206:
        said = _RANGE.fullmatch(headers.get("Content-Range", ""))
        start = int(said[1]) if said else -1
        total = int(said[2]) if said and said[2] != "*" else None
    # A weak tag (W/"...") never matches there, so the date has to do.
    etag = headers.get("ETag", "")
    tag = etag if etag.startswith('"') else headers.get("Last-Modified", "")
    return start, total, tag if tag.isascii() and tag.isprintable() else ""


def _digest(path: Path) -> str:
    with suppress(FileNotFoundError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def _disk_error(error: OSError, target: Path) -> DownloadError:
    free = 0.0
    for place in reversed(target.absolute().parents):
        with suppress(OSError):
            free = shutil.disk_usage(place).free / 1e6
    detail = f"{target} cannot be written: {error.strerror}; {free:,.0f} MB are free there."
    return DownloadError(detail, _DISK)
