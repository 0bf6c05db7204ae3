"""One model under three names, so that clients of three habits find what they send.

``resnet18`` takes what torchvision's recipe gives, ``resnet18_u8`` the pixels before they are
normalised, and ``resnet18_image`` the files themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightbox.classifier import Classifier
from sightbox.errors import ModelNotFoundError, RequestError
from sightbox.model import Card
from sightbox.patience import ENDLESS, Patience
from sightbox.prediction import top_k
from sightbox.schema import Json
from sightbox.web.dialects.languages import DEFAULT, names_in
from sightbox.web.dialects.messages import InferenceRequest, OutputTensor, Tensor, WantedOutput
from sightbox.web.dialects.pictures import to_pixels
from sightbox.web.dialects.tensors import (
    BYTES,
    TensorSpec,
    numbers_out,
    read_elements,
    read_numbers,
    texts_out,
)

VERSION = "1"
"""The only version of each model."""

INPUT = "images"

_SUFFIXES = {"": "FP32", "_u8": "UINT8", "_image": BYTES}
"""What stands behind a model's name, and what is sent to it then."""

_CONFIG_TYPES = {
    "FP32": ("TYPE_FP32", "FORMAT_NCHW"),
    "UINT8": ("TYPE_UINT8", "FORMAT_NHWC"),
    BYTES: ("TYPE_STRING", "FORMAT_NONE"),
}
"""How ``model_config.proto`` calls a type of the protocol, and the layout that goes with it."""

PLATFORM = "onnx_onnxv1"
"""What the graph is stored as: ``project_format``."""


@dataclass(frozen=True)
class Surface:
    """What one name stands for.

    Attributes:
        name: The name, with its suffix.
        model: The model's own name.
        datatype: What it takes: ``FP32``, ``UINT8`` or ``BYTES``.
    """

    name: str
    model: str
    datatype: str

    def inputs(self, card: Card) -> tuple[TensorSpec, ...]:
        """Returns the forms that its input may have; the published one first."""
        side, channels = card.recipe.crop, len(card.mean)
        if self.datatype == "FP32":
            return (TensorSpec(INPUT, "FP32", (-1, channels, side, side)),)
        # With a column for the batch, as Triton's own clients send it, or without.
        files = (TensorSpec(INPUT, BYTES, (-1,)), TensorSpec(INPUT, BYTES, (-1, 1)))
        if self.datatype == "UINT8":
            return TensorSpec(INPUT, "UINT8", (-1, side, side, channels)), *files
        return files

    def output(self, card: Card) -> TensorSpec:
        """Returns its output: logits where the client normalises, else probabilities."""
        name = "logits" if self.datatype == "FP32" else "probabilities"
        return TensorSpec(name, "FP32", (-1, card.classes))

    def metadata(self, card: Card) -> Json:
        """Returns the model metadata of the protocol."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": PLATFORM,
            "inputs": [self.inputs(card)[0].to_json()],
            "outputs": [self.output(card).to_json()],
        }

    def config(self, card: Card, max_batch: int) -> Json:
        """Returns the configuration of Triton's extension, as much of it as clients read."""
        published, output = self.inputs(card)[0], self.output(card)
        datatype, layout = _CONFIG_TYPES[published.datatype]
        return {
            "name": self.name,
            "platform": PLATFORM,
            "max_batch_size": max_batch,
            "input": [
                {
                    "name": published.name,
                    "data_type": datatype,
                    "format": layout,
                    "dims": list(published.shape[1:]),
                }
            ],
            "output": [
                {
                    "name": output.name,
                    "data_type": _CONFIG_TYPES[output.datatype][0],
                    "dims": list(output.shape[1:]),
                    "label_filename": card.labels or "",
                }
            ],
        }

    def check_input(self, inputs: Sequence[Tensor], card: Card) -> Tensor:
        """Returns the only input.

        Raises:
            RequestError: There are others, or it has another name, type or shape.
        """
        forms = self.inputs(card)
        if [tensor.name for tensor in inputs] != [INPUT]:
            names = [tensor.name for tensor in inputs]
            raise RequestError(f"The inputs are {names!r:.80}.", f"There is one: {INPUT}.")
        tensor = inputs[0]
        if not any(
            form.datatype == tensor.datatype and form.admits(tensor.shape) for form in forms
        ):
            takes = " or ".join(f"{form.datatype} {list(form.shape)}" for form in forms)
            given = f"{tensor.datatype} {list(tensor.shape)}"
            raise RequestError(
                f"The input {INPUT} is {given:.80}.", f"The model {self.name} takes {takes}."
            )
        return tensor

    def check_outputs(self, wanted: Sequence[WantedOutput], card: Card) -> None:
        """Checks the names of the outputs that are wanted.

        Raises:
            RequestError: There is no such output, or it is wanted twice.
        """
        name = self.output(card).name
        if len(wanted) != 1 or wanted[0].name not in {None, name}:
            names = [output.name for output in wanted]
            raise RequestError(f"The outputs wanted are {names!r:.80}.", f"There is one: {name}.")

    def to_pixels(
        self, tensor: Tensor, classifier: Classifier, patience: Patience = ENDLESS
    ) -> NDArray[np.uint8]:
        """Returns the pixels of a tensor, uint8 [N, H, W, 3].

        Args:
            tensor: What `check_input` returned.
            classifier: What will read them.
            patience: How long files may wait for their decoding.

        Raises:
            RequestError: The tensor's data are damaged, or stand for no pixels.
            ImageError: A picture cannot be read.
            DeadlineError: The time was over before a file's turn came, or nobody waits any more.
        """
        if tensor.datatype == BYTES:
            return to_pixels(read_elements(tensor), classifier, "Element", patience)
        numbers = read_numbers(tensor)
        return numbers if tensor.datatype == "UINT8" else denormalise(numbers, classifier.card)

    def answer(
        self, logits: NDArray[np.float32], request: InferenceRequest, classifier: Classifier
    ) -> list[OutputTensor]:
        """Returns what was asked for.

        Args:
            logits: float32 [N, C].
            request: What was asked for; checked.
            classifier: What gave them.

        Raises:
            RequestError: There are no labels in the language that is wanted.
        """
        spec = self.output(classifier.card)
        values = logits
        if spec.name == "probabilities":
            values = classifier.probabilities(logits).astype(np.float32)
        (wanted,) = request.outputs
        if wanted.classification is None:
            return [numbers_out(spec, values, binary=wanted.binary)]
        names = _labels(request, classifier)
        rows = [
            [
                f"{row[index]:f}:{index}:{names[index]}"
                for index in top_k(row, wanted.classification)
            ]
            for row in values
        ]
        return [texts_out(spec.name, rows, binary=wanted.binary)]


