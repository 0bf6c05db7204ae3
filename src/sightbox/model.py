"""A model folder: its card, its files, and how it is written and checked.

The folder holds ``model.json`` (the card) with its sha256, ``weights.safetensors`` and
``model.onnx``. It is written under a temporary name and renamed when it is whole, so nobody ever
sees half a model.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sightbox.atomicfile import write_durably
from sightbox.calibration import Calibration
from sightbox.errors import ModelError
from sightbox.labels import Labels, load_labels, numbered_labels, own_labels
from sightbox.preprocessing import Recipe

CARD = "model.json"
GRAPH = "model.onnx"
WEIGHTS = "weights.safetensors"

SEAL = "model.json.sha256"
"""The card's own sha256, as sha256sum(1) writes and checks it."""

EXACT = "fp32"
"""The variant whose answers are the network's own."""

_REPORT = ".json"
"""How the name of an agreement report ends."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")

MAX_CLASSES = 1_000_000
"""Most classes of a model: ImageNet-21k has a fiftieth of it."""

MAX_SIDE = 2048
"""Largest size of a recipe, in pixels: nine times that of the official weights."""

CHANNELS = 3
"""Pictures are RGB."""


@dataclass(frozen=True)
class Card:
    """Everything about a model that is no array. The only home of its numbers.

    Attributes:
        name: Name of the model here; letters, digits, ``.``, ``_`` and ``-``, at most 64.
        title: Name of the model for people.
        architecture: One of `sightbox.graphs.ARCHITECTURES`.
        classes: Number of classes.
        recipe: How a picture becomes pixels.
        mean: Mean of each channel, of values scaled to 0..1.
        std: Standard deviation of each channel, of values scaled to 0..1.
        activation: What turns logits into scores: ``softmax``.
        labels: A built-in label set, or None.
        names: Names of own classes, in class order; empty where there are none.
        license: Licence of the weights.
        accuracy: Accuracy as published, in percent, with its source; None when unknown.
        source: File name and sha256 of the weights file that the model was made from.
        files: sha256 of each file of the folder but the card.
        calibration: How far the scores can be trusted; None where nobody measured it.
    """

    name: str
    title: str
    architecture: str
    classes: int
    recipe: Recipe
    mean: tuple[float, ...]
    std: tuple[float, ...]
    activation: str
    labels: str | None
    names: tuple[str, ...]
    license: str | None
    accuracy: Mapping[str, Any] | None
    source: Mapping[str, Any]
    files: Mapping[str, str]
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        problem = next((text for text, wrong in self._problems() if wrong), None)
        if problem is not None:
            raise ModelError(f"The model's card is damaged: {problem}.")

    def _problems(self) -> Iterator[tuple[str, bool]]:
        texts = (self.name, self.title, self.architecture)
        yield "a name is no text", not all(isinstance(text, str) for text in texts)
        yield f"{self.name!r} cannot name a model", not is_name(self.name)
        yield f"classes is {self.classes!r}", not _is_count(self.classes, 0, MAX_CLASSES)
        sizes = (self.recipe.resize, self.recipe.crop)
        yield f"the sizes are {sizes}", not all(_is_count(size, 1, MAX_SIDE) for size in sizes)
        for name, values, least in (("mean", self.mean, -1e3), ("std", self.std, 1e-6)):
            right = isinstance(values, tuple) and len(values) == CHANNELS
            right = right and all(_is_in(value, least, 1e3) for value in values)
            yield f"{name} is {values!r}", not right
        yield f"activation is {self.activation!r}", self.activation != "softmax"
        for name, label in (("labels", self.labels), ("license", self.license)):
            yield f"{name} is {label!r}", not isinstance(label, str | None)
        yield "names is no list of texts", not all(isinstance(name, str) for name in self.names)
        for name, table in (("source", self.source), ("files", self.files)):
            yield f"{name} is {table!r}", not _is_text_table(table)
        top1 = {} if self.accuracy is None else self.accuracy
        wrong = not isinstance(top1, dict) or (top1 and not _is_in(top1.get("top1"), 0, 100))
        yield f"accuracy is {self.accuracy!r}", bool(wrong)
        for problem in self.calibration.problems() if self.calibration is not None else ():
            yield problem, True

    def to_json(self) -> str:
        """Returns the card as JSON text; without a calibration as before there were any."""
        fields = asdict(self)
        if self.calibration is None:
            del fields["calibration"]
        return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Card":
        """Reads a card.

        Raises:
            ModelError: The text is no card; the message says where it goes wrong.
        """
        try:
            fields = json.loads(text)
            fields["recipe"] = Recipe(**fields["recipe"])
            if fields.get("calibration") is not None:
                fields["calibration"] = Calibration(**fields["calibration"])
            card = cls(**{name: _frozen(value) for name, value in fields.items()})
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ModelError(f"The model's card is damaged: {error}.") from error
        return card

    @property
    def temperature(self) -> float:
        """What logits are divided by before softmax; 1 where nothing was fitted."""
        return 1.0 if self.calibration is None else self.calibration.temperature

    @property
    def threshold(self) -> float | None:
        """The score from which an answer is sure, 0 to 1, where one is known."""
        return None if self.calibration is None else self.calibration.threshold

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants: the exact one, and those that were compared with it."""
        reports = (file for file in sorted(self.files) if file.endswith(_REPORT))
        return EXACT, *(file.removesuffix(_REPORT) for file in reports)

    def load_labels(self, own: Path | None = None) -> Labels:
        """Returns the names of the model's classes.

        Args:
            own: A folder of label sets; files of the set's name in it override or add languages.

        Raises:
            LabelError: The labels are damaged.
            ModelError: Their number is not that of the classes.
        """
        if self.names:
            labels = own_labels(self.names)
        elif self.labels is not None:
            labels = load_labels(self.labels, own / self.labels if own is not None else None)
        else:
            labels = numbered_labels(self.classes)
        if len(labels) != self.classes:
            raise ModelError(
                f"The model {self.name} has {self.classes} classes, but {len(labels)} labels."
            )
        return labels


