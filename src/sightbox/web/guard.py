"""Who may come in: checks before each request, headers on each response.

The server answers people on this machine and nobody else, unless told otherwise. A web page from
elsewhere, open in the same person's browser, is "elsewhere": it is kept out by the Host header
(DNS rebinding), the Origin header and Sec-Fetch-Site (cross-site requests), for every method.
"""

import hmac
import ipaddress
import re
from collections.abc import Callable

from flask import Flask, Response, request

from sightbox.errors import SettingsError, SightboxError
from sightbox.settings import Settings
from sightbox.web.service import current_service

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Sent with every response."""

PROBES = {
    "api.livez",
    "api.readyz",
    "open_inference.live",
    "open_inference.ready",
    "torchserve.ping",
}
"""What tells no more than whether the server works."""

OPEN_ENDPOINTS = {
    "pages.index",
    "lesson.how_it_works",
    "comparison.compare",
    "kiosk.view",
    "benchmark.page",
    "static",
    "installable.manifest",
    "installable.offline",
    "reference.page",
    "reference.document",
    *PROBES,
}
"""What needs no token: the pages hold nothing for others, and probes must work without a secret."""

Header = Callable[[str], str | None]

_HOST = re.compile(r"(?:\[([^\[\]@/?#]+)\]|([^\[\]@/?#:]*))(?::[0-9]*)?")
"""Host and port (RFC 9110, section 7.2); the address in brackets, or the name."""


class ForbiddenError(SightboxError):
    """The request comes from a place that may not ask."""

    code = "forbidden"
    title = "This request is not allowed"
    status = 403


class UnauthorizedError(SightboxError):
    """The request lacks the token."""

    code = "token_needed"
    title = "A token is needed"
    status = 401


def install(app: Flask) -> None:
    """Puts the guard around every route of `app`."""
    app.before_request(_check_request)
    app.after_request(_add_headers)


def check_exposure(settings: Settings) -> None:
    """Refuses to listen to a network without a token.

    Raises:
        SettingsError: The host is no loopback address, and there is neither a token nor
            ``insecure``.
    """
    if not is_loopback(settings.host) and settings.token is None and not settings.insecure:
        raise SettingsError(
            f"Listening on {settings.host} lets other machines ask.",
            "Give a token (SIGHTBOX_TOKEN, at least 16 characters), or accept it with --insecure.",
        )


def check_place(settings: Settings, method: str, header: Header, *, is_probe: bool = False) -> None:
    """Checks where a request comes from.

    Args:
        settings: Under which names the server may be reached.
        method: The request's method.
        header: Returns the value of a header, None when there is none.
        is_probe: Whether it asks no more than whether the server works.

    Raises:
        ForbiddenError: It was sent to another host's name, or by a page from elsewhere.
    """
    host = header("Host")
    # Probes written for HTTP/1.0 name no host; a browser always does.
    if host is not None or not is_probe:
        _check_host(settings, host or "")
    _check_origin(method, header)


def check_token(authorization: str, token: str) -> None:
    """Compares the Authorization header, "" when there is none, with the token.

    Raises:
        UnauthorizedError: It does not carry the token.
    """
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), token.encode()):
        raise UnauthorizedError(
            "This server wants a token.", "Send the header: Authorization: Bearer <token>."
        )


def is_loopback(host: str) -> bool:
    """Tells whether a host name or address is this machine alone."""
    name = _plain(host)
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _check_request() -> None:
    settings = current_service().settings
    is_probe = request.endpoint in PROBES
    check_place(settings, request.method, request.headers.get, is_probe=is_probe)
    if settings.token is not None and request.endpoint not in OPEN_ENDPOINTS:
        check_token(request.headers.get("Authorization", ""), settings.token)


def _check_host(settings: Settings, given: str) -> None:
    host = _host_name(given)
    if host in {"localhost", *map(_plain, (settings.host, *settings.allowed_hosts))}:
        return
    # An address instead of a name cannot have been rebound; the network was allowed at start.
    if is_loopback(host) or (_is_address(host) and not is_loopback(settings.host)):
        return
    raise ForbiddenError(
        f"The host {host!r} is not served here.",
        "Use the address that was printed at start, or name it in the setting allowed_hosts.",
    )


def _check_origin(method: str, header: Header) -> None:
    origin = header("Origin")
    if origin is not None:
        # An origin is scheme://host:port and nothing more, or "null" (RFC 6454, section 6.1).
        _, _, host = origin.partition("://")
        if not host or host.lower() != (header("Host") or "").lower():
            raise ForbiddenError(f"Pages from {origin} may not ask this server.")
    is_link = method == "GET" and header("Sec-Fetch-Mode") == "navigate"
    if header("Sec-Fetch-Site") in {"cross-site", "same-site"} and not is_link:
        raise ForbiddenError("Pages from other sites may not ask this server.")


def _host_name(header: str) -> str:
    """Returns the name or address in a Host header; "" when it is malformed."""
    found = _HOST.fullmatch(header)
    return _plain(found[1] or found[2]) if found else ""


def _plain(name: str) -> str:
    # Names have no case, and may end with the root's dot (RFC 1034, section 3.1).
    return name.lower().removesuffix(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
