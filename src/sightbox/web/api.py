"""The native API: ``/v1`` and the probes."""

import json
from typing import TypeVar

from flask import Blueprint, Response, current_app, request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

import sightbox
from sightbox.classifier import Classifier
from sightbox.errors import (
    BackendError,
    ClosedError,
    ModelNotFoundError,
    RequestError,
    SightboxError,
)
from sightbox.machine import instruction_sets, processor_name
from sightbox.schema import Json, card_to_json, model_to_json, prediction_to_json, result_to_json
from sightbox.web.service import Service, current_service

BYTES_PER_MB = 1_000_000

Number = TypeVar("Number", int, float)

ALL_LANGUAGES = "both"
"""The language that means "every one there is"."""

api = Blueprint("api", __name__)


class NotReadyError(SightboxError):
    """The engine did not answer the test picture."""

    code = "not_ready"
    title = "The server is not ready"
    status = 503


class TooManyPartsError(RequestError):
    """A form has more parts than the server accepts."""

    code = "too_many_parts"
    title = "Too many pictures at once"
    status = 413


@api.post("/v1/classify")
def classify() -> Response:
    """Classifies a raw body (one object), or the `image` parts of a form (a list of results)."""
    service = current_service()
    _only_known("top_k", "lang", "model", "min_score")
    _check_model(request.args.get("model"), service)
    languages = _languages(request.args.get("lang"), service.classifier)
    top_k = _number("top_k", int, service.settings.top_k)
    min_score = _number("min_score", float, service.settings.min_score)
    if request.mimetype != "multipart/form-data":
        # Read raw whatever the declared type: curl --data-binary calls it a form.
        body = request.get_data(cache=False)
        answer = service.classifier.classify(
            body, top_k=top_k, min_score=min_score, timeout=service.settings.max_wait
        )
        return _json(prediction_to_json(answer, languages))
    parts = _image_parts(service)
    results = service.classifier.classify_many(
        (part.stream.read() for part in parts), top_k=top_k, min_score=min_score
    )
    return _json({"results": [result_to_json(result, languages) for result in results]})


@api.get("/v1/models")
def models() -> Response:
    """Lists the models that are here; `default` is the one that answers."""
    service = current_service()
    names = sorted({*service.store.names(), service.classifier.card.name})
    return _json(
        {
            "default": service.classifier.card.name,
            "models": [_model(name, service) for name in names],
        }
    )


@api.get("/v1/models/<name>")
def model(name: str) -> Response:
    """Describes one model."""
    return _json(_model(name, current_service()))


@api.get("/v1/labels")
def labels() -> Response:
    """Lists the classes of the model that answers."""
    _only_known("lang")
    classifier = current_service().classifier
    languages = _languages(request.args.get("lang"), classifier) or classifier.labels.languages
    return _json(
        {
            "model": classifier.card.name,
            "languages": list(languages),
            "labels": [
                {
                    "index": index,
                    "wnid": wnid,
                    "label": {code: classifier.labels.names[code][index] for code in languages},
                }
                for index, wnid in enumerate(classifier.labels.wnids)
            ],
        }
    )


@api.get("/v1/info")
def info() -> Response:
    """Tells what answers here, on what machine, and within which limits."""
    service = current_service()
    return _json(
        {
            "version": sightbox.__version__,
            "model": model_to_json(service.classifier.info),
            "languages": list(service.classifier.labels.languages),
            "machine": {
                "processor": processor_name(),
                "instruction_sets": list(instruction_sets()),
                "threads": service.classifier.threads,
            },
            "limits": {
                "max_body_mb": service.settings.max_body_mb,
                "max_megapixels": service.settings.max_megapixels,
                "max_parts": service.settings.max_parts,
                "formats": list(service.classifier.limits.formats),
            },
        }
    )


@api.get("/livez")
@api.get("/healthz", endpoint="livez")
@api.get("/ping", endpoint="livez")
def livez() -> Response:
    """Answers as long as the process does."""
    return _json({"status": "alive"})


@api.get("/readyz")
def readyz() -> Response:
    """Answers 200 when a drawn picture went through the real engine just now, else 503."""
    service = current_service()
    if service.draining.is_set():
        raise ClosedError("The server is stopping.")
    try:
        service.classifier.check()
    except BackendError as error:
        raise NotReadyError(f"The engine does not answer: {error.detail}") from error
    return _json({"status": "ready", "model": model_to_json(service.classifier.info)})


def body_limit_bytes(max_body_mb: float) -> int:
    """Returns the largest request body, in bytes (a megabyte is 1,000,000 of them)."""
    return int(max_body_mb * BYTES_PER_MB)


def _image_parts(service: Service) -> list[FileStorage]:
    try:
        parts = request.files.getlist("image")
    except RequestEntityTooLarge:
        if (request.content_length or 0) > body_limit_bytes(service.settings.max_body_mb):
            raise
        raise TooManyPartsError(
            f"The form has more than {service.settings.max_parts} parts.",
            "Send fewer pictures at once, or raise the setting max_parts.",
        ) from None
    if not parts:
        raise RequestError("The form has no part named image.", "Send: -F image=@photo.jpg")
    return parts


def _model(name: str, service: Service) -> Json:
    loaded = service.classifier.card
    card = loaded if name == loaded.name else service.store.open(name).card
    return card_to_json(card) | {"loaded": name == loaded.name}


def _check_model(name: str | None, service: Service) -> None:
    loaded = service.classifier.card.name
    if name not in {None, loaded}:
        raise ModelNotFoundError(
            f"The model {name!r} is not loaded.", f"This server answers with {loaded}."
        )


def _languages(wanted: str | None, classifier: Classifier) -> tuple[str, ...] | None:
    if wanted is None or wanted == ALL_LANGUAGES:
        return None
    if wanted not in classifier.labels.languages:
        raise RequestError(
            f"There are no labels in {wanted!r}.",
            f"lang can be {', '.join(classifier.labels.languages)} or {ALL_LANGUAGES}.",
        )
    return (wanted,)


def _number(name: str, kind: type[Number], default: Number) -> Number:
    text = request.args.get(name)
    if text is None:
        return default
    try:
        return kind(text)
    except ValueError:
        raise RequestError(f"{name} is {text!r}, which is no number.") from None


def _only_known(*names: str) -> None:
    for name in request.args:
        if name not in names:
            raise RequestError(f"There is no parameter {name!r}.", f"There are {', '.join(names)}.")


def _json(value: Json) -> Response:
    # Compact and in UTF-8: a list of Chinese labels would be three times as large escaped.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
    return current_app.response_class(text, mimetype="application/json")
