"""The whole flow in one class: a picture in, a `Prediction` out."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sightbox.backends import Backend, create_backend
from sightbox.batching import Answer, Batcher, Load
from sightbox.decoding.decoder import ISOLATIONS, Decoder
from sightbox.drawing import ramp
from sightbox.errors import RequestError, SightboxError
from sightbox.explanation import Explainer
from sightbox.image import DEFAULT_LIMITS, ImageLimits
from sightbox.machine import MemoryGrowth, give_back_memory, usable_cores
from sightbox.model import graph_file
from sightbox.patience import Abandoned, Patience, never
from sightbox.pictures import Picture, PreparedPicture
from sightbox.plan import GOALS, choose
from sightbox.prediction import (
    ModelInfo,
    Prediction,
    Timings,
    best_scores,
    check_wanted,
    softmax,
)
from sightbox.preprocessing import check_preprocessing
from sightbox.store import Store
from sightbox.streaming import in_order
from sightbox.tracing import note_answers, note_picture, note_problem

Result = Prediction | SightboxError
"""What one picture of many gives."""


class Classifier:
    """Says what pictures show. Thread-safe; a context manager.

    It does not survive a fork: in the child it raises `BackendError`. Make one in each process.

    Args:
        model: Name of a prepared model; the default one when not given.
        backend: Name of a backend, or an unloaded backend of your own.
        variant: Variant of the model: ``fp32`` is exact; ``int8`` and ``bf16`` are faster where the
            processor has the instructions for them.
        device: Where the backend computes, such as ``cuda``; the processor when not given.
        home: Folder of the models; see `sightbox.store.default_home`.
        threads: Threads of the engine.
        streams: Batches that the engine runs at the same time; they share the threads.
        max_batch: Most pictures in a batch.
        goal: What the plan is to be best for: ``throughput`` or ``latency``.
        least_agreement: Part of the pictures that a faster variant must name as the exact one does
            to be chosen by measurement, 0 to 1.
        queue_size: Most pictures that may wait for the engine.
        limits: Which pictures are accepted.
        preprocessing: How pictures are prepared: ``exact`` as the card says, or ``fast`` or
            ``nearest``, which take less time and change the answer a little.
        isolation: Where pictures are decoded: ``thread``, or ``process`` in others that can be
            killed, within limits of memory and time; ``thread`` when not given.
        decoding: What decodes the pictures instead, and bounds how many megapixels at once.
            Classifiers that share one share its budget and its processes.

    What is not given of backend, variant, threads, streams and max_batch is as `sightbox tune`
    measured it fastest here; where it was not run, ONNX Runtime computes the exact answer with all
    cores. `plan` tells what was chosen.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelError: The model is damaged.
        BackendError: The backend is not available or refuses the model.
        DecoderNotAvailableError: The processes that decode cannot be started.
        RequestError: An argument is out of range.

    Example:
        >>> with Classifier() as classifier:
        ...     print(classifier.classify("cat.jpg").top.label["en"])
        tabby
    """

    def __init__(
        self,
        model: str | None = None,
        backend: str | Backend | None = None,
        *,
        variant: str | None = None,
        device: str | None = None,
        home: str | Path | None = None,
        threads: int | None = None,
        streams: int | None = None,
        max_batch: int | None = None,
        goal: str = GOALS[0],
        least_agreement: float = 0.97,
        queue_size: int = 256,
        limits: ImageLimits = DEFAULT_LIMITS,
        preprocessing: str = "exact",
        isolation: str | None = None,
        decoding: Decoder | None = None,
    ) -> None:
        store = Store(None if home is None else Path(home))
        opened = store.open(model)
        self.card = opened.card
        self.labels = self.card.load_labels(store.home / "labels")
        self.limits = limits
        self.preprocessing = check_preprocessing(preprocessing)
        own = None if backend is None or isinstance(backend, str) else backend
        self.plan = choose(
            opened,
            goal,
            least_agreement=least_agreement,
            # Another engine or device than the measured ones.
            measured=own is None and device is None,
            backend=own.name if own is not None else backend,
            variant=variant,
            threads=threads,
            streams=streams,
            max_batch=max_batch,
        )
        self._backend = own or create_backend(self.plan.backend, device)
        opened.check_variant(self.plan.variant)
        self.model = opened
        self._ramp = ramp(self.card.recipe.crop, len(self.card.mean))
        self.decoder = _chosen(decoding, isolation)
        with ExitStack() as stack:
            # First, for its processes start while the model is loaded.
            stack.enter_context(self.decoder)
            self._growth = MemoryGrowth(opened.size(graph_file(self.plan.variant)))
            self._backend.load(opened, self.plan.threads, self.plan.variant, self.plan.streams)
            self._explainer = Explainer(opened, self._backend)
            self._batcher = Batcher(
                self._run,
                self._ramp,
                max_batch=self.plan.max_batch,
                capacity=queue_size,
                workers=self.plan.streams,
            )
            self._opened = stack.pop_all()
        self.memory = self._growth.measure()
        """Bytes that the process grew by while it loaded, and while `warm_up` ran; at least the
        size of the graph. What other threads took and freed meanwhile is in it."""

    @property
    def info(self) -> ModelInfo:
        """Which network speaks."""
        return ModelInfo(self.card.name, self._backend.variant, self._backend.name)

    @property
    def ready(self) -> bool:
        """Whether the engine takes pictures: False after it failed, until it has proven itself."""
        return self._batcher.ready

    @property
    def load(self) -> Load:
        """How many pictures wait, and how large the batches were, those of `check` among them."""
        return self._batcher.load

    def classify(
        self,
        picture: Picture,
        *,
        top_k: int = 5,
        min_score: float = 0.0,
        timeout: float | None = None,
        preprocessing: str | None = None,
        explain: bool = False,
        abandoned: Abandoned = never,
    ) -> Prediction:
        """Says what one picture shows.

        Args:
            picture: A path, the bytes of an image file, a Pillow image, or an array: uint8
                [H, W, 3] RGB, [H, W, 4] RGBA or [H, W] grey.
            top_k: At most this many classes, at least 1.
            min_score: Only classes with at least this probability, 0..1.
            timeout: Seconds within which the engine must have begun with it; without end when
                None.
            preprocessing: ``exact``, ``fast`` or ``nearest``; the classifier's when not given.
            explain: Whether to say where in the picture the evidence for each class is. It costs
                a second run of the network, and a moment more the first time.
            abandoned: Tells whether nobody wants the answer any more: then it is not computed.

        Raises:
            ImageError: The picture cannot be read.
            ModelError: The weights, which explaining needs, are damaged.
            RequestError: `top_k` or `min_score` is out of range, or the picture of a wrong type.
            QueueFullError: Too many pictures wait already.
            DeadlineError: The time was over before its turn came, or the picture is abandoned.
            BackendError: The engine failed.
            ClosedError: The classifier is closed.
        """
        check_wanted(top_k, min_score)
        patience = Patience.lasting(timeout, abandoned)
        return self._classify(picture, top_k, min_score, preprocessing, explain, patience)

    def classify_many(
        self,
        pictures: Iterable[Picture],
        *,
        top_k: int = 5,
        min_score: float = 0.0,
        timeout: float | None = None,
        preprocessing: str | None = None,
        explain: bool = False,
        abandoned: Abandoned = never,
    ) -> Iterator[Result]:
        """Says what each of many pictures shows, in their order, as they become ready.

        Pictures are read ahead by a few, in threads, and never all held at once; so an answer comes
        at the earliest when the next picture has been taken. A picture that cannot be read gives
        its error in its place and does not disturb the others. An error of the iterable itself is
        raised after the answers to what it gave.

        Args:
            pictures: The pictures; may be endless.
            top_k: See `classify`.
            min_score: See `classify`.
            timeout: Seconds that they may wait, all together; those whose turn has not come by then
                get `DeadlineError` in their places.
            preprocessing: See `classify`.
            explain: See `classify`.
            abandoned: See `classify`.

        Raises:
            RequestError: `top_k` or `min_score` is out of range, or `preprocessing` unknown.
        """
        check_wanted(top_k, min_score)
        check_preprocessing(preprocessing or self.preprocessing)
        patience = Patience.lasting(timeout, abandoned)

        def one(picture: Picture) -> Result:
            try:
                return self._classify(picture, top_k, min_score, preprocessing, explain, patience)
            except SightboxError as error:
                note_problem(error.code)
                return error

        return in_order(one, pictures, workers=usable_cores() + 1)

    def prepare(
        self,
        picture: Picture,
        preprocessing: str | None = None,
        *,
        timeout: float | None = None,
        abandoned: Abandoned = never,
    ) -> PreparedPicture:
        """Decodes one picture and makes it into the pixels that `infer` takes.

        Args:
            picture: See `classify`.
            preprocessing: See `classify`.
            timeout: Seconds that the picture may wait for its turn; without end when None.
            abandoned: See `classify`.

        Raises:
            ImageError: The picture cannot be read.
            RequestError: The picture is of a wrong type, or `preprocessing` unknown.
            DeadlineError: The time was over before its turn came, or the picture is abandoned.
        """
        self._batcher.check_process()
        mode = check_preprocessing(preprocessing or self.preprocessing)
        prepared = self.decoder.prepare(
            picture, self.card.recipe, self.limits, mode, timeout=timeout, abandoned=abandoned
        )
        seen, waited = prepared.image, prepared.waited
        stages = {"decode": prepared.decoding, "preprocess": prepared.preprocessing}
        note_picture(picture, seen.format, seen.width, seen.height, wait=waited, **stages)
        return prepared

    def infer(
        self,
        batch: NDArray[np.uint8],
        *,
        timeout: float | None = None,
        abandoned: Abandoned = never,
    ) -> list[Answer]:
        """Gives the logits of pictures that are prepared already.

        They enter the queue together, or not at all; the engine may still run them in several
        batches, and beside pictures of other callers.

        Args:
            batch: uint8 [N, H, W, 3] of the model's input size; N is at least 1.
            timeout: See `classify`.
            abandoned: See `classify`.

        Returns:
            For each picture its logits, float32 [C], and its times.

        Raises:
            RequestError: The array is of another type or shape.
            QueueFullError: The queue has no room for all of them.
            DeadlineError: The time was over before the engine took one of them, or nobody waits
                for them any more.
            BackendError: The engine failed.
            ClosedError: The classifier is closed.
        """
        side = self.card.recipe.crop
        wanted = (side, side, len(self.card.mean))
        if batch.dtype != np.uint8 or batch.shape[1:] != wanted or not len(batch):
            raise RequestError(
                f"The pixels are {batch.dtype} {list(batch.shape)}.",
                f"{self.card.name} takes uint8 [N, {', '.join(map(str, wanted))}], N at least 1.",
            )
        answers = self._batcher.ask_all(list(batch), timeout, abandoned)
        note_answers(self.card.name, [(answer.waited, answer.ran) for answer in answers])
        return answers

    def probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the scores of logits, both [..., C]: softmax at the card's temperature."""
        return softmax(logits, self.card.temperature)

    def check(self) -> None:
        """Sends a drawn picture through the queue and the engine.

        Raises:
            BackendError: The engine failed, or answered with something that is no answer.
        """
        self._batcher.prove()

    def warm_up(self) -> None:
        """Runs the largest batch once, so that `memory` counts what the engine takes for it.

        Raises:
            BackendError: The engine failed.
        """
        self._run(np.stack([self._ramp] * self.plan.max_batch))
        self.memory = self._growth.measure()

    def close(self) -> None:
        """Answers what waits, frees the engine and gives its memory back; may be called twice."""
        self._batcher.close()
        self._opened.close()
        if not self._batcher.is_forked:
            self._backend.close()
        give_back_memory()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _classify(
        self,
        picture: Picture,
        top_k: int,
        min_score: float,
        preprocessing: str | None,
        explain: bool,
        patience: Patience,
    ) -> Prediction:
        asked = perf_counter()
        prepared = self.prepare(
            picture, preprocessing, timeout=patience.seconds, abandoned=patience.abandoned
        )
        answer = self._batcher.ask(prepared.pixels, patience.seconds, patience.abandoned)
        note_answers(self.card.name, [(answer.waited, answer.ran)])
        probabilities = self.probabilities(answer.logits)
        scores = best_scores(probabilities, self.labels, top_k, min_score)
        explanation = (
            self._explainer.explain(prepared, [score.index for score in scores], patience)
            if explain
            else None
        )
        timings = Timings(
            decode=1000 * prepared.decoding,
            preprocess=1000 * prepared.preprocessing,
            queue=1000 * (prepared.waited + answer.waited),
            infer=1000 * answer.ran,
            total=1000 * (perf_counter() - asked),
        )
        threshold = self.card.threshold
        sure = None if threshold is None else bool(scores) and scores[0].score >= threshold
        return Prediction(self.info, scores, timings, prepared.image, explanation, sure)

    def _run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._backend.run(batch)["logits"]


def _chosen(decoding: Decoder | None, isolation: str | None) -> Decoder:
    if decoding is None:
        return Decoder(isolation or ISOLATIONS[0])
    if isolation not in {None, decoding.isolation}:
        raise RequestError(f"The decoder has the isolation {decoding.isolation}, not {isolation}.")
    return decoding
