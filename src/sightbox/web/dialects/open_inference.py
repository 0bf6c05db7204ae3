"""The Open Inference Protocol v2 over REST (KServe, Triton, OpenVINO Model Server, MLServer).

Sources: Open Inference Protocol, ``inference_rest.md``; Triton's extensions ``binary_tensor_data``,
``classification``, ``model_configuration``, ``statistics`` and the index of ``model_repository``.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from flask import Blueprint, Flask, Response, current_app, request
from flask.blueprints import BlueprintSetupState

import sightbox
from sightbox.classifier import Classifier
from sightbox.errors import BackendError, SightboxError
from sightbox.schema import Json
from sightbox.web.dialects import open_inference_operations as operations
from sightbox.web.dialects.answers import json_response, sentence
from sightbox.web.dialects.bodies import json_limits, read_body
from sightbox.web.dialects.counters import Counter, Counters
from sightbox.web.dialects.fields import read_json
from sightbox.web.dialects.inference import run_inference, using_surface
from sightbox.web.dialects.messages import (
    LENGTH_HEADER,
    RAW,
    InferenceRequest,
    NotSupportedError,
    WantedOutput,
    read_request,
    read_switch,
    write_response,
)
from sightbox.web.dialects.pictures import most_pictures
from sightbox.web.dialects.surfaces import VERSION, Surface, find_surface, surfaces_of
from sightbox.web.dialects.tensors import raw_tensor
from sightbox.web.operations import describe
from sightbox.web.service import NotReadyError, current_patience, current_service

PREFIX = "/v2"

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "statistics")
"""Extensions that are here whole; of ``model_repository`` there is only the index."""

_COUNTERS = "sightbox.open_inference"

open_inference = Blueprint("open_inference", __name__, url_prefix=PREFIX)


def error_body(problem: Json) -> Json:
    """Returns a problem detail as this protocol spells errors."""
    return {"error": sentence(problem)}


@open_inference.record_once
def _add_counters(state: BlueprintSetupState) -> None:
    state.app.extensions[_COUNTERS] = Counters()


@open_inference.get("")
@open_inference.get("/")
@describe(operations.SERVER)
def server() -> Response:
    """Tells what this server is."""
    return json_response(
        {"name": "sightbox", "version": sightbox.__version__, "extensions": list(EXTENSIONS)}
    )


@open_inference.get("/health/live")
@describe(operations.LIVE)
def live() -> Response:
    """Answers as long as the process does."""
    return json_response({"live": True})


@open_inference.get("/health/ready")
@describe(operations.READY)
def ready() -> Response:
    """Answers 200 when a drawn picture has just gone through the real engine, else 503."""
    current_service().check_ready()
    return json_response({"ready": True, "live": True})


@open_inference.get("/models")
@describe(operations.MODELS)
def models() -> Response:
    """Lists the names that answer, loaded or not."""
    return json_response({"models": [surface.name for surface in _answering()]})


@open_inference.post("/repository/index")
@describe(operations.INDEX)
def index() -> Response:
    """Lists the models that are here and their states; with ``ready`` only those that answer.

    A model that will be loaded when it is asked is ready: a client need not do anything for it.
    """
    body = read_body()
    message = read_json(body, json_limits()) if body else {}
    only_ready = read_switch(message, "ready", default=False)
    return json_response(
        [
            {
                "name": surface.name,
                "version": VERSION,
                "state": "UNAVAILABLE" if problem else "READY",
                "reason": problem,
            }
            for surface, problem in _surfaces()
            if not (only_ready and problem)
        ]
    )


@open_inference.get("/models/stats")
@describe(operations.ALL_STATISTICS)
def all_statistics() -> Response:
    """Gives the statistics of all models that answer."""
    return _statistics(*_answering())


@open_inference.get("/models/<name>/stats")
@open_inference.get("/models/<name>/versions/<version>/stats")
@describe(operations.STATISTICS)
def statistics(name: str, version: str = VERSION) -> Response:
    """Gives the statistics of a model."""
    return _statistics(_find(name, version))


@open_inference.get("/models/<name>")
@open_inference.get("/models/<name>/versions/<version>")
@describe(operations.METADATA)
def metadata(name: str, version: str = VERSION) -> Response:
    """Describes the inputs and outputs of a model."""
    surface = _find(name, version)
    return json_response(surface.metadata(current_service().residents.card(surface.model)))


@open_inference.get("/models/<name>/config")
@open_inference.get("/models/<name>/versions/<version>/config")
@describe(operations.CONFIG)
def config(name: str, version: str = VERSION) -> Response:
    """Describes a model as Triton's configuration does."""
    surface = _find(name, version)
    card = current_service().residents.card(surface.model)
    return json_response(surface.config(card, most_pictures(current_service().settings)))