def surfaces_of(models: Sequence[str]) -> dict[str, Surface]:
    """Returns the surfaces of models by their names.

    A model whose own name ends as a suffix does hides the surface of that name.
    """
    found = {
        model + suffix: Surface(model + suffix, model, datatype)
        for model in models
        for suffix, datatype in _SUFFIXES.items()
    }
    return found | {model: Surface(model, model, _SUFFIXES[""]) for model in models}


def find_surface(name: str, version: str, models: Sequence[str]) -> Surface:
    """Returns what a name stands for.

    Args:
        name: Name of a model, with a suffix or without.
        version: Its version.
        models: Names of the models that are here.

    Raises:
        ModelNotFoundError: There is no such model, or no such version of it.
    """
    found = surfaces_of(models)
    if name not in found:
        raise ModelNotFoundError(f"There is no model {name!r}.", f"Here are: {', '.join(found)}.")
    if version != VERSION:
        raise ModelNotFoundError(
            f"The model {name} has no version {version!r:.40}.", f"There is {VERSION}."
        )
    return found[name]


def denormalise(numbers: NDArray[np.float32], card: Card) -> NDArray[np.uint8]:
    """Undoes a model's normalisation.

    The graph reads pixels and normalises them itself. Pictures that were normalised from pixels
    come back exactly; values between two levels, as augmentation makes them, go to the nearest.

    Args:
        numbers: float32 [N, C, H, W], finite.
        card: Whose mean and standard deviation were used.

    Returns:
        uint8 [N, H, W, C].

    Raises:
        RequestError: A value lies beyond black or white.
    """
    std, mean = (np.array(values, np.float32) for values in (card.std, card.mean))
    levels = np.rint((numbers.transpose(0, 2, 3, 1) * std + mean) * 255)
    least, most = float(levels.min()), float(levels.max())
    if least < 0 or most > 255:
        raise RequestError(
            f"The input {INPUT} is no normalised picture: it stands for levels from {least:.0f} "
            f"to {most:.0f}, and there are those from 0 to 255.",
            f"Normalise with mean {list(card.mean)} and std {list(card.std)}, of values from 0 to "
            f"1; or send pixels to {card.name}_u8.",
        )
    return np.ascontiguousarray(levels, np.uint8)


def _labels(request: InferenceRequest, classifier: Classifier) -> list[str]:
    """Returns the names of the classes, without the colon that separates the parts of a result."""
    names = names_in(request.parameters.get("lang", DEFAULT), classifier)
    return [name.replace(":", " ") for name in names]
