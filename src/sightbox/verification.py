"""Whether what is installed is whole, and whether every engine answers rightly.

Models are compared with the sha256 in their cards, the package with its manifest and its wheel's
RECORD, and the answers of every backend and variant with reference answers.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightbox.backends import BACKENDS, Pixels, create_backend
from sightbox.catalogue import EMBEDDED, embedded_weights, known, known_names
from sightbox.errors import BackendNotAvailableError, SightboxError
from sightbox.golden import golden_photos, load_golden
from sightbox.graphs import Input, build_graph
from sightbox.integrity import check_data, check_record, wheel_record
from sightbox.machine import usable_cores
from sightbox.model import CARD, EXACT, GRAPH, WEIGHTS, Card, Model, seal
from sightbox.preprocessing import prepare
from sightbox.safetensors import load_safetensors
from sightbox.store import Store

TOLERANCE = 1e-3
"""Largest difference of a logit between two exact networks: that of tests/test_golden.py."""

CLEAR = 0.5
"""Lead of the first class, in logits, below which a photo is a tie for the exact network too."""

RUNTIMES = tuple(name for name in BACKENDS if name != "dummy")

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
        part: ``models``, ``package``, ``answers`` or ``surface``.
        name: The thing.
        problem: What is wrong with it; None when nothing is.
        note: How it was looked at, or why it was not.
        difference: Largest difference of a logit from the reference, where there are logits.
    """

    part: str
    name: str
    problem: str | None = None
    note: str = ""
    difference: float | None = None


def check_models(store: Store) -> Iterator[Finding]:
    """Compares every file of every model that is here with its card, and the card with its seal.

    The card of official weights must say what the catalogue says.

    Raises:
        ModelError: The home cannot be read.
    """
    for name in store.names():
        checks = store.verify(name)
        for check in checks:
            yield Finding("models", f"{name}/{check.file}", check.problem)
        if name in known_names() and checks[0].problem is None:
            card = store.open(name).card
            yield Finding("models", f"{name}/{CARD}", _card_problem(card), "as the catalogue")


def check_package() -> Iterator[Finding]:
    """Compares the package's files with its manifest, its RECORD, and the weights it came with."""
    for file in check_data():
        yield Finding("package", f"sightbox/{file.name}", file.problem, "manifest")
    installed = wheel_record()
    if installed is None:
        yield Finding("package", "RECORD", note="not installed from a wheel: there is none")
    else:
        for file in check_record(installed):
            yield Finding("package", file.name, file.problem, "RECORD")
    yield _weights()


def check_answers(store: Store, name: str, least_agreement: float) -> Iterator[Finding]:
    """Recomputes reference answers on every backend that is here, in every variant of a model.

    The embedded model is compared with the golden answers, any other one with what ONNX Runtime
    computes of a graph that is built anew from its weights and its card.

    Args:
        store: Where the model is.
        name: Its name.
        least_agreement: Part of the clear photos that an inexact variant must name as the
            reference does, 0 to 1.
    """
    try:
        model = store.open(name)
        pixels = np.stack([prepare(Image.fromarray(p), model.card.recipe) for p in golden_photos()])
        if name == EMBEDDED:
            golden = load_golden()
            reference, source = golden.logits, "golden answers"
            yield Finding("answers", f"{name} pixels", _pixels_problem(pixels, golden.pixels))
        else:
            reference = _logits(_rebuilt(model), RUNTIMES[0], EXACT, pixels)
            source = f"{RUNTIMES[0]} {EXACT} of a new graph"
    except SightboxError as error:
        yield Finding("answers", name, str(error))
        return
    for backend in RUNTIMES:
        for variant in model.card.variants:
            what = f"{name} {variant} on {backend}"
            try:
                logits = _logits(model, backend, variant, pixels)
            except BackendNotAvailableError as error:
                yield Finding("answers", what, note=f"not here: {error.detail}")
            except SightboxError as error:
                yield Finding("answers", what, str(error))
            else:
                yield _compared(what, variant, logits, reference, least_agreement, source)


def _card_problem(card: Card) -> str | None:
    official = known(card.name).card
    # What is not in the catalogue is of the model that was made, such as the number of classes, or
    # was measured here.
    made = {"classes", "files", "calibration"}
    names = [field.name for field in fields(official) if field.name not in made]
    wrong = [name for name in names if getattr(card, name) != getattr(official, name)]
    return f"differs from the catalogue in {', '.join(wrong)}" if wrong else None


def _weights() -> Finding:
    """Compares the weights that are installed beside the package with the catalogue."""
    network = known(EMBEDDED)
    try:
        path = embedded_weights(network)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, SightboxError) as error:
        return Finding("package", network.file, str(error))
    problem = None if found == network.sha256 else f"was changed: its sha256 is {found[:16]}…"
    return Finding("package", f"{network.package}/{network.file}", problem, "catalogue")


def _rebuilt(model: Model) -> Model:
    """Returns a model in memory whose graph is built anew from weights and card.

    Raises:
        SightboxError: The weights are damaged, or do not fit the card.
    """
    card = model.card
    weights = model.read(WEIGHTS)
    spec = Input(card.recipe.crop, card.mean, card.std)
    graph, _ = build_graph(card.architecture, load_safetensors(weights), spec)
    return seal(replace(card, files={}), {WEIGHTS: weights, GRAPH: graph})


def _pixels_problem(pixels: Pixels, expected: tuple[str, ...]) -> str | None:
    found = [hashlib.sha256(photo.tobytes()).hexdigest() for photo in pixels]
    wrong = sum(one != other for one, other in zip(found, expected, strict=True))
    return f"{wrong} of {len(found)} photos are prepared otherwise" if wrong else None


def _logits(model: Model, backend: str, variant: str, pixels: Pixels) -> Logits:
    """Computes logits, float32 [N, C].

    Raises:
        SightboxError: The backend is not here, cannot run the variant, or failed.
    """
    engine = create_backend(backend)
    try:
        engine.load(model, usable_cores(), variant)
        return engine.run(pixels)["logits"]
    finally:
        engine.close()


def _compared(
    what: str, variant: str, logits: Logits, reference: Logits, least: float, source: str
) -> Finding:
    if logits.shape != reference.shape:
        wrong = f"gives {list(logits.shape)} logits instead of {list(reference.shape)}"
        return Finding("answers", what, wrong, source)
    difference = float(np.abs(logits - reference).max())
    problem = None
    if variant == EXACT:
        # So written that NaN is a problem.
        if not difference <= TOLERANCE:
            problem = f"a logit differs by {difference:.3g}; {TOLERANCE:g} is the most"
        return Finding("answers", what, problem, source, difference)
    second, first = np.sort(reference)[:, -2:].T
    clear = first - second >= CLEAR
    same = (logits.argmax(1) == reference.argmax(1))[clear]
    if not np.isfinite(logits).all() or same.sum() < least * len(same):
        problem = f"names {same.sum()} of {len(same)} clear photos as the exact network does"
    note = f"{source}: {same.sum()} of {len(same)} clear photos named alike"
    return Finding("answers", what, problem, note, difference)
