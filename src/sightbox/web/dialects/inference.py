"""One inference of the Open Inference Protocol, whichever way it came: REST or gRPC."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from sightbox.classifier import Classifier
from sightbox.patience import Patience
from sightbox.settings import Settings
from sightbox.web.dialects.counters import Counter
from sightbox.web.dialects.messages import InferenceRequest, OutputTensor
from sightbox.web.dialects.pictures import check_count
from sightbox.web.dialects.surfaces import Surface, find_surface
from sightbox.web.service import Service

Written = TypeVar("Written")


@contextmanager
def using_surface(
    service: Service, name: str, version: str
) -> Iterator[tuple[Surface, Classifier]]:
    """Gives what a name stands for, and its classifier, for as long as the block runs.

    Raises:
        ModelNotFoundError: There is no such model or version of it.
    """
    surface = find_surface(name, version, service.names)
    with service.using(surface.model) as classifier:
        yield surface, classifier


def run_inference(
    settings: Settings,
    patience: Patience,
    counter: Counter,
    using: tuple[Surface, Classifier],
    read: Callable[[], InferenceRequest],
    write: Callable[[str | None, Sequence[OutputTensor]], Written],
) -> Written:
    """Recognises the pictures of a tensor, and counts what it took.

    Args:
        settings: How many pictures there may be.
        patience: How long they may wait.
        counter: What counts.
        using: What `using_surface` gave.
        read: Takes the request apart.
        write: Puts the response together, from the request's id and the outputs.

    Raises:
        SightboxError: The request is wrong, a picture cannot be read, or the engine is busy or
            fails.
    """
    surface, classifier = using
    with counter.recording() as record:
        with record.stage("compute_input"):
            asked = read()
            surface.check_outputs(asked.outputs, classifier.card)
            tensor = surface.check_input(asked.inputs, classifier.card)
            check_count(tensor.shape[0], settings)
            batch = surface.to_pixels(tensor, classifier, patience)
        with record.stage("compute_infer"):
            answers = classifier.infer(
                batch, timeout=patience.seconds, abandoned=patience.abandoned
            )
        record.computed(answers)
        with record.stage("compute_output"):
            logits = np.stack([answer.logits for answer in answers])
            return write(asked.id, surface.answer(logits, asked, classifier))
