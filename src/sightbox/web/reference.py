"""The API described: ``/openapi.json`` for programs, ``/docs`` for people, from the same source."""

import json
import re
from collections.abc import Callable
from functools import cached_property

from flask import Blueprint, Response, current_app, request
from flask.blueprints import BlueprintSetupState
from markupsafe import Markup, escape

from sightbox.schema import Json, json_to_bytes
from sightbox.web.encoding import Content, answer_with
from sightbox.web.openapi import build_document
from sightbox.web.operations import ADDRESS, JSON, Operation, Tag, describe
from sightbox.web.pages import choose_language, load_catalogue, render_page
from sightbox.web.service import current_service

DOCUMENT = Operation(
    Tag("Description", "This API described."),
    {JSON: {"type": "object", "required": ["openapi", "info", "paths"]}},
    more_answers={304: "It is still what the header If-None-Match names."},
    samples=(f"curl {ADDRESS}/openapi.json",),
)

TEXTS = "reference"
"""The folder of the page's catalogues: its own texts, and the document's sentences in Chinese."""

CODE = Markup("<code>{}</code>")
ENGLISH = Markup('<span lang="en">{}</span>')

_CODE = re.compile("`+([^`]+)`+")

_KEY = "sightbox.reference"

reference = Blueprint("reference", __name__)


class Reference:
    """The document of an application, made when it is first asked for: all routes are there then.

    It needs the application's context.
    """

    @cached_property
    def document(self) -> Json:
        """The OpenAPI document."""
        return build_document(current_app, current_service())

    @cached_property
    def content(self) -> Content:
        """The document as JSON text."""
        return Content(json_to_bytes(self.document), JSON)


@reference.record_once
def _add_reference(state: BlueprintSetupState) -> None:
    state.app.extensions[_KEY] = Reference()


@reference.get("/openapi.json")
@describe(DOCUMENT)
def document() -> Response:
    """Gives this description, as an OpenAPI document."""
    response = answer_with(_current().content)
    response.cache_control.no_cache = True
    return response


@reference.get("/docs")
def page() -> Response:
    """Serves the page that describes the API, in the reader's language."""
    language = choose_language()
    found = _current().document
    return render_page(
        "reference.html",
        language,
        TEXTS,
        say=sentences_in(language),
        shown=json_shown,
        sections=sections_of(found),
        problems=found["x-problems"],
        schemas=found["components"]["schemas"],
        address=(ADDRESS, request.host_url.rstrip("/")),
    )


def sections_of(found: Json) -> list[tuple[Json, list[Json]]]:
    """Returns the operations of a document by their tags: each with its ``method`` and ``path``."""
    operations = [
        operation | {"method": method.upper(), "path": path}
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
    ]
    return [
        (tag, [operation for operation in operations if tag["name"] in operation["tags"]])
        for tag in found["tags"]
    ]


def sentences_in(language: str) -> Callable[[str], Markup]:
    """Returns a function that gives a sentence of the document in a language, as HTML.

    What stands between backticks is code. A sentence without a translation stays, marked as
    English for those who hear the page.
    """
    known = {} if language == "en" else load_catalogue(f"sentences.{language}", TEXTS)

    def say(sentence: str) -> Markup:
        parts = enumerate(_CODE.split(known.get(sentence, sentence)))
        text = Markup("").join(CODE.format(part) if at % 2 else escape(part) for at, part in parts)
        if language == "en" or sentence in known:
            return text
        return ENGLISH.format(text)

    return say


def json_shown(value: object) -> str:
    """Returns JSON as a person reads it."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _current() -> Reference:
    found: Reference = current_app.extensions[_KEY]
    return found
