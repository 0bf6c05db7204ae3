"""What the routes of the native API take and give, for their views in `sightbox.web.api`."""

from functools import partial

from sightbox.errors import (
    BackendError,
    BackendNotAvailableError,
    ClosedError,
    DeadlineError,
    DecodeMemoryError,
    DecoderCrashError,
    DecoderNotAvailableError,
    DecodeTimeError,
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
    LabelError,
    ModelError,
    ModelNotFoundError,
    ModelsBusyError,
    ModelTooLargeError,
    QueueFullError,
    SightboxError,
)
from sightbox.metrics import MEDIA_TYPES
from sightbox.web.forms import TooManyPartsError, TooMuchTextError
from sightbox.web.operations import ADDRESS, JSON, Operation, Tag
from sightbox.web.parameters import ClassifyQuery, LabelsQuery, Query, WalkthroughQuery
from sightbox.web.schemas import FILE, PICTURES, TEXT, Schema, array, ref
from sightbox.web.service import NotReadyError

RECOGNITION = Tag("Recognition", "Say what pictures show.")
MODELS_AND_LABELS = Tag("Models and labels", "What is here, and what it knows.")
MONITORING = Tag("Monitoring", "What the server counts and measures.")
PROBES = Tag("Probes", "Whether the server works. They need no token and admit any parameter.")

INFERENCE_ERRORS: tuple[type[SightboxError], ...] = (
    BackendError,
    QueueFullError,
    DeadlineError,
    ClosedError,
)
"""What can go wrong with a picture that is ready for the engine."""

LOADING_ERRORS: tuple[type[SightboxError], ...] = (
    BackendError,
    BackendNotAvailableError,
    ClosedError,
    LabelError,
    ModelError,
    ModelNotFoundError,
    ModelTooLargeError,
    ModelsBusyError,
)
"""What can go wrong with a model that a request names."""

PICTURE_ERRORS: tuple[type[SightboxError], ...] = (
    DecodeMemoryError,
    DecodeTimeError,
    DecoderCrashError,
    DecoderNotAvailableError,
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
    *LOADING_ERRORS,
    *INFERENCE_ERRORS,
)
"""What can go wrong between a file and its answer."""

_FORM: Schema = {
    "type": "object",
    "properties": {"image": {**array(FILE), "minItems": 1}},
    "required": ["image"],
}

CLASSIFY = Operation(
    RECOGNITION,
    {JSON: {"oneOf": [ref("Prediction"), ref("Results")]}},
    query=ClassifyQuery,
    errors=(*PICTURE_ERRORS, TooManyPartsError, TooMuchTextError),
    body={
        **PICTURES,
        "multipart/form-data": _FORM,
    },
    samples=(
        f"curl --data-binary @cat.jpg {ADDRESS}/v1/classify",
        f'curl --data-binary @cat.jpg "{ADDRESS}/v1/classify?top_k=1&lang=zh"',
        f'curl --data-binary @cat.jpg "{ADDRESS}/v1/classify?model={{model}}&variant=fp32"',
        f"curl -F image=@cat.jpg -F image=@dog.jpg {ADDRESS}/v1/classify",
    ),
)

WALKTHROUGH = Operation(
    RECOGNITION,
    {JSON: ref("Walkthrough")},
    query=WalkthroughQuery,
    errors=(*PICTURE_ERRORS, LabelError),
    body=PICTURES,
    samples=(f"curl --data-binary @cat.jpg -o steps.json {ADDRESS}/v1/walkthrough",),
)

_reading = partial(Operation, MODELS_AND_LABELS, query=Query)

MODELS = _reading(
    {JSON: ref("Models")}, errors=(ModelError,), samples=(f"curl {ADDRESS}/v1/models",)
)

MODEL = _reading(
    {JSON: ref("Card")},
    errors=(ModelNotFoundError, ModelError),
    path={"name": ("Name of a model.", "{model}")},
    samples=(f"curl {ADDRESS}/v1/models/{{model}}",),
)

LABELS = Operation(
    MODELS_AND_LABELS,
    {JSON: ref("Labels")},
    query=LabelsQuery,
    errors=(LabelError, ModelError, ModelNotFoundError),
    samples=(f'curl "{ADDRESS}/v1/labels?lang=zh"',),
)

INFO = _reading({JSON: ref("Info")}, samples=(f"curl {ADDRESS}/v1/info",))

METRICS = Operation(
    MONITORING, dict.fromkeys(MEDIA_TYPES, TEXT), samples=(f"curl {ADDRESS}/metrics",)
)

ALIVE = Operation(PROBES, {JSON: ref("Alive")})

READY = Operation(
    PROBES,
    {JSON: ref("Ready")},
    errors=(ClosedError, NotReadyError),
    samples=(f"curl {ADDRESS}/readyz",),
)
