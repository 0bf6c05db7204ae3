"""What a route takes and gives, declared beside it; the OpenAPI document is made from that.

A view gets its `Operation` by the decorator `describe`, below the one that gives it its route. The
first line of its docstring is the summary. `sightbox.web.openapi` finds it through the routes of
the application: nothing else has to be told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from flask import Response, request

from sightbox.errors import SightboxError
from sightbox.web.parameters import Query
from sightbox.web.schemas import SCHEMAS, Schema, ref

View = Callable[..., Response]

JSON = "application/json"

ADDRESS = "http://127.0.0.1:8018"
"""Where samples find the server, unless they are told elsewhere."""

PROBLEM = "application/problem+json"
"""RFC 9457, section 6.1."""

_ATTRIBUTE = "sightbox_operation"


def native_problem(status: int, codes: list[str]) -> dict[str, Schema]:
    """Returns what an error of the native API looks like, by media type.

    Args:
        status: The HTTP status.
        codes: The codes that come with it.
    """
    narrowed = {
        "properties": {"status": {"const": status}, "code": {"enum": codes}},
        "required": ["request_id"],
    }
    return {PROBLEM: {"allOf": [ref("Problem"), narrowed]}}


@dataclass(frozen=True)
class Tag:
    """A part of the document: its name, and what it is in a sentence."""

    name: str
    description: str


@dataclass(frozen=True)
class Operation:
    """What a route takes and gives.

    Attributes:
        tag: Which part of the document it stands in.
        answers: Schema of the answer with status 200, by media type.
        more_answers: What other successes mean, by status; they have no body.
        errors: What can go wrong here, besides what can everywhere.
        query: The model of its parameters. `Query` itself refuses all; None admits any.
        path: Meaning and example of each part of the path that varies; ``{model}`` in an example
            is the name of the default model.
        headers: Parameter Objects of the headers that it reads (OpenAPI 3.1, section 4.8.12).
        body: Schema of the request's body, by media type; none when empty.
        body_required: Whether there must be one.
        problem: What an error looks like: status and codes to schemas by media type.
        components: The schemas that the others refer to by `ref`; a dialect has its own.
        samples: Commands that a person can paste; ``{model}`` as above. Each is run by a test.
    """

    tag: Tag
    answers: Mapping[str, Schema]
    more_answers: Mapping[int, str] = field(default_factory=dict)
    errors: tuple[type[SightboxError], ...] = ()
    query: type[Query] | None = None
    path: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    headers: tuple[Mapping[str, Any], ...] = ()
    body: Mapping[str, Schema] = field(default_factory=dict)
    body_required: bool = True
    problem: Callable[[int, list[str]], dict[str, Schema]] = native_problem
    components: Mapping[str, Schema] = field(default_factory=lambda: SCHEMAS)
    samples: tuple[str, ...] = ()


def describe(operation: Operation) -> Callable[[View], View]:
    """Declares what a view takes and gives, and reads the query for it.

    A view whose operation has parameters gets them as the argument ``query``, checked.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(**arguments: Any) -> Response:  # noqa: ANN401 - parts of the path
            if operation.query is not None:
                query = operation.query.read(request.query_string)
                if operation.query.model_fields:
                    arguments["query"] = query
            return view(**arguments)

        setattr(checked, _ATTRIBUTE, operation)
        return checked

    return decorate


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """Returns what `describe` declared of a view; None when it did not."""
    return getattr(view, _ATTRIBUTE, None)
