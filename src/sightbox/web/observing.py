"""What is seen of each request: its id, its line in the log, and what it adds to the metrics."""

import logging
import re
import secrets
from collections import Counter
from collections.abc import Sized
from time import perf_counter
from typing import Any, Protocol

from flask import Blueprint, Flask, Response, current_app, request

import sightbox
from sightbox.logs import ACCESS, FIELDS
from sightbox.metrics import MEDIA_TYPES, Metrics, ModelState, ServerState
from sightbox.tracing import STAGES, Trace, begin_trace, current_trace, end_trace
from sightbox.web import native
from sightbox.web.operations import describe
from sightbox.web.service import Service

REQUEST_ID = "X-Request-Id"
"""The header that names a request, in both directions."""

ARRIVED = "sightbox.arrived"
"""The key in the WSGI environment of when the request had come in, by `time.perf_counter`."""

ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a request may be called: as it stands in headers, logs and answers."""

NO_ROUTE = "none"
"""The route of a request that fits none."""

REFUSED = "refused"
"""The route of a request that is refused before it was read to its end."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that are told by name: a client may invent others."""

LISTED_PICTURES = 8
"""How many pictures of a request its line in the log describes; it counts them all."""

_KEY = "sightbox.observer"

access = logging.getLogger(ACCESS)
routes = Blueprint("observing", __name__)


class Buffered(Protocol):
    """The request bodies in memory; see `sightbox.web.connections.BufferedBytes`."""

    limit: int

    def count(self) -> int:
        """Returns how many bytes they are."""


class Observer:
    """Sees the requests of one application; thread-safe.

    Args:
        service: The parts behind the application.
    """

    def __init__(self, service: Service) -> None:
        self.metrics = Metrics(self._state)
        self._service = service
        self._connections: Sized = ()
        self._buffered: Buffered | None = None

    def watch(self, connections: Sized, buffered: Buffered) -> None:
        """Shows the connections of a server from now on."""
        self._connections, self._buffered = connections, buffered

    def begin(self, given_id: str, arrived: float | None) -> Trace:
        """Begins the trace of a request.

        Args:
            given_id: The id that its client gave it; one that is not plain is replaced.
            arrived: When it had come in whole; now when None.
        """
        known = ID.fullmatch(given_id) is not None
        trace = Trace(given_id if known else secrets.token_hex(8))
        trace.digests = self._logs
        if arrived is not None:
            trace.stages.append(("accept", trace.begun - arrived))
            trace.begun = arrived
        begin_trace(trace)
        return trace

    def end(
        self, trace: Trace, method: str, route: str, status: int, received: int, sent: int
    ) -> None:
        """Counts a request and logs its line.

        Args:
            trace: What `begin` returned.
            method: Its method.
            route: Template of its route.
            status: Status of its response.
            received: Bytes of its body.
            sent: Bytes of the response's body.
        """
        now = perf_counter()
        if trace.last_answer is not None:
            trace.stages.append(("encode", now - trace.last_answer))
        method = method if method in METHODS else "other"
        self.metrics.record(trace, method, route, status, now - trace.begun)
        if self._logs:
            fields = {
                "method": method,
                "route": route,
                "status": status,
                "bytes_in": received,
                "bytes_out": sent,
                "duration_ms": _milliseconds(now - trace.begun),
            } | _details(trace)
            access.info("answered", extra={FIELDS: fields})
        end_trace()

    @property
    def _logs(self) -> bool:
        return self._service.settings.access_log and access.isEnabledFor(logging.INFO)

    def _state(self) -> ServerState:
        return ServerState(
            version=sightbox.__version__,
            ready=self._service.classifier.ready and not self._service.draining.is_set(),
            models=_models(self._service),
            connections=len(self._connections),
            buffered=0 if self._buffered is None else self._buffered.count(),
            buffered_limit=0 if self._buffered is None else self._buffered.limit,
        )


def install(app: Flask, service: Service) -> None:
    """Sees every request of `app`, and shows the metrics at ``/metrics``."""
    app.extensions[_KEY] = Observer(service)
    app.register_blueprint(routes)
    app.before_request(_begin)
    app.after_request(_end)


def observer_of(app: Flask) -> Observer:
    """Returns what sees the requests of an application."""
    observer: Observer = app.extensions[_KEY]
    return observer


@routes.get("/metrics")
@describe(native.METRICS)
def metrics() -> Response:
    """Shows the metrics: as Prometheus' text, or as OpenMetrics to those who prefer it."""
    body, content_type = observer_of(current_app).metrics.expose(_media_type())
    return Response(body, content_type=content_type)


def _begin() -> None:
    given = request.headers.get(REQUEST_ID, "")
    observer_of(current_app).begin(given, request.environ.get(ARRIVED))


def _end(response: Response) -> Response:
    if (trace := current_trace()) is None:
        return response
    response.headers[REQUEST_ID] = trace.request_id
    route = NO_ROUTE if request.url_rule is None else request.url_rule.rule
    received = request.content_length or 0
    sent = response.content_length or response.calculate_content_length() or 0
    if request.method == "HEAD" or response.status_code == 304:
        sent = 0
    observer_of(current_app).end(trace, request.method, route, response.status_code, received, sent)
    return response


def _media_type() -> str:
    # Werkzeug's best_match would compare the parameters too, of which Prometheus sends many.
    for asked, quality in request.accept_mimetypes:
        name = asked.partition(";")[0].lower()
        if quality > 0 and name in MEDIA_TYPES:
            return name
    return MEDIA_TYPES[0]


def _models(service: Service) -> list[ModelState]:
    """Reads the loaded models. None of them counts as used by that."""
    return [
        ModelState(
            each.name,
            each.variant,
            each.backend,
            each.load.waiting,
            each.load.capacity,
            each.load.batches,
            each.memory,
        )
        for each in service.residents.loaded
    ]


def _details(trace: Trace) -> dict[str, Any]:
    """Returns what a line tells besides: times, pictures, and errors; nothing that is empty."""
    details = {
        "stages_ms": {
            stage: _milliseconds(sum(times))
            for stage in STAGES
            if (times := [seconds for name, seconds in trace.stages if name == stage])
        },
        "picture_count": len(trace.pictures),
        "pictures": [
            {
                "format": picture.format,
                "width": picture.width,
                "height": picture.height,
                "bytes": picture.size,
                "sha256": picture.digest,
            }
            for picture in trace.pictures[:LISTED_PICTURES]
        ],
        "problems": dict(Counter(trace.problems)),
    }
    return {name: value for name, value in details.items() if value}


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)
