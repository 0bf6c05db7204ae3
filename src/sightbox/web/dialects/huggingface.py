"""The image classification task of Hugging Face's inference API and endpoints.

Source: ``@huggingface/tasks``, ``image-classification/spec``. A picture comes as the body, or as
base64 in JSON beside parameters. Parameters and options that are not known are passed over.
"""

import re
from dataclasses import dataclass

import numpy as np
from flask import Blueprint, Response, request
from numpy.typing import NDArray

from sightbox.errors import RequestError
from sightbox.prediction import softmax
from sightbox.prediction import top_k as best_indices
from sightbox.schema import Json
from sightbox.settings import Settings
from sightbox.web.dialects import huggingface_operations as operations
from sightbox.web.dialects.answers import DIGITS, json_response, sentence
from sightbox.web.dialects.bodies import json_limits, read_body
from sightbox.web.dialects.encoded import decode_text
from sightbox.web.dialects.fields import as_object, as_text, read_json
from sightbox.web.dialects.huggingface_operations import FUNCTIONS
from sightbox.web.dialects.languages import names_in
from sightbox.web.operations import describe
from sightbox.web.parameters import NamesQuery
from sightbox.web.service import current_patience, current_service

PREFIX = "/models"

BRACE = re.compile(rb"[ \t\r\n]*{")
"""How JSON begins (RFC 8259, section 2). No picture does."""

huggingface = Blueprint("huggingface", __name__, url_prefix=PREFIX)


@dataclass(frozen=True)
class Question:
    """What a request asks.

    Attributes:
        picture: An image file.
        top_k: How many of the best classes, at least 1.
        function: One of `FUNCTIONS`.
    """

    picture: bytes
    top_k: int
    function: str = FUNCTIONS[0]


def error_body(problem: Json) -> Json:
    """Returns a problem detail as this API spells errors."""
    return {"error": sentence(problem)}


@huggingface.post("/<path:name>")
@describe(operations.CLASSIFY)
def classify(query: NamesQuery, name: str) -> Response:
    """Gives the best classes of one picture and their scores, the best first."""
    service, patience = current_service(), current_patience()
    with service.using(name) as classifier:
        names = names_in(query.lang, classifier)
        question = read_question(read_body(), service.settings)
        prepared = classifier.prepare(
            question.picture, timeout=patience.seconds, abandoned=patience.abandoned
        )
        (answer,) = classifier.infer(
            prepared.pixels[None], timeout=patience.seconds, abandoned=patience.abandoned
        )
        scores = apply(question.function, answer.logits, classifier.card.temperature)
    found = best_indices(scores, question.top_k)
    return json_response(
        [{"label": names[index], "score": round(float(scores[index]), DIGITS)} for index in found]
    )


def read_question(body: bytes, settings: Settings) -> Question:
    """Takes a request apart. It is JSON when it says so, or begins like it.

    Raises:
        RequestError: The JSON is none, or holds no picture; or a parameter is out of range.
    """
    begins_like_json = BRACE.match(body) is not None
    if not begins_like_json and request.mimetype != "application/json":
        return Question(body, settings.top_k)
    message = read_json(body, json_limits())
    picture = decode_text(as_text(message.get("inputs"), "inputs"), "inputs")
    # Clients of JavaScript say null for what is not given.
    given = message.get("parameters")
    parameters = as_object({} if given is None else given, "parameters")
    top_k = parameters.get("top_k")
    if top_k is not None and (type(top_k) is not int or top_k < 1):
        raise RequestError("The parameter top_k is no whole number from 1 up.")
    function = parameters.get("function_to_apply")
    if function is not None and function not in FUNCTIONS:
        raise RequestError(
            "The parameter function_to_apply is unknown.", f"It can be {', '.join(FUNCTIONS)}."
        )
    return Question(picture, top_k or settings.top_k, function or FUNCTIONS[0])


def apply(
    function: str, logits: NDArray[np.float32], temperature: float = 1.0
) -> NDArray[np.float64]:
    """Returns what one of `FUNCTIONS` makes of logits, both [C].

    Softmax alone takes the temperature of the model's card, which was fitted for it.
    """
    if function == "softmax":
        return softmax(logits, temperature)
    exact = logits.astype(np.float64)
    # By the hyperbolic tangent, which overflows nowhere: 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2.
    return (1 + np.tanh(exact / 2)) / 2 if function == "sigmoid" else exact