@dataclass(frozen=True)
class Model:
    """A model that can be loaded: its card and its files.

    Attributes:
        card: The card.
        folder: Where the files are; None for a model that lives in memory alone.
        contents: The files of a model in memory.
    """

    card: Card
    folder: Path | None
    contents: Mapping[str, bytes]

    def check_variant(self, variant: str) -> None:
        """Checks that there is a graph for a variant.

        Raises:
            ModelError: There is none; the hint says how to make it.
        """
        if graph_file(variant) not in self.card.files:
            raise ModelError(
                f"The model {self.card.name} has no variant {variant!r} here.",
                f"Make it: sightbox models optimize {self.card.name}.",
            )

    def size(self, file: str) -> int:
        """Returns the size of a file, in bytes; 0 when it is missing, which `read` tells of."""
        if self.folder is None:
            return len(self.contents[file])
        path = self.folder / file
        return path.stat().st_size if path.is_file() else 0

    def read(self, file: str) -> bytes:
        """Returns the content of a file, after its sha256 was compared with the card's.

        Raises:
            ModelError: The file is missing, cannot be read, or was changed.
        """
        if self.folder is None:
            return self.contents[file]
        hint = _anew(self.card.name)
        try:
            content = (self.folder / file).read_bytes()
        except OSError as error:
            raise ModelError(
                f"The file {file} of model {self.card.name} cannot be read: {error.strerror}.", hint
            ) from error
        found = hashlib.sha256(content).hexdigest()
        expected = self.card.files.get(file)
        if found != expected:
            raise ModelError(
                f"The file {file} of model {self.card.name} was changed: "
                f"its sha256 is {found[:16]}…, the card says {str(expected)[:16]}….",
                hint,
            )
        return content


def graph_file(variant: str) -> str:
    """Returns the name of the file with the graph of a variant.

    bf16 is how a runtime computes, not what is stored: it has the graph of the exact variant.
    """
    return GRAPH if variant in {EXACT, "bf16"} else f"model.{variant}.onnx"


def report_file(variant: str) -> str:
    """Returns the name of the file with the agreement report of a variant."""
    return variant + _REPORT


def is_name(name: str) -> bool:
    """Tells whether `name` may name a model; a name never is a path."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Returns `name` when it may name a model.

    Raises:
        ModelError: It may not.
    """
    if not is_name(name):
        raise ModelError(
            f"{name!r} cannot name a model.",
            "Use letters, digits, '.', '_' and '-', at most 64, not starting with '.' or '-'.",
        )
    return name


