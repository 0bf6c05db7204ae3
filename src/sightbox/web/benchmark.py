"""The page of the benchmark: the last report, and a short run that can be watched.

The page is a shell that anybody may load; where a token is needed, the report in it is not for
everybody, and the page's script asks again with the token.
"""

from flask import Blueprint, Response, request

from sightbox.benchmark.page import report_body
from sightbox.benchmark.runner import Progress
from sightbox.errors import SightboxError
from sightbox.schema import json_to_bytes
from sightbox.web.guard import PROBES, UnauthorizedError, check_token, is_loopback
from sightbox.web.pages import choose_language, render_page
from sightbox.web.service import current_service

TEXTS = "benchmark"
"""The folder of the page's own texts, beside those that it shares with the first page."""

SCRIPTS = ("ask",)
"""The page's own modules besides the one that joins them."""

SHARED_SCRIPTS = ("announce", "api", "documents", "elements", "i18n", "token", "unlock")
"""What it takes of the first page's."""

RUN = "/benchmark/run"
"""No part of the API: it is what the page asks."""

benchmark = Blueprint("benchmark", __name__)


class ElsewhereError(SightboxError):
    """Somebody on another machine, who has shown no token, wants to start or end a run."""

    code = "benchmark_elsewhere"
    title = "Only the machine itself may start or end a benchmark here"
    status = 403


@benchmark.get("/benchmark")
def page() -> Response:
    """Serves the page with the last report, in the reader's language."""
    language = choose_language()
    service = current_service()
    locked = _is_locked()
    report = None if locked else service.benchmarks.report()
    response = render_page(
        "benchmark.html",
        language,
        TEXTS,
        model=service.classifier.card.name,
        locked=locked,
        report=report,
        body=None if report is None else report_body(report, (language,)),
        scripts=[f"js/{name}" for name in SHARED_SCRIPTS]
        + [f"benchmark/{name}" for name in SCRIPTS],
    )
    response.vary.add("Authorization")
    return response


@benchmark.get(RUN)
def tell() -> Response:
    """Tells how far the run is."""
    return _told(current_service().benchmarks.progress())


@benchmark.post(RUN)
def start() -> Response:
    """Starts a short run; 409 while one goes on."""
    _check_asker()
    runner = current_service().benchmarks
    runner.start()
    response = _told(runner.progress())
    response.status_code = 202
    return response


@benchmark.delete(RUN)
def cancel() -> Response:
    """Ends the run, if one goes on."""
    _check_asker()
    runner = current_service().benchmarks
    runner.cancel()
    return _told(runner.progress())


@benchmark.after_app_request
def _count(response: Response) -> Response:
    """Notes what is answered during a run and has nothing to do with it."""
    own = request.blueprint == benchmark.name or request.endpoint in {"static", *PROBES}
    if not own:
        current_service().benchmarks.note_answer()
    return response


def _check_asker() -> None:
    """Keeps from strangers what takes all cores: a server with ``insecure`` asks for no token.

    Raises:
        ElsewhereError: There is no token, and the request comes from another machine.
    """
    has_token = current_service().settings.token is not None
    if not has_token and not is_loopback(request.remote_addr or ""):
        raise ElsewhereError(
            "This server has no token, so only its own machine may start or end a benchmark.",
            "Run sightbox bench there, or give the server a token.",
        )


def _is_locked() -> bool:
    token = current_service().settings.token
    if token is None:
        return False
    try:
        check_token(request.headers.get("Authorization", ""), token)
    except UnauthorizedError:
        return True
    return False


def _told(progress: Progress) -> Response:
    response = Response(json_to_bytes(progress.to_json()), mimetype="application/json")
    response.cache_control.no_store = True
    return response
