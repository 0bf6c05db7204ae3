"""TorchServe's inference API with the answers of its handler ``image_classifier``.

Source: TorchServe, ``docs/inference_api.md``, and ``InferenceRequestHandler`` and ``NettyUtils`` of
its frontend. It looks at no method: ``curl -T``, which its documents use, sends a PUT.
"""

from flask import Blueprint, Response, request

from sightbox.errors import ClosedError, RequestError
from sightbox.schema import Json
from sightbox.web.dialects import torchserve_operations as operations
from sightbox.web.dialects.answers import DIGITS, json_response, sentence
from sightbox.web.dialects.bodies import read_body
from sightbox.web.dialects.languages import names_in
from sightbox.web.dialects.torchserve_operations import ModelVersionNotFoundError
from sightbox.web.forms import read_pictures
from sightbox.web.operations import describe
from sightbox.web.parameters import NamesQuery
from sightbox.web.service import NotReadyError, current_patience, current_service

PREFIXES = ("/ping", "/predictions")

VERSIONS = frozenset({"1", "1.0"})
"""How the only version of each model may be called: TorchServe's archives start with 1.0."""

PARTS = ("data", "body")
"""What its handlers call a picture."""

UNHEALTHY = 500
"""TorchServe's status of a ping while a model has too few workers."""

TYPES = {
    "model_not_found": "ModelNotFoundException",
    "version_not_found": "ModelVersionNotFoundException",
    400: "BadRequestException",
    401: "InvalidKeyException",
    403: "IllegalArgumentException",
    404: "ResourceNotFoundException",
    405: "MethodNotAllowedException",
    503: "ServiceUnavailableException",
    504: "RequestTimeoutException",
}
"""TorchServe's exceptions by our code, or else by status."""

torchserve = Blueprint("torchserve", __name__)


def error_body(problem: Json) -> Json:
    """Returns a problem detail as this server spells errors: as an exception of its own."""
    status = problem["status"]
    fallback = "BadRequestException" if status < 500 else "InternalServerException"
    kind = TYPES.get(problem["code"], TYPES.get(status, fallback))
    return {"code": status, "type": kind, "message": sentence(problem)}


@torchserve.get("/ping")
@describe(operations.PING)
def ping() -> Response:
    """Tells whether a drawn picture has just gone through the real engine."""
    try:
        current_service().check_ready()
    except (NotReadyError, ClosedError):
        return json_response({"status": "Unhealthy"}, UNHEALTHY)
    return json_response({"status": "Healthy"})


@torchserve.route("/predictions/<name>", methods=["POST", "PUT"])
@torchserve.route("/predictions/<name>/<version>", methods=["POST", "PUT"])
@describe(operations.PREDICT)
def predict(query: NamesQuery, name: str, version: str = "1") -> Response:
    """Gives the best classes of one picture and their probabilities, the best first."""
    service, patience = current_service(), current_patience()
    with service.using(name) as classifier:
        if version not in VERSIONS:
            raise ModelVersionNotFoundError(
                f"The model {name} has no version {version!r:.40}.", "There is 1.0."
            )
        names = names_in(query.lang, classifier)
        answer = classifier.classify(
            _read_picture(),
            top_k=service.settings.top_k,
            min_score=service.settings.min_score,
            timeout=patience.seconds,
            abandoned=patience.abandoned,
        )
    return json_response(
        {names[found.index]: round(found.score, DIGITS) for found in answer.predictions}
    )


def _read_picture() -> bytes:
    if request.mimetype != "multipart/form-data":
        return read_body()
    boundary = request.mimetype_params.get("boundary", "")
    settings = current_service().settings
    pictures = read_pictures(
        request.stream, boundary, settings.max_parts, settings.max_text_kb, PARTS
    )
    if len(pictures) > 1:
        raise RequestError(
            f"The form has {len(pictures)} pictures, and this model takes one.",
            "Send each in a request of its own, or all of them to /v1/classify.",
        )
    return pictures[0]
