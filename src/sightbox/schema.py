"""The one place that spells the JSON of predictions, errors and models.

Python, the command line and HTTP all give these shapes. A list of pictures gives, for each one, a
prediction or an error. What one of them alone gives, such as ``/v1/info``, it spells itself.
"""

import json
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from sightbox.errors import SightboxError
from sightbox.model import Card
from sightbox.prediction import Explanation, ModelInfo, Prediction, Score

Json = dict[str, Any]


def prediction_to_json(prediction: Prediction, languages: tuple[str, ...] | None = None) -> Json:
    """Returns a prediction as JSON values; only labels in `languages` when given.

    Scores have 6 digits after the point and times 3 (microseconds): beyond that is noise.
    """
    told: Json = {
        "model": model_to_json(prediction.model),
        "predictions": [_score_to_json(score, languages) for score in prediction.predictions],
        "sure": prediction.sure,
        "timings_ms": {
            name: round(getattr(prediction.timings_ms, name), 3)
            for name in ("decode", "preprocess", "queue", "infer", "total")
        },
        "image": {
            "width": prediction.image.width,
            "height": prediction.image.height,
            "format": prediction.image.format,
        },
    }
    if prediction.explanation is not None:
        told["explanation"] = explanation_to_json(prediction.explanation)
    return told


def explanation_to_json(explanation: Explanation) -> Json:
    """Returns where the evidence is; values have 4 digits after the point, as logits are compared.

    The mean of a map's values and the class's bias are its logit.
    """
    region = explanation.region
    return {
        "region": {
            name: round(getattr(region, name), 3) for name in ("left", "top", "width", "height")
        },
        "maps": [
            {
                "index": found.index,
                "logit": round(found.logit, 4),
                "values": [[round(value, 4) for value in row] for row in found.values],
            }
            for found in explanation.maps
        ],
    }


def result_to_json(
    result: Prediction | SightboxError, languages: tuple[str, ...] | None = None
) -> Json:
    """Returns one item of a list: a prediction, or ``{"error": problem}``."""
    if isinstance(result, SightboxError):
        return {"error": problem_to_json(result)}
    return prediction_to_json(result, languages)


def problem_to_json(error: SightboxError) -> Json:
    """Returns an error as a problem detail (RFC 9457), with `code` and `hint` as extensions."""
    problem = _problem(error.title, error.status, error.detail, error.code)
    return problem | ({"hint": error.hint} if error.hint else {})


def status_to_json(status: int, detail: str) -> Json:
    """Returns an HTTP status that is no `SightboxError` as a problem detail (RFC 9457).

    Args:
        status: A status of RFC 9110, section 15; its own words become title and code.
        detail: What went wrong, one sentence.
    """
    title = HTTPStatus(status).phrase
    return _problem(title, status, detail, title.lower().replace(" ", "_"))


def identify(problem: Json, request_id: str) -> Json:
    """Returns a problem detail with the id of its request, by which the log can be searched.

    It is an extension (RFC 9457, section 3.2): `instance` would have to be a URI.
    """
    return problem | {"request_id": request_id}


def model_to_json(model: ModelInfo) -> Json:
    """Returns which network spoke."""
    return {"name": model.name, "variant": model.variant, "backend": model.backend}


def card_to_json(card: Card) -> Json:
    """Returns what a client may want to know of a model."""
    return {
        "name": card.name,
        "title": card.title,
        "architecture": card.architecture,
        "classes": card.classes,
        "input": {
            "resize": card.recipe.resize,
            "crop": card.recipe.crop,
            "interpolation": card.recipe.interpolation,
            "fit": card.recipe.fit,
            "mean": list(card.mean),
            "std": list(card.std),
        },
        "labels": card.labels,
        "license": card.license,
        "accuracy": dict(card.accuracy) if card.accuracy else None,
        "source": dict(card.source),
        "sha256": dict(card.files),
        "calibration": None if card.calibration is None else asdict(card.calibration),
    }


def json_to_bytes(value: Json | list[Json]) -> bytes:
    """Returns JSON as the body of a response: one compact line of UTF-8.

    Escaped, a list of Chinese labels would be three times as large.
    """
    return (json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def _problem(title: str, status: int, detail: str, code: str) -> Json:
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }


def _score_to_json(score: Score, languages: tuple[str, ...] | None) -> Json:
    label = {code: name for code, name in score.label.items() if not languages or code in languages}
    return {
        "index": score.index,
        "wnid": score.wnid,
        # A model with names in one language only still says them.
        "label": label or dict(score.label),
        "score": round(score.score, 6),
    }
