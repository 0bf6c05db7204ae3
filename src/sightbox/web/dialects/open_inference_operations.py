"""What the routes of the Open Inference Protocol v2 take and give, for their views."""

from functools import partial

from sightbox.errors import ClosedError, ModelError, ModelNotFoundError, ModelTooLargeError
from sightbox.web.dialects.bodies import BODY_ERRORS, ENCODING_HEADER
from sightbox.web.dialects.fields import JSON_ERRORS
from sightbox.web.dialects.messages import LENGTH_HEADER, NotSupportedError
from sightbox.web.dialects.open_inference_schemas import BINARY, SCHEMAS
from sightbox.web.forms import TooManyPartsError
from sightbox.web.native import PICTURE_ERRORS
from sightbox.web.operations import ADDRESS, JSON, Operation, Tag
from sightbox.web.schemas import Schema, ref
from sightbox.web.service import NotReadyError

TAG = Tag(
    "Open Inference Protocol",
    "Version 2, for clients of Triton, KServe and OpenVINO Model Server.",
)

PATH = {
    "name": ("Name of a model, with the suffix _u8 or _image or without.", "{model}_image"),
    "version": ("Version of the model; there is 1.", "1"),
}

BYTES = "application/octet-stream"

_LENGTH = {
    "name": LENGTH_HEADER,
    "in": "header",
    "description": "How many bytes of the body are JSON, where tensors follow as bytes; 0 for a "
    "body that is one tensor, or one picture, and nothing else.",
    "schema": {"type": "integer", "minimum": 0},
}


def _problem(status: int, codes: list[str]) -> dict[str, Schema]:  # noqa: ARG001 - the error has neither
    return {JSON: ref("OpenInferenceError")}


_operation = partial(Operation, TAG, components=SCHEMAS, problem=_problem, path=PATH)
_of_all = partial(_operation, errors=(ModelError,))
_of_model = partial(_operation, errors=(ModelError, ModelNotFoundError))

_RAW_PICTURE = (
    f'curl -o answer.bin -H "{LENGTH_HEADER}: 0" --data-binary @cat.jpg '
    f"{ADDRESS}/v2/models/{{model}}_image/infer"
)

SERVER = _operation({JSON: ref("OpenInferenceServer")}, samples=(f"curl {ADDRESS}/v2",))
LIVE = _operation({JSON: ref("OpenInferenceLive")})
READY = _operation(
    {JSON: ref("OpenInferenceReady")},
    errors=(ClosedError, NotReadyError),
    samples=(f"curl {ADDRESS}/v2/health/ready",),
)
MODELS = _of_all({JSON: ref("OpenInferenceModels")})
INDEX = _operation(
    {JSON: ref("OpenInferenceIndex")},
    errors=(*BODY_ERRORS, *JSON_ERRORS, ModelError),
    body={JSON: ref("OpenInferenceIndexRequest")},
    body_required=False,
    samples=(f"curl -X POST {ADDRESS}/v2/repository/index",),
)
ALL_STATISTICS = _of_all(
    {JSON: ref("OpenInferenceStatistics")}, samples=(f"curl {ADDRESS}/v2/models/stats",)
)
STATISTICS = _of_model({JSON: ref("OpenInferenceStatistics")})
METADATA = _of_model(
    {JSON: ref("OpenInferenceModel")}, samples=(f"curl {ADDRESS}/v2/models/{{model}}_image",)
)
CONFIG = _of_model({JSON: ref("OpenInferenceConfig")})
MODEL_READY = _operation(
    {JSON: ref("OpenInferenceModelReady")},
    errors=(ModelError, ModelNotFoundError, ModelTooLargeError, NotReadyError),
)
INFER = _operation(
    {JSON: ref("OpenInferenceResponse"), BYTES: BINARY},
    errors=(*PICTURE_ERRORS, *BODY_ERRORS, *JSON_ERRORS, NotSupportedError, TooManyPartsError),
    headers=(_LENGTH, ENCODING_HEADER),
    body={JSON: ref("OpenInferenceRequest"), BYTES: BINARY},
    samples=(_RAW_PICTURE,),
)
