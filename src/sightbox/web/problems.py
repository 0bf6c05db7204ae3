"""Errors as responses: the one place that builds them, whoever found the error.

They are problem details (RFC 9457), but where a dialect has a form of its own.
"""

import logging
from collections.abc import Callable

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from sightbox.errors import BodyTooLargeError, SightboxError
from sightbox.schema import Json, identify, json_to_bytes, problem_to_json, status_to_json
from sightbox.tracing import current_trace, note_problem
from sightbox.web.dialects import huggingface, open_inference, photoprism, torchserve
from sightbox.web.operations import PROBLEM
from sightbox.web.service import current_service

DIALECTS: dict[str, Callable[[Json], Json]] = {
    open_inference.PREFIX: open_inference.error_body,
    huggingface.PREFIX: huggingface.error_body,
    photoprism.PREFIX: photoprism.error_body,
    **dict.fromkeys(torchserve.PREFIXES, torchserve.error_body),
}
"""Where the paths of a dialect begin, and what it makes of a problem detail."""

MORE_HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    429: {"Retry-After": "1"},
    503: {"Retry-After": "1"},
}
"""What a status must or may say besides (RFC 9110, sections 11.6.1 and 10.2.3, in seconds; RFC
6585, section 4)."""

REFUSALS = {503, 504}
"""Statuses of a server that is busy or stops. They are counted, and not logged one by one: under
pressure there are as many as clients care to cause."""

logger = logging.getLogger(__name__)


def install(app: Flask) -> None:
    """Makes every error of `app` a response that its route's clients can read."""
    app.register_error_handler(SightboxError, _answer_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_bug)


def body_too_large(limit_mb: float) -> BodyTooLargeError:
    """Returns the error for a request above the limit, in MB."""
    return BodyTooLargeError(
        f"The upload is larger than {limit_mb:g} MB.",
        "Send a smaller picture, or raise the setting max_body_mb.",
    )


def problem_response(problem: Json, path: str) -> tuple[int, dict[str, str], bytes]:
    """Returns status, headers and body of the response that carries a problem detail.

    It is noted in the current trace, and carries that trace's request id.

    Args:
        problem: The problem detail.
        path: The path that was asked for; "" when it could not be read.
    """
    status = problem["status"]
    note_problem(problem["code"])
    if (trace := current_trace()) is not None:
        problem = identify(problem, trace.request_id)
    media_type, body = PROBLEM, problem
    for prefix, spell in DIALECTS.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            media_type, body = "application/json", spell(problem)
    headers = {"Content-Type": media_type} | MORE_HEADERS.get(status, {})
    return status, headers, json_to_bytes(body)


def _answer_error(error: SightboxError) -> Response:
    if error.status >= 500 and error.status not in REFUSALS:
        logger.error("%s: %s", error.code, error)
    return _answer(problem_to_json(error))


def _answer_http_error(error: HTTPException) -> Response:
    if isinstance(error, RequestEntityTooLarge):
        return _answer_error(body_too_large(current_service().settings.max_body_mb))
    response = _answer(status_to_json(error.code or 500, error.description or ""))
    for name, value in error.get_headers():
        response.headers.setdefault(name, value)
    return response


def _answer(problem: Json) -> Response:
    status, headers, body = problem_response(problem, request.path)
    return Response(body, status, headers)


def _answer_bug(error: Exception) -> Response:
    # The edge of a request: what no one foresaw is logged with its trace and told without it.
    logger.error("A request failed.", exc_info=error)
    told = SightboxError("The server has met an error of its own; its log has more.")
    return _answer(problem_to_json(told))
