"""What the route of PhotoPrism's vision service takes and gives, for its view."""

from sightbox.web.dialects.bodies import BODY_ERRORS, ENCODING_HEADER
from sightbox.web.dialects.fields import JSON_ERRORS
from sightbox.web.forms import TooManyPartsError
from sightbox.web.native import PICTURE_ERRORS
from sightbox.web.operations import ADDRESS, JSON, Operation, Tag
from sightbox.web.parameters import NamesQuery
from sightbox.web.schemas import POSITIVE, TEXT, TEXTS, Schema, array, constant, record, ref

TAG = Tag("PhotoPrism", "The labels of its vision service.")

_PROBABILITY: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_NOTHING: Schema = {"type": "object", "maxProperties": 0}

_LABEL = record(
    {
        "name": TEXT,
        "source": constant("image"),
        "confidence": _PROBABILITY,
        "topicality": _PROBABILITY,
        "categories": TEXTS,
    }
)

SCHEMAS: dict[str, Schema] = {
    "PhotoPrismError": {
        **record(
            {"id": TEXT, "code": {"type": "integer"}, "error": TEXT, "result": _NOTHING},
            optional=("id",),
        ),
        "description": "An error; the code is the HTTP status.",
    },
    "PhotoPrismRequest": {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"]},
            "model": {**TEXT, "description": "Name of a model; the default one when not given."},
            "version": {"enum": ["", "latest", "1"]},
            # No address is ever fetched.
            "url": {"enum": ["", None]},
            "images": {
                "type": "array",
                "items": {"type": "string", "format": "data-url"},
                "minItems": 1,
                "description": "Views of one photo, each as a data: URL with base64.",
            },
        },
        "required": ["images"],
    },
    "PhotoPrismLabels": record(
        {
            "id": TEXT,
            "code": {"const": 200},
            "model": record(
                {
                    "type": constant("labels"),
                    "name": TEXT,
                    "version": TEXT,
                    "resolution": POSITIVE,
                }
            ),
            "result": record({"labels": array(_LABEL)}),
        }
    ),
}

_SAMPLE = (
    'echo "{\\"images\\": [\\"data:image/jpeg;base64,$(base64 cat.jpg | tr -d \'\\n\')\\"]}" '
    f"| curl --json @- {ADDRESS}/api/v1/vision/labels"
)


def _problem(status: int, codes: list[str]) -> dict[str, Schema]:  # noqa: ARG001 - it has no codes
    narrowed = {"properties": {"code": {"const": status}}}
    return {JSON: {"allOf": [ref("PhotoPrismError"), narrowed]}}


LABELS = Operation(
    TAG,
    {JSON: ref("PhotoPrismLabels")},
    query=NamesQuery,
    errors=(*PICTURE_ERRORS, *BODY_ERRORS, *JSON_ERRORS, TooManyPartsError),
    headers=(ENCODING_HEADER,),
    body={JSON: ref("PhotoPrismRequest")},
    problem=_problem,
    components=SCHEMAS,
    samples=(_SAMPLE,),
)