@open_inference.get("/models/<name>/ready")
@open_inference.get("/models/<name>/versions/<version>/ready")
@describe(operations.MODEL_READY)
def model_ready(name: str, version: str = VERSION) -> Response:
    """Answers 200 when a model takes pictures, if need be after it was loaded; else why not."""
    surface = _find(name, version)
    try:
        current_service().residents.check(surface.model)
    except BackendError as error:
        raise NotReadyError(error.detail, error.hint) from error
    return json_response({"name": surface.name, "ready": True})


@open_inference.post("/models/<name>/infer")
@open_inference.post("/models/<name>/versions/<version>/infer")
@describe(operations.INFER)
def infer(name: str, version: str = VERSION) -> Response:
    """Recognises the pictures of a tensor."""
    with _using(name, version) as (surface, classifier):
        body, headers = run_inference(
            current_service().settings,
            current_patience(),
            _counter(surface),
            (surface, classifier),
            read=lambda: _read(surface, classifier),
            write=lambda identity, outputs: write_response(
                surface.name, VERSION, identity, outputs
            ),
        )
        return Response(body, headers=headers)


@open_inference.route("/repository/models/<name>/load", methods=["POST"])
@open_inference.route("/repository/models/<name>/unload", methods=["POST"])
@open_inference.route("/systemsharedmemory/<path:rest>", methods=["GET", "POST"])
@open_inference.route("/cudasharedmemory/<path:rest>", methods=["GET", "POST"])
@open_inference.route("/trace/setting", methods=["GET", "POST"])
@open_inference.route("/models/<name>/trace/setting", methods=["GET", "POST"])
@open_inference.route("/logging", methods=["GET", "POST"])
def not_here(**_: str) -> Response:
    """Refuses the parts of Triton's protocol that are not here."""
    raise NotSupportedError("This part of the protocol is not supported here.")


def counters_of(app: Flask) -> Counters:
    """Returns what counts the inferences of an application."""
    counters: Counters = app.extensions[_COUNTERS]
    return counters


def _using(name: str, version: str) -> AbstractContextManager[tuple[Surface, Classifier]]:
    return using_surface(current_service(), name, version)


def _find(name: str, version: str) -> Surface:
    return find_surface(name, version, current_service().names)


def _read(surface: Surface, classifier: Classifier) -> InferenceRequest:
    """Reads the request. What type it declares to be does not matter: clients declare none."""
    body = read_body()
    length = request.headers.get(LENGTH_HEADER)
    if length != RAW:
        return read_request(body, length, json_limits())
    tensor = raw_tensor(surface.inputs(classifier.card)[0], body)
    return InferenceRequest(None, {}, (tensor,), (WantedOutput(None, binary=True),))


def _answering() -> list[Surface]:
    return [surface for surface, problem in _surfaces() if not problem]


def _surfaces() -> Iterator[tuple[Surface, str]]:
    """Yields all there are, each with the reason why it does not answer, or nothing."""
    names = current_service().names
    problems = {name: _problem(name) for name in names}
    for surface in surfaces_of(names).values():
        yield surface, problems[surface.model]


def _problem(model: str) -> str:
    try:
        current_service().residents.check(model)
    except SightboxError as error:
        return error.detail
    return ""


def _statistics(*surfaces: Surface) -> Response:
    found = [_counter(surface).to_json(surface.name, VERSION) for surface in surfaces]
    return json_response({"model_stats": found})


def _counter(surface: Surface) -> Counter:
    return counters_of(current_app).of(surface.name)
