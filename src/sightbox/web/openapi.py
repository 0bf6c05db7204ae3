"""The OpenAPI document (version 3.1), made from the routes and what is declared beside them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from inspect import getdoc
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from flask import Flask
from werkzeug.routing import Rule

import sightbox
from sightbox.errors import (
    BodyTooLargeError,
    DeadlineError,
    QueueFullError,
    RequestError,
    SightboxError,
)
from sightbox.schema import Json
from sightbox.web.accepting import TooManyConnectionsError, TooManyOfYoursError
from sightbox.web.guard import OPEN_ENDPOINTS, ForbiddenError, UnauthorizedError
from sightbox.web.observing import ID, REQUEST_ID
from sightbox.web.operations import Operation, operation_of
from sightbox.web.problems import MORE_HEADERS
from sightbox.web.receiving import BusyError, HeadTooLargeError, TooSlowError
from sightbox.web.service import Service

VERSION = "3.1.1"


class Problem(NamedTuple):
    """What stands in the problem details of one kind of error (RFC 9457)."""

    status: int
    code: str
    title: str


LEFT_OUT = {
    "static": "the files of the page",
    "installable.manifest": "the page as an app, for browsers",
    "installable.offline": "what a browser shows while the box is off",
    "pages.index": "the page, for people",
    "pages.answer": "the page's form, for browsers without JavaScript",
    "lesson.how_it_works": "the page that teaches, for people",
    "comparison.compare": "the page that compares two models, for people",
    "kiosk.view": "the view for exhibitions, for people",
    "benchmark.page": "the page of the benchmark, for people",
    "benchmark.tell": "how far the run of that page is",
    "benchmark.start": "what that page starts: half a minute of all cores, for people",
    "benchmark.cancel": "what that page ends",
    "reference.page": "this document, for people",
    "open_inference.not_here": "parts of Triton's protocol that are refused",
}
"""Endpoints that are not described, and why."""

EVERYWHERE: tuple[type[SightboxError], ...] = (
    RequestError,
    ForbiddenError,
    SightboxError,
    HeadTooLargeError,
    TooSlowError,
    TooManyConnectionsError,
    TooManyOfYoursError,
    QueueFullError,
    DeadlineError,
)
"""What can go wrong at every route, before its view is called among it."""

WITH_BODY: tuple[type[SightboxError], ...] = (BodyTooLargeError, BusyError)
"""What can go wrong besides where a request has a body."""

NOT_IMPLEMENTED = Problem(501, "not_implemented", "Not Implemented")
NOT_FOUND = Problem(404, "not_found", "Not Found")
"""What has no class, for it is not ours: transfer codings, and paths without a route."""

SECURITY = {"token": {"type": "http", "scheme": "bearer"}}

_AUTOMATIC = {"HEAD", "OPTIONS"}
"""Methods that Flask adds by itself."""

_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")


def build_document(app: Flask, service: Service) -> Json:
    """Returns the OpenAPI document of an application. It needs the application's context.

    Names of models, defaults and limits in it are those of the running server.
    """
    described = list(_described(app))
    components: Json = {}
    for _, operation in described:
        components |= operation.components
    paths: defaultdict[str, Json] = defaultdict(dict)
    for rule, operation in described:
        for method in sorted((rule.methods or set()) - _AUTOMATIC):
            path = _VARIABLE.sub(r"{\1}", rule.rule)
            paths[path][method.lower()] = _operation(app, service, rule, method, operation)
    problems = {
        problem
        for rule, operation in described
        for problem in _problems(rule, operation, closed=_is_closed(service, rule))
    }
    tags = {operation.tag.name: operation.tag.description for _, operation in described}
    return {
        "openapi": VERSION,
        "info": {
            "title": "Sightbox",
            "summary": "Offline image recognition in one box.",
            "version": sightbox.__version__,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in tags.items()],
        "paths": dict(paths),
        "components": {"schemas": components} | _security_schemes(service),
        "x-problems": [problem._asdict() for problem in sorted(problems)],
    }


def _described(app: Flask) -> Iterable[tuple[Rule, Operation]]:
    for rule in app.url_map.iter_rules():
        operation = operation_of(app.view_functions[rule.endpoint])
        if operation is not None:
            yield rule, operation


def _security_schemes(service: Service) -> Json:
    return {} if service.settings.token is None else {"securitySchemes": SECURITY}


def _operation(app: Flask, service: Service, rule: Rule, method: str, operation: Operation) -> Json:
    """Returns the Operation Object of a method of a route."""
    model = service.classifier.card.name
    summary, _, rest = (getdoc(app.view_functions[rule.endpoint]) or "").partition("\n\n")
    parameters = [*_path_parameters(rule, operation, model), *operation.headers]
    if operation.query is not None:
        parameters += _query_parameters(operation)
    closed = _is_closed(service, rule)
    problems = _problems(rule, operation, closed=closed)
    found: Json = {
        "operationId": method.lower() + re.sub(r"\W+", "_", _VARIABLE.sub(r"\1", rule.rule)),
        "tags": [operation.tag.name],
        "summary": summary,
        "description": " ".join(rest.split()),
        "parameters": parameters,
        "requestBody": {"required": operation.body_required, "content": _content(operation.body)},
        "responses": _successes(operation) | _failures(operation, problems),
        "security": [{"token": []}] if closed else [],
        "x-codeSamples": [
            {"lang": "Shell", "source": sample.replace("{model}", model)}
            for sample in operation.samples
        ],
    }
    absent = {"requestBody"} if not operation.body else set()
    return {name: value for name, value in found.items() if value != "" and name not in absent}


def _is_closed(service: Service, rule: Rule) -> bool:
    return service.settings.token is not None and rule.endpoint not in OPEN_ENDPOINTS


def _path_parameters(rule: Rule, operation: Operation, model: str) -> Iterable[Json]:
    for name in _VARIABLE.findall(rule.rule):
        meaning, example = operation.path[name]
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": meaning,
            "schema": {"type": "string", "minLength": 1},
            "example": example.replace("{model}", model),
        }


def _query_parameters(operation: Operation) -> Iterable[Json]:
    if operation.query is None:
        return
    for name, schema in operation.query.schemas().items():
        description = schema.pop("description")
        yield {"name": name, "in": "query", "description": description, "schema": schema}


def _content(schemas: Mapping[str, Any]) -> Json:
    return {media_type: {"schema": schema} for media_type, schema in schemas.items()}


def _successes(operation: Operation) -> Json:
    more = {str(status): _response(status, text) for status, text in operation.more_answers.items()}
    return {"200": _response(200, "The answer.", operation.answers)} | more


def _problems(rule: Rule, operation: Operation, *, closed: bool) -> list[Problem]:
    """Returns what can go wrong at a route, each once, by status."""
    classes = [*EVERYWHERE, *operation.errors]
    classes += [UnauthorizedError] if closed else []
    classes += WITH_BODY if operation.body else ()
    found = [Problem(error.status, error.code, error.title) for error in classes]
    found += [NOT_IMPLEMENTED]
    found += [NOT_FOUND] if rule.arguments else []
    return sorted(set(found))


def _failures(operation: Operation, problems: Iterable[Problem]) -> Json:
    """Returns the Response Objects of errors, by status."""
    return {
        str(status): _failure(operation, status, [problem.code for problem in group])
        for status, group in groupby(problems, key=attrgetter("status"))
    }


def _failure(operation: Operation, status: int, codes: list[str]) -> Json:
    text = f"An error: {', '.join(codes)}."
    return _response(status, text, operation.problem(status, codes))


def _response(status: int, description: str, schemas: Mapping[str, Any] | None = None) -> Json:
    """Returns a Response Object. What every answer carries belongs here."""
    response: Json = {"description": description}
    if schemas is not None:
        response["content"] = _content(schemas)
    fixed = {name: {"const": value} for name, value in MORE_HEADERS.get(status, {}).items()}
    identity = {"type": "string", "pattern": f"^{ID.pattern}$"}
    response["headers"] = {
        name: {"required": True, "schema": schema}
        for name, schema in ({REQUEST_ID: identity} | fixed).items()
    }
    return response
