"""The application factory: one `Classifier` behind the page and the API."""

from io import BytesIO
from typing import IO

from flask import Flask, Request

from sightbox.classifier import Classifier
from sightbox.settings import Settings
from sightbox.store import Store
from sightbox.web import guard, problems
from sightbox.web.api import api, body_limit_bytes
from sightbox.web.pages import pages
from sightbox.web.service import Service

MAX_FORM_FIELDS_BYTES = 500_000
"""Most bytes of form fields that are no files. Werkzeug holds its read buffer against it too."""


class InMemoryRequest(Request):
    """A request whose uploads never touch the disk; Werkzeug would spool large ones to files."""

    def _get_file_stream(
        self,
        total_content_length: int | None,  # noqa: ARG002 - Werkzeug's signature
        content_type: str | None,  # noqa: ARG002
        filename: str | None = None,  # noqa: ARG002
        content_length: int | None = None,  # noqa: ARG002
    ) -> IO[bytes]:
        return BytesIO()


class Application(Flask):
    """Flask with `InMemoryRequest`."""

    request_class = InMemoryRequest


def create_app(classifier: Classifier, settings: Settings) -> Flask:
    """Returns the WSGI application around a classifier.

    Args:
        classifier: What answers; the caller closes it.
        settings: Limits, defaults, and who may come in.
    """
    app = Application("sightbox.web")
    app.config.update(
        MAX_CONTENT_LENGTH=body_limit_bytes(settings.max_body_mb),
        MAX_FORM_MEMORY_SIZE=MAX_FORM_FIELDS_BYTES,
        MAX_FORM_PARTS=settings.max_parts,
        SIGHTBOX_MAX_BODY_MB=settings.max_body_mb,
    )
    app.extensions["sightbox"] = Service(classifier, settings, Store(settings.home))
    app.register_blueprint(api)
    app.register_blueprint(pages)
    guard.install(app)
    problems.install(app)
    return app
