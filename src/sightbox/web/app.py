"""The application factory: one `Classifier` behind the page and the API."""

from flask import Flask

from sightbox.classifier import Classifier
from sightbox.residents import Residents
from sightbox.settings import Settings
from sightbox.web import assets, guard, observing, problems
from sightbox.web.api import api, body_limit_bytes
from sightbox.web.benchmark import benchmark
from sightbox.web.comparison import comparison
from sightbox.web.dialects.huggingface import huggingface
from sightbox.web.dialects.open_inference import open_inference
from sightbox.web.dialects.photoprism import photoprism
from sightbox.web.dialects.torchserve import torchserve
from sightbox.web.installable import installable
from sightbox.web.kiosk import kiosk
from sightbox.web.lesson import lesson
from sightbox.web.pages import pages
from sightbox.web.reference import reference
from sightbox.web.service import Service


def create_app(
    classifier: Classifier, settings: Settings, residents: Residents | None = None
) -> Flask:
    """Returns the WSGI application around a classifier.

    Args:
        classifier: What answers; the caller closes it.
        settings: Limits, defaults, and who may come in.
        residents: The models that answer when they are named, made for this classifier; the
            caller closes them. Where none are given, there are those of the settings' home.
    """
    app = Flask("sightbox.web", static_folder=None)
    # So no answer is a redirection, which would repeat the request's words as HTML, and a name that
    # holds an encoded slash is unknown.
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = body_limit_bytes(settings.max_body_mb)
    service = Service(classifier, settings, residents or Residents(classifier, settings))
    app.extensions["sightbox"] = service
    # Before the guard, so that what it refuses is seen too.
    observing.install(app, service)
    assets.install(app)
    dialects = (open_inference, torchserve, huggingface, photoprism)
    sites = (pages, lesson, comparison, kiosk, benchmark, reference, installable)
    for blueprint in (api, *dialects, *sites):
        app.register_blueprint(blueprint)
    guard.install(app)
    problems.install(app)
    return app
