"""Errors as problem details (RFC 9457): the one place where the native API spells them."""

import json
import logging

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from sightbox.errors import BodyTooLargeError, SightboxError
from sightbox.schema import Json, problem_to_json
from sightbox.web.service import current_service

MEDIA_TYPE = "application/problem+json"
"""RFC 9457, section 6.1."""

RETRY_AFTER = "1"
"""Seconds after which a busy server may be asked again (RFC 9110, section 10.2.3)."""

logger = logging.getLogger(__name__)


def install(app: Flask) -> None:
    """Makes every error of `app` a problem detail."""
    app.register_error_handler(SightboxError, _answer_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_bug)


def body_too_large(limit_mb: float) -> BodyTooLargeError:
    """Returns the error for a request above the limit, in MB."""
    return BodyTooLargeError(
        f"The upload is larger than {limit_mb:g} MB.",
        "Send a smaller picture, or raise the setting max_body_mb.",
    )


def problem_bytes(problem: Json) -> bytes:
    """Returns a problem detail as the body of a response."""
    return (json.dumps(problem, ensure_ascii=False) + "\n").encode()


def _answer_error(error: SightboxError) -> Response:
    if error.status >= 500:
        logger.error("%s: %s", error.code, error)
    response = Response(problem_bytes(problem_to_json(error)), error.status)
    response.content_type = MEDIA_TYPE
    if error.status == 503:
        response.headers["Retry-After"] = RETRY_AFTER
    return response


def _answer_http_error(error: HTTPException) -> Response:
    if isinstance(error, RequestEntityTooLarge):
        return _answer_error(body_too_large(current_service().settings.max_body_mb))
    response = Response(error.get_response().get_data(), error.code, error.get_headers())
    response.data = problem_bytes(
        {
            "type": "about:blank",
            "title": error.name,
            "status": error.code,
            "detail": error.description,
            "code": error.name.lower().replace(" ", "_"),
        }
    )
    response.content_type = MEDIA_TYPE
    return response


def _answer_bug(error: Exception) -> Response:
    # The edge of a request: what no one foresaw is logged with its trace and told without it.
    logger.error("A request failed.", exc_info=error)
    return _answer_error(SightboxError("The server has met an error of its own; its log has more."))
