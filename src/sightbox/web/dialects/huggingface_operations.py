"""What the route of Hugging Face's image classification takes and gives, for its view."""

from sightbox.web.dialects.bodies import BODY_ERRORS, ENCODING_HEADER
from sightbox.web.dialects.fields import JSON_ERRORS
from sightbox.web.native import PICTURE_ERRORS
from sightbox.web.operations import ADDRESS, JSON, Operation, Tag
from sightbox.web.parameters import NamesQuery
from sightbox.web.schemas import NUMBER, PICTURES, POSITIVE, TEXT, Schema, array, record, ref

TAG = Tag("Hugging Face", "The image classification task of its inference API.")

FUNCTIONS = ("softmax", "sigmoid", "none")
"""What may be applied to the logits; the first one when nothing is said."""

SCHEMAS: dict[str, Schema] = {
    "HuggingFaceError": record({"error": TEXT}),
    "HuggingFaceLabels": {
        **array(record({"label": TEXT, "score": NUMBER})),
        "description": "The classes and their scores, the best one first.",
    },
    "HuggingFaceQuestion": {
        "type": "object",
        "properties": {
            "inputs": {
                "type": "string",
                "format": "byte",
                "description": "A picture as base64, or as a data: URL.",
            },
            "parameters": {
                "type": ["object", "null"],
                "properties": {
                    "top_k": {**POSITIVE, "type": ["integer", "null"]},
                    "function_to_apply": {"enum": [*FUNCTIONS, None]},
                },
            },
        },
        "required": ["inputs"],
        "description": "A picture and how to judge it. What else stands in it is passed over.",
    },
}


def _problem(status: int, codes: list[str]) -> dict[str, Schema]:  # noqa: ARG001 - the error has neither
    return {JSON: ref("HuggingFaceError")}


CLASSIFY = Operation(
    TAG,
    {JSON: ref("HuggingFaceLabels")},
    query=NamesQuery,
    errors=(*PICTURE_ERRORS, *BODY_ERRORS, *JSON_ERRORS),
    path={"name": ("Name of a model.", "{model}")},
    headers=(ENCODING_HEADER,),
    body={**PICTURES, JSON: ref("HuggingFaceQuestion")},
    problem=_problem,
    components=SCHEMAS,
    samples=(f"curl --data-binary @cat.jpg {ADDRESS}/models/{{model}}",),
)
