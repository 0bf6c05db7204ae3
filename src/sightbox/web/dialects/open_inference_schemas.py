"""The JSON of the Open Inference Protocol v2 as JSON Schema (draft 2020-12).

Source: ``open_inference_rest.yaml`` of the protocol, and Triton's extensions. Requests are open, as
the protocol lets clients send more than a server knows; answers are closed.
"""

from sightbox.web.schemas import (
    COUNT,
    FILE,
    POSITIVE,
    TEXT,
    TEXTS,
    Schema,
    array,
    constant,
    record,
    ref,
)

_BOOLEAN: Schema = {"type": "boolean"}
_SIZES = array(COUNT)
_OPEN_SIZES = array({"type": "integer", "minimum": -1})
_DURATION = record({"count": COUNT, "ns": COUNT})
_STAGES = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
_CACHE = ("cache_hit", "cache_miss")
_COMPUTE = ("compute_infer", "compute_input", "compute_output")

_PARAMETERS: Schema = {
    "type": "object",
    "properties": {"binary_data_output": _BOOLEAN},
    # Shared memory is refused: there is none here.
    "not": {"required": ["shared_memory_region"]},
}

_INPUT: Schema = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "datatype": {"enum": ["FP32", "UINT8", "BYTES"]},
        "shape": _SIZES,
        "parameters": {"type": "object", "not": {"required": ["shared_memory_region"]}},
        "data": {"type": "array"},
    },
    "required": ["name", "datatype", "shape"],
}

_WANTED: Schema = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "parameters": {
            "type": "object",
            "properties": {"binary_data": _BOOLEAN, "classification": POSITIVE},
            "not": {"required": ["shared_memory_region"]},
        },
    },
    "required": ["name"],
}

EXAMPLE = {
    "inputs": [
        {
            "name": "images",
            "datatype": "BYTES",
            "shape": [1],
            "parameters": {"content_type": "base64"},
            "data": ["R0lGODdhAQABAIEAAAAAAAAAAAAAAAAAACwAAAAAAQABAAAIBAABBAQAOw=="],
        }
    ],
    "outputs": [{"name": "probabilities", "parameters": {"classification": 5}}],
}
"""A picture of one pixel for a model's surface ``_image``, and its five best classes."""

_CONFIGURED = {"name": TEXT, "data_type": TEXT, "dims": _OPEN_SIZES}

SCHEMAS: dict[str, Schema] = {
    "OpenInferenceError": record({"error": TEXT}),
    "OpenInferenceServer": record({"name": TEXT, "version": TEXT, "extensions": TEXTS}),
    "OpenInferenceLive": record({"live": constant(True)}),
    "OpenInferenceReady": record({"ready": constant(True), "live": constant(True)}),
    "OpenInferenceModelReady": record({"name": TEXT, "ready": constant(True)}),
    "OpenInferenceModels": record({"models": TEXTS}),
    "OpenInferenceTensor": record({"name": TEXT, "datatype": TEXT, "shape": _OPEN_SIZES}),
    "OpenInferenceModel": record(
        {
            "name": TEXT,
            "versions": TEXTS,
            "platform": TEXT,
            "inputs": array(ref("OpenInferenceTensor")),
            "outputs": array(ref("OpenInferenceTensor")),
        }
    ),
    "OpenInferenceConfig": record(
        {
            "name": TEXT,
            "platform": TEXT,
            "max_batch_size": POSITIVE,
            "input": array(record({**_CONFIGURED, "format": TEXT})),
            "output": array(record({**_CONFIGURED, "label_filename": TEXT})),
        }
    ),
    "OpenInferenceStatistics": record(
        {
            "model_stats": array(
                record(
                    {
                        "name": TEXT,
                        "version": TEXT,
                        "last_inference": COUNT,
                        "inference_count": COUNT,
                        "execution_count": COUNT,
                        "inference_stats": record(dict.fromkeys((*_STAGES, *_CACHE), _DURATION)),
                        "batch_stats": array(
                            record({"batch_size": POSITIVE} | dict.fromkeys(_COMPUTE, _DURATION))
                        ),
                    }
                )
            )
        }
    ),
    "OpenInferenceIndexRequest": {"type": "object", "properties": {"ready": _BOOLEAN}},
    "OpenInferenceIndex": array(
        record(
            {
                "name": TEXT,
                "version": TEXT,
                "state": {"enum": ["READY", "UNAVAILABLE"]},
                "reason": TEXT,
            }
        )
    ),
    "OpenInferenceRequest": {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": _PARAMETERS,
            "inputs": {**array(_INPUT), "minItems": 1, "maxItems": 1},
            "outputs": {"type": ["array", "null"], "items": _WANTED, "maxItems": 1},
        },
        "required": ["inputs"],
        "examples": [EXAMPLE],
    },
    "OpenInferenceResponse": record(
        {
            "model_name": TEXT,
            "model_version": TEXT,
            "id": TEXT,
            "outputs": array(
                record(
                    {
                        "name": TEXT,
                        "datatype": {"enum": ["FP32", "BYTES"]},
                        "shape": _SIZES,
                        "parameters": record({"binary_data_size": COUNT}),
                        "data": array({"type": ["number", "string"]}),
                    },
                    optional=("parameters", "data"),
                )
            ),
        },
        optional=("id",),
    ),
}

BINARY: Schema = {
    **FILE,
    "description": "JSON, and behind it tensors as bytes (Triton's extension_binary_data.md).",
}