def open_model(folder: Path) -> Model:
    """Opens the model in `folder`; its files are read and checked later.

    Raises:
        ModelError: There is no readable card.
    """
    try:
        card = Card.from_json((folder / CARD).read_bytes())
    except OSError as error:
        raise ModelError(
            f"The model {folder.name} has no readable card: {error.strerror}.", _anew(folder.name)
        ) from error
    except ModelError as error:
        raise ModelError(error.detail, _anew(folder.name)) from error
    if card.name != folder.name:
        raise ModelError(
            f"The folder {folder.name} holds a model named {card.name}.", _anew(folder.name)
        )
    return Model(card, folder, {})


def check_seal(folder: Path) -> None:
    """Compares the card in `folder` with its own sha256, which a folder may lack.

    Raises:
        ModelError: The card was changed after it was written, or cannot be read.
    """
    try:
        card = (folder / CARD).read_bytes()
        expected = (folder / SEAL).read_bytes().split()[:1]
    except FileNotFoundError:
        return
    except OSError as error:
        raise ModelError(f"{error.filename} cannot be read: {error.strerror}.") from error
    if expected != [hashlib.sha256(card).hexdigest().encode()]:
        raise ModelError(
            f"The file {CARD} of model {folder.name} was changed: {SEAL} has another sha256.",
            _anew(folder.name),
        )


def seal(card: Card, contents: Mapping[str, bytes]) -> Model:
    """Returns a model in memory whose card carries the sha256 of each file."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return Model(replace(card, files=digests), None, dict(contents))


def write_model(model: Model, models: Path) -> Model:
    """Writes a model in memory into its folder below `models`, replacing an older one.

    The caller holds the folder's lock.

    Raises:
        OSError: The disk is full or not writable. Nothing is left behind then.
    """
    target = models / model.card.name
    # A name starting with a dot is no model's name: a killed writer leaves nothing that is listed.
    scratch = Path(tempfile.mkdtemp(prefix=f".{model.card.name}.", dir=models))
    try:
        for name, content in model.contents.items():
            write_durably(scratch / name, content)
        card = model.card.to_json().encode()
        write_durably(scratch / CARD, card)
        write_durably(scratch / SEAL, _sealed(card))
        _swap(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Model(model.card, target, {})


def rewrite_card(folder: Path, card: Card) -> Model:
    """Puts another card in the place of a folder's own; its other files stay as they are.

    The caller holds the folder's lock. A card without a seal is as good as one with it, so that a
    kill between any two steps leaves a whole model.

    Raises:
        OSError: The disk is full or not writable.
    """
    (folder / SEAL).unlink(missing_ok=True)
    content = card.to_json().encode()
    for name, text in ((CARD, content), (SEAL, _sealed(content))):
        scratch = folder / f".{name}"
        write_durably(scratch, text)
        scratch.replace(folder / name)
    return Model(card, folder, {})


def remove_leftovers(models: Path) -> None:
    """Removes what killed writers left below `models`. The caller holds the folder's lock."""
    for path in models.glob(".*.*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _swap(scratch: Path, target: Path) -> None:
    """Puts `scratch` in the place of `target`; what stood there is left under the scratch name."""
    if not target.exists():
        scratch.rename(target)
        return
    old = scratch.with_name(scratch.name + ".old")
    target.rename(old)
    scratch.rename(target)
    old.rename(scratch)


def _sealed(card: bytes) -> bytes:
    return f"{hashlib.sha256(card).hexdigest()}  {CARD}\n".encode()


def _anew(name: str) -> str:
    return f"Remove it (sightbox models remove {name}), and prepare, fetch or import it again."


def _is_count(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_in(value: object, least: float, most: float) -> bool:
    # A comparison with NaN is false, so that it is refused too.
    return type(value) in {int, float} and least <= value <= most  # type: ignore[operator]  # checked


def _is_text_table(table: object) -> bool:
    return isinstance(table, dict) and all(
        isinstance(text, str) for pair in table.items() for text in pair
    )


def _frozen(value: Any) -> Any:  # noqa: ANN401 - JSON can be anything
    return tuple(value) if isinstance(value, list) else value
