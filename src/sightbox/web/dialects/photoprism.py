"""PhotoPrism's vision service for labels: what its setting ``Service: Uri`` may point to.

Source: PhotoPrism, ``internal/ai/vision``: ``api_request.go``, ``api_response.go``, ``labels.go``
and ``model.go``. Several pictures of a request are views of one photo, and get one list of labels.
Its API has no place for a language; here it stands in the address: ``?lang=zh``.
"""

from uuid import uuid4

import numpy as np
from flask import Blueprint, Response, g, has_request_context
from numpy.typing import NDArray

from sightbox.classifier import Classifier
from sightbox.errors import ModelNotFoundError, RequestError
from sightbox.prediction import top_k
from sightbox.schema import Json
from sightbox.web.dialects import photoprism_operations as operations
from sightbox.web.dialects.answers import DIGITS, json_response, sentence
from sightbox.web.dialects.bodies import json_limits, read_body
from sightbox.web.dialects.encoded import NOTHING_IS_FETCHED, decode_data_url
from sightbox.web.dialects.fields import as_list, as_text, read_json
from sightbox.web.dialects.languages import names_in
from sightbox.web.dialects.pictures import check_count, to_pixels
from sightbox.web.operations import describe
from sightbox.web.parameters import NamesQuery
from sightbox.web.service import current_patience, current_service

PREFIX = "/api/v1/vision"

VERSION = "latest"
"""What PhotoPrism calls the version of a model that has none in its settings."""

VERSIONS = frozenset({"", VERSION, "1"})

photoprism = Blueprint("photoprism", __name__, url_prefix=PREFIX)


def error_body(problem: Json) -> Json:
    """Returns a problem detail as this API spells errors; with the request's id once it is read."""
    identity = g.get("photoprism_id") if has_request_context() else None
    named = {} if identity is None else {"id": identity}
    return named | {"code": problem["status"], "error": sentence(problem), "result": {}}


@photoprism.post("/labels")
@describe(operations.LABELS)
def labels(query: NamesQuery) -> Response:
    """Gives the labels of a photo, the most certain one first."""
    message = read_json(read_body(), json_limits())
    identity = message.get("id")
    g.photoprism_id = as_text("" if identity is None else identity, "id") or str(uuid4())
    with current_service().using(_model(message)) as classifier:
        names = names_in(query.lang, classifier)
        scores = _scores(_read_pictures(message), classifier)
        card = classifier.card
    settings = current_service().settings
    found = [
        {
            "name": names[index],
            "source": "image",
            "confidence": round(float(scores[index]), DIGITS),
            "topicality": round(float(scores[index]), DIGITS),
            "categories": [],
        }
        for index in top_k(scores, settings.top_k)
        if scores[index] >= settings.min_score
    ]
    about = {"type": "labels", "name": card.name, "version": VERSION}
    return json_response(
        {
            "id": g.photoprism_id,
            "code": 200,
            "model": about | {"resolution": card.recipe.crop},
            "result": {"labels": found},
        }
    )


def _model(message: Json) -> str | None:
    """Returns the name of the wanted model, None for the default one."""
    # "name:version", where the version may stand in a field of its own besides.
    name, _, tag = as_text(message.get("model", ""), "model").partition(":")
    for version in (tag, as_text(message.get("version", ""), "version")):
        if version not in VERSIONS:
            raise ModelNotFoundError(
                f"There is no version {version!r:.40}.", f"There is {VERSION}."
            )
    return name or None


def _read_pictures(message: Json) -> list[bytes]:
    if message.get("url") not in ("", None):
        raise RequestError(
            "The request has an address.",
            f"{NOTHING_IS_FETCHED}. In vision.yml: FileScheme: data, RequestFormat: vision.",
        )
    images = as_list(message.get("images"), "images")
    check_count(len(images), current_service().settings)
    named = [(f"Image {number}", image) for number, image in enumerate(images)]
    return [decode_data_url(as_text(image, name), name) for name, image in named]


def _scores(files: list[bytes], classifier: Classifier) -> NDArray[np.float64]:
    """Returns the probability of each class, [C]: over several pictures the largest."""
    patience = current_patience()
    pixels = to_pixels(files, classifier, "Image", patience)
    answers = classifier.infer(pixels, timeout=patience.seconds, abandoned=patience.abandoned)
    logits = np.stack([answer.logits for answer in answers])
    return np.asarray(classifier.probabilities(logits).max(axis=0))
