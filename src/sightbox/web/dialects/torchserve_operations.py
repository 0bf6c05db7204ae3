"""What the routes of TorchServe's inference API take and give, for their views."""

from sightbox.errors import ModelNotFoundError
from sightbox.web.dialects.bodies import BODY_ERRORS, ENCODING_HEADER
from sightbox.web.forms import TooManyPartsError, TooMuchTextError
from sightbox.web.native import PICTURE_ERRORS
from sightbox.web.operations import ADDRESS, JSON, Operation, Tag
from sightbox.web.parameters import NamesQuery
from sightbox.web.schemas import FILE, PICTURES, TEXT, Schema, constant, record, ref, table

TAG = Tag("TorchServe", "Its inference API, with the answers of its image classifier.")

SCHEMAS: dict[str, Schema] = {
    "TorchServeError": {
        **record({"code": {"type": "integer"}, "type": TEXT, "message": TEXT}),
        "description": "An exception of TorchServe's frontend; the code is the HTTP status.",
    },
    "TorchServeHealthy": record({"status": constant("Healthy")}),
    "TorchServeUnhealthy": record({"status": constant("Unhealthy")}),
    "TorchServeScores": {
        **table({"type": "number", "minimum": 0, "maximum": 1}),
        "description": "The probability of each class by its name, the best one first.",
    },
}

_FORM: Schema = {"type": "object", "properties": {"data": FILE}, "required": ["data"]}


class ModelVersionNotFoundError(ModelNotFoundError):
    """The model has no such version."""

    code = "version_not_found"
    title = "There is no such version of the model here"


def _problem(status: int, codes: list[str]) -> dict[str, Schema]:  # noqa: ARG001 - it has no codes
    narrowed = {"properties": {"code": {"const": status}}}
    return {JSON: {"allOf": [ref("TorchServeError"), narrowed]}}


def _problem_of_ping(status: int, codes: list[str]) -> dict[str, Schema]:
    if status != 500:
        return _problem(status, codes)
    return {JSON: {"oneOf": [ref("TorchServeUnhealthy"), *_problem(status, codes).values()]}}


PING = Operation(
    TAG,
    {JSON: ref("TorchServeHealthy")},
    problem=_problem_of_ping,
    components=SCHEMAS,
    samples=(f"curl {ADDRESS}/ping",),
)
PREDICT = Operation(
    TAG,
    {JSON: ref("TorchServeScores")},
    query=NamesQuery,
    errors=(
        *PICTURE_ERRORS,
        *BODY_ERRORS,
        ModelVersionNotFoundError,
        TooManyPartsError,
        TooMuchTextError,
    ),
    path={
        "name": ("Name of a model.", "{model}"),
        "version": ("Version of the model; there is 1.0, which may be called 1.", "1.0"),
    },
    headers=(ENCODING_HEADER,),
    body={**PICTURES, "multipart/form-data": _FORM},
    problem=_problem,
    components=SCHEMAS,
    samples=(
        f"curl {ADDRESS}/predictions/{{model}} -T cat.jpg",
        f"curl -F data=@cat.jpg {ADDRESS}/predictions/{{model}}",
    ),
)
