"""The application factory: one `Classifier` behind the page and the API."""

from flask import Flask

from sightbox.classifier import Classifier
from sightbox.settings import Settings
from sightbox.store import Store
from sightbox.web import guard, problems
from sightbox.web.api import api, body_limit_bytes
from sightbox.web.dialects.open_inference import open_inference
from sightbox.web.pages import pages
from sightbox.web.service import Service


def create_app(classifier: Classifier, settings: Settings) -> Flask:
    """Returns the WSGI application around a classifier.

    Args:
        classifier: What answers; the caller closes it.
        settings: Limits, defaults, and who may come in.
    """
    app = Flask("sightbox.web")
    app.config["MAX_CONTENT_LENGTH"] = body_limit_bytes(settings.max_body_mb)
    app.extensions["sightbox"] = Service(classifier, settings, Store(settings.home))
    app.register_blueprint(api)
    app.register_blueprint(open_inference)
    app.register_blueprint(pages)
    guard.install(app)
    problems.install(app)
    return app
