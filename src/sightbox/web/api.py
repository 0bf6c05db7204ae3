"""The native API: ``/v1`` and the probes.

A parameter that a route of ``/v1`` does not know is refused. The probes take whatever comes:
those who probe add parameters against caches.
"""

from flask import Blueprint, Response, current_app, request

import sightbox
from sightbox.classifier import Classifier
from sightbox.errors import ModelError, ModelNotFoundError, RequestError
from sightbox.labels import Labels
from sightbox.machine import instruction_sets, processor_name
from sightbox.residents import Loaded
from sightbox.schema import (
    Json,
    card_to_json,
    json_to_bytes,
    model_to_json,
    prediction_to_json,
    result_to_json,
)
from sightbox.settings import Settings
from sightbox.web import native
from sightbox.web.forms import read_pictures
from sightbox.web.operations import describe
from sightbox.web.parameters import (
    ALL_LANGUAGES,
    ClassifyQuery,
    LabelsQuery,
    WalkthroughQuery,
)
from sightbox.web.service import current_patience, current_service
from sightbox.web.walking import walkthrough_to_json

BYTES_PER_MB = 1_000_000

api = Blueprint("api", __name__)


@api.post("/v1/classify")
@describe(native.CLASSIFY)
def classify(query: ClassifyQuery) -> Response:
    """Classifies a raw body (one object), or the `image` parts of a form (a list of results)."""
    service = current_service()
    with service.using(query.model, query.variant) as classifier:
        return _json(_classified(classifier, service.settings, query))


def _classified(classifier: Classifier, settings: Settings, query: ClassifyQuery) -> Json:
    languages, patience = _languages(query.lang, classifier.labels), current_patience()
    if request.mimetype != "multipart/form-data":
        # Read raw whatever the declared type: curl --data-binary calls it a form.
        body = request.get_data(cache=False)
        answer = classifier.classify(
            body,
            top_k=query.top_k,
            min_score=query.min_score,
            timeout=patience.seconds,
            preprocessing=query.preprocessing,
            explain=query.explain,
            abandoned=patience.abandoned,
        )
        return prediction_to_json(answer, languages)
    boundary = request.mimetype_params.get("boundary", "")
    pictures = read_pictures(request.stream, boundary, settings.max_parts, settings.max_text_kb)
    results = classifier.classify_many(
        pictures,
        top_k=query.top_k,
        min_score=query.min_score,
        timeout=patience.seconds,
        preprocessing=query.preprocessing,
        explain=query.explain,
        abandoned=patience.abandoned,
    )
    return {"results": [result_to_json(result, languages) for result in results]}


@api.post("/v1/walkthrough")
@describe(native.WALKTHROUGH)
def walkthrough(query: WalkthroughQuery) -> Response:
    """Walks a raw body through the stages of a network, and shows what each one makes of it."""
    service = current_service()
    name = query.model or service.classifier.card.name
    labels = service.residents.labels(name)
    languages = _languages(query.lang, labels)
    walked = service.walker.walk(
        request.get_data(cache=False),
        service.residents.model(name),
        labels,
        limits=service.classifier.limits,
        budget=service.classifier.decoder.budget,
        patience=current_patience(),
    )
    return _json(walkthrough_to_json(walked, languages))


@api.get("/v1/models")
@describe(native.MODELS)
def models() -> Response:
    """Lists the models that are here; `default` is the one that answers when none is named."""
    service = current_service()
    default = service.classifier.card.name
    listed = [_model_or_problem(name) for name in service.names]
    return _json({"default": default, "models": listed})


@api.get("/v1/models/<name>")
@describe(native.MODEL)
def model(name: str) -> Response:
    """Describes one model."""
    return _json(_model(name))


@api.get("/v1/labels")
@describe(native.LABELS)
def labels(query: LabelsQuery) -> Response:
    """Lists the classes of a model; it is not loaded for that."""
    service = current_service()
    name = service.classifier.card.name if query.model is None else query.model
    found = service.residents.labels(name)
    languages = _languages(query.lang, found) or found.languages
    return _json(
        {
            "model": name,
            "languages": list(languages),
            "labels": [
                {
                    "index": index,
                    "wnid": wnid,
                    "label": {code: found.names[code][index] for code in languages},
                }
                for index, wnid in enumerate(found.wnids)
            ],
        }
    )


@api.get("/v1/info")
@describe(native.INFO)
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
                "threads": service.classifier.plan.threads,
                "streams": service.classifier.plan.streams,
                "max_batch": service.classifier.plan.max_batch,
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
@describe(native.ALIVE)
def livez() -> Response:
    """Answers as long as the process does."""
    return _json({"status": "alive"})


@api.get("/readyz")
@describe(native.READY)
def readyz() -> Response:
    """Answers 200 when a drawn picture has just gone through the real engine, else 503."""
    service = current_service()
    service.check_ready()
    return _json({"status": "ready", "model": model_to_json(service.classifier.info)})


def body_limit_bytes(max_body_mb: float) -> int:
    """Returns the largest request body, in bytes (a megabyte is 1,000,000 of them)."""
    return int(max_body_mb * BYTES_PER_MB)


def _model(name: str) -> Json:
    residents = current_service().residents
    card = residents.card(name)
    loaded = {one.variant: one for one in residents.loaded if one.name == name}
    variants = [
        _variant_to_json(variant, loaded.get(variant))
        for variant in dict.fromkeys((*card.variants, *loaded))
    ]
    return card_to_json(card) | {"loaded": bool(loaded), "variants": variants}


def _model_or_problem(name: str) -> Json:
    try:
        return _model(name)
    except (ModelError, ModelNotFoundError) as error:
        return {"name": name, "loaded": False, "problem": str(error)}


def _variant_to_json(name: str, loaded: Loaded | None) -> Json:
    return {
        "name": name,
        "loaded": loaded is not None,
        "backend": loaded.backend if loaded else None,
        "memory_mb": round(loaded.memory / BYTES_PER_MB, 1) if loaded else None,
    }


def _languages(wanted: str, labels: Labels) -> tuple[str, ...] | None:
    if wanted == ALL_LANGUAGES:
        return None
    if wanted not in labels.languages:
        raise RequestError(
            f"There are no labels in {wanted!r}.",
            f"lang can be {', '.join(labels.languages)} or {ALL_LANGUAGES}.",
        )
    return (wanted,)


def _json(value: Json) -> Response:
    return current_app.response_class(json_to_bytes(value), mimetype="application/json")
