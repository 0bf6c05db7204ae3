"""The JSON of the native API as JSON Schema (draft 2020-12): what `sightbox.schema` spells.

Objects are closed: a key that an answer has and its schema does not is a mistake, which the tests
find by comparing the two.
"""

from typing import Any

from sightbox.image import DEFAULT_LIMITS

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
POSITIVE: Schema = {"type": "integer", "minimum": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXTS: Schema = {"type": "array", "items": TEXT}
FILE: Schema = {"type": "string", "format": "binary"}
"""Bytes as they are. OpenAPI 3.1 knows them by their media type, many clients by this format."""

PICTURES: dict[str, Schema] = {
    **{f"image/{name.lower()}": FILE for name in DEFAULT_LIMITS.formats},
    "application/octet-stream": FILE,
}
"""A picture as a body, by media type."""


def ref(name: str) -> Schema:
    """Returns a reference to a schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """Returns the schema of an object that has these keys and no others.

    Args:
        properties: The schema of each value.
        optional: The keys that may be absent.
    """
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def table(values: Schema) -> Schema:
    """Returns the schema of an object of any keys, whose values are all of one schema."""
    return {"type": "object", "additionalProperties": values}


def array(items: Schema) -> Schema:
    """Returns the schema of a list."""
    return {"type": "array", "items": items}


def constant(value: str | bool) -> Schema:
    """Returns the schema of one value."""
    return {"const": value}


def or_null(schema: Schema) -> Schema:
    """Returns the schema of what may be null instead."""
    return {"oneOf": [schema, {"type": "null"}]}


_LABEL = {**table(TEXT), "minProperties": 1, "description": "Name of the class by language."}
_INDEX = {**COUNT, "description": "Number of the class."}
_WNID = {"type": ["string", "null"], "description": "WordNet id, such as n02123045."}
_CHANNELS = {**array(NUMBER), "minItems": 3, "maxItems": 3}
_MILLISECONDS = {"type": "number", "minimum": 0}
_STAGES = ("decode", "preprocess", "queue", "infer", "total")

_REGION = {
    **record(dict.fromkeys(("left", "top", "width", "height"), NUMBER)),
    "description": "The part of the picture that the network saw, in pixels; each map covers it.",
}

_SCORE = {"type": "number", "minimum": 0, "maximum": 1}

_PLANES = array(record({"channel": COUNT, "low": NUMBER, "high": NUMBER, "png": TEXT}))

_STEP = {
    "kind": TEXT,
    "tensor": {"type": ["string", "null"]},
    "shape": array(POSITIVE),
    "dtype": TEXT,
    "ms": {"type": ["number", "null"], "minimum": 0},
    "photos": TEXTS,
    "planes": _PLANES,
    "additions": array(record({"name": TEXT, "ratio": NUMBER, "planes": _PLANES})),
    "values": {"type": ["array", "null"], "items": NUMBER},
    "facts": {"type": "object"},
}

_CARD = {
    "name": TEXT,
    "title": TEXT,
    "architecture": TEXT,
    "classes": COUNT,
    "input": record(
        {
            "resize": POSITIVE,
            "crop": POSITIVE,
            "interpolation": TEXT,
            "fit": TEXT,
            "mean": _CHANNELS,
            "std": _CHANNELS,
        }
    ),
    "labels": {"type": ["string", "null"]},
    "license": {"type": ["string", "null"]},
    "accuracy": {"type": ["object", "null"]},
    "source": table(TEXT),
    "sha256": table(TEXT),
    "calibration": or_null(ref("Calibration")),
    "loaded": {"type": "boolean"},
    "variants": array(
        record(
            {
                "name": TEXT,
                "loaded": {"type": "boolean"},
                "backend": {"type": ["string", "null"]},
                "memory_mb": {"type": ["number", "null"], "minimum": 0},
            }
        )
    ),
}

_LIMITS = record(
    {
        "max_body_mb": {"type": "number", "exclusiveMinimum": 0},
        "max_megapixels": {"type": "number", "exclusiveMinimum": 0},
        "max_parts": POSITIVE,
        "formats": TEXTS,
    }
)

_MACHINE = record(
    {
        "processor": TEXT,
        "instruction_sets": TEXTS,
        "threads": POSITIVE,
        "streams": POSITIVE,
        "max_batch": POSITIVE,
    }
)

EXAMPLE = {
    "model": {"name": "efficientnet-lite0", "variant": "fp32", "backend": "onnxruntime"},
    "predictions": [
        {
            "index": 281,
            "wnid": "n02123045",
            "label": {"en": "tabby", "zh": "虎斑猫"},
            "score": 0.5,
        }
    ],
    "sure": None,
    "timings_ms": {"decode": 2.5, "preprocess": 2.4, "queue": 0.0, "infer": 9.8, "total": 15.0},
    "image": {"width": 451, "height": 300, "format": "PNG"},
}
"""The answer to a picture of a cat."""

SCHEMAS: dict[str, Schema] = {
    "Problem": {
        **record(
            {
                "type": constant("about:blank"),
                "title": {**TEXT, "description": "The kind of error, for people."},
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": {**TEXT, "description": "What went wrong this time."},
                "code": {**TEXT, "description": "The kind of error, for programs; stable."},
                "hint": {**TEXT, "description": "What to do about it."},
                "request_id": {**TEXT, "description": "The header X-Request-Id of the answer."},
            },
            optional=("hint", "request_id"),
        ),
        "description": "A problem detail (RFC 9457). That of one picture of many has no "
        "request_id.",
    },
    "Model": {
        **record({"name": TEXT, "variant": TEXT, "backend": TEXT}),
        "description": "Which network spoke, and what ran it.",
    },
    "Score": record(
        {
            "index": _INDEX,
            "wnid": _WNID,
            "label": _LABEL,
            "score": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "description": "Softmax probability, at the temperature of the model's card.",
            },
        }
    ),
    "Prediction": {
        **record(
            {
                "model": ref("Model"),
                "predictions": array(ref("Score")),
                "sure": {
                    "type": ["boolean", "null"],
                    "description": "Whether the most likely class reaches the threshold in the "
                    "model's card; null where the card has none.",
                },
                "timings_ms": record(dict.fromkeys(_STAGES, _MILLISECONDS)),
                "image": record(
                    {"width": POSITIVE, "height": POSITIVE, "format": {"type": ["string", "null"]}}
                ),
                "explanation": ref("Explanation"),
            },
            optional=("explanation",),
        ),
        "description": "What a picture shows: the best classes, the most likely one first.",
        "examples": [EXAMPLE],
    },
    "Explanation": {
        **record(
            {
                "region": _REGION,
                "maps": array(
                    record({"index": _INDEX, "logit": NUMBER, "values": array(array(NUMBER))})
                ),
            }
        ),
        "description": "Where the evidence for each class is. The mean of a map's values and the "
        "class's bias are its logit.",
    },
    "Failure": {
        **record({"error": ref("Problem")}),
        "description": "What stands in the place of a picture that could not be answered.",
    },
    "Walkthrough": {
        **record(
            {
                "model": record({"name": TEXT, "variant": TEXT, "backend": TEXT, "title": TEXT}),
                "steps": array(record(_STEP)),
                "best": array(
                    record(
                        {
                            "index": _INDEX,
                            "wnid": _WNID,
                            "label": _LABEL,
                            "score": _SCORE,
                            "logit": NUMBER,
                        }
                    )
                ),
            }
        ),
        "description": "A picture's way through a network: what each step makes of it.",
    },
    "Results": {
        **record({"results": array({"oneOf": [ref("Prediction"), ref("Failure")]})}),
        "description": "The answers to the pictures of a form, in their order.",
    },
    "Calibration": {
        **record(
            {
                "temperature": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "description": "What logits are divided by before softmax.",
                },
                "threshold": {
                    "type": ["number", "null"],
                    "minimum": 0,
                    "maximum": 1,
                    "description": "The score from which an answer is sure; null where none keeps "
                    "the precision.",
                },
                "precision": {
                    **_SCORE,
                    "description": "The part of the sure answers that was wanted to be right.",
                },
                "pictures": {**POSITIVE, "description": "How many labelled pictures told it."},
                "variant": {**TEXT, "description": "The variant that answered them."},
            }
        ),
        "description": "How far a model's scores can be trusted.",
    },
    "Card": {**record(_CARD), "description": "A model that is here."},
    "BrokenModel": {
        **record({"name": TEXT, "loaded": constant(False), "problem": TEXT}),
        "description": "A model that cannot be used, and why.",
    },
    "Models": record(
        {"default": TEXT, "models": array({"oneOf": [ref("Card"), ref("BrokenModel")]})}
    ),
    "Labels": record(
        {
            "model": TEXT,
            "languages": TEXTS,
            "labels": array(record({"index": _INDEX, "wnid": _WNID, "label": _LABEL})),
        }
    ),
    "Info": record(
        {
            "version": TEXT,
            "model": ref("Model"),
            "languages": TEXTS,
            "machine": _MACHINE,
            "limits": _LIMITS,
        }
    ),
    "Alive": record({"status": constant("alive")}),
    "Ready": record({"status": constant("ready"), "model": ref("Model")}),
}
"""The schemas that have a name: the components of the document."""
