"""Which models are here: list, prepare, fetch, import, export, remove, verify."""

import errno
import hashlib
import io
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

from sightbox.catalogue import (
    EMBEDDED,
    PREFERRED,
    Known,
    by_sha256,
    card_for_architecture,
    embedded_weights,
    known,
    known_names,
)
from sightbox.checkpoint import read_checkpoint
from sightbox.download import download
from sightbox.errors import ModelError, ModelNotFoundError
from sightbox.filelock import exclusive_lock
from sightbox.graphs import Input, Weights, build_graph
from sightbox.labels import own_labels
from sightbox.model import (
    CARD,
    GRAPH,
    WEIGHTS,
    Card,
    Model,
    check_name,
    open_model,
    remove_leftovers,
    seal,
    write_model,
)
from sightbox.safetensors import load_safetensors, save_safetensors

ARCHIVE_LIMIT = 2 * 1024**3
"""Largest unpacked size of an exported model, in bytes; ResNet-50 has 205 MB."""

LOCK = ".lock"
"""Name of the lock file that writers of a models folder hold."""

Progress = Callable[[int, int | None], None]

logger = logging.getLogger(__name__)


def default_home() -> Path:
    """Returns the folder that holds the models: ``SIGHTBOX_HOME``, or the user's data folder."""
    home = os.environ.get("SIGHTBOX_HOME")
    return Path(home) if home else platformdirs.user_data_path("sightbox", appauthor=False)


@dataclass(frozen=True)
class Check:
    """What `Store.verify` found of one file: its name, and what is wrong, or None."""

    file: str
    problem: str | None


class Store:
    """The models of one home folder.

    Args:
        home: The folder; `default_home` when not given. It is made when it is first written to.
    """

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or default_home()
        self.models = self.home / "models"

    def names(self) -> list[str]:
        """Returns the names of the prepared models, sorted."""
        if not self.models.is_dir():
            return []
        return sorted(
            path.name for path in self.models.iterdir() if path.is_dir() and path.name[0] != "."
        )

    def default_name(self) -> str:
        """Returns the model to use when none is named: the first preferred one that is here."""
        here = self.names()
        return next((name for name in PREFERRED if name in here), EMBEDDED)

    def open(self, name: str | None = None) -> Model:
        """Opens a model; the embedded one is prepared when it is not here yet.

        Args:
            name: Name of the model; `default_name` when not given.

        Raises:
            ModelNotFoundError: It is not here; the hint says how to get it.
            ModelError: It is damaged.
        """
        name = check_name(name or self.default_name())
        model = self._find(name)
        if model is not None:
            return model
        if name == EMBEDDED:
            return self.prepare_embedded()
        here = ", ".join(self.names() or [EMBEDDED])
        if name in known_names():
            raise ModelNotFoundError(
                f"The model {name} is not here yet.",
                f"Fetch it: sightbox models fetch {name}. Here are: {here}.",
            )
        raise ModelNotFoundError(f"There is no model {name!r}.", f"Here are: {here}.")

    def prepare_embedded(self) -> Model:
        """Prepares the model whose weights are installed with the package.

        Where the home cannot be written to, the model lives in memory, with a warning.
        """
        network = known(EMBEDDED)
        if network.package is None:
            raise ModelError(f"No package carries the weights of {EMBEDDED}.")
        return self._prepare(network, embedded_weights(network), or_in_memory=True)

    def fetch(self, name: str, progress: Progress | None = None) -> Model:
        """Fetches the official weights of a known network, and prepares its model.

        Args:
            name: Name of the network.
            progress: Called with the bytes so far and in all (None when unknown).

        Raises:
            ModelNotFoundError: The name is unknown.
            DownloadError: The download failed.
            ModelError: The home cannot be written to.
        """
        network = known(name)
        if network.url is None:
            return self._prepare(network, embedded_weights(network))
        target = self.home / "downloads" / network.file
        download(network.url, target, size=network.bytes, sha256=network.sha256, progress=progress)
        model = self._prepare(network, target)
        target.unlink(missing_ok=True)
        return model

    def import_file(
        self,
        path: Path,
        *,
        name: str | None = None,
        architecture: str | None = None,
        names: tuple[str, ...] = (),
    ) -> Model:
        """Imports official weights, own weights, or a model exported by `export`.

        Args:
            path: A ``.pth`` or ``.safetensors`` file, or an exported ``.zip``.
            name: Name of the model; that of the official weights, or of the file.
            architecture: The network, for own weights.
            names: Names of the classes, in class order, for own weights.

        Raises:
            CheckpointError: The weights cannot be read or do not fit the network.
            ModelError: The model cannot be used or written.
        """
        if _is_export(path):
            return self._write(_read_export(path, name))
        sha256 = _sha256(path)
        network = by_sha256(sha256)
        if architecture is not None:
            card = replace(
                card_for_architecture(architecture),
                title=name or path.stem,
                names=names,
                source={"file": path.name, "sha256": sha256},
            )
            name = name or path.stem
        elif network is not None:
            card = network.card
        else:
            raise ModelError(
                f"{path.name} is no weights file that Sightbox knows.",
                "For weights of your own, name the network: --arch resnet18.",
            )
        card = replace(card, name=check_name(name or card.name))
        return self._write(_build(card, read_checkpoint(path, sha256=sha256)))

    def export(self, name: str, target: Path) -> None:
        """Writes a model as one zip file that `import_file` reads.

        Raises:
            ModelNotFoundError: The model is not here.
            ModelError: The model is damaged, or the file cannot be written.
        """
        model = self.open(name)
        part = target.with_name(f".{target.name}.part")
        try:
            # Weights do not compress; storing them keeps the export fast.
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(CARD, model.card.to_json())
                archive.writestr(WEIGHTS, model.read(WEIGHTS))
            part.replace(target)
        except OSError as error:
            raise _cannot_write(target, error) from error
        finally:
            part.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Removes a model.

        Raises:
            ModelNotFoundError: It is not here.
            ModelError: It cannot be removed.
        """
        folder = self.models / check_name(name)
        if not folder.is_dir():
            raise ModelNotFoundError(f"There is no model {name!r} to remove.")
        try:
            with self._writing():
                trash = folder.with_name(f".{name}.removed")
                folder.rename(trash)
                shutil.rmtree(trash)
        except OSError as error:
            raise _cannot_write(folder, error) from error

    def verify(self, name: str) -> list[Check]:
        """Compares every file of a model with the sha256 in its card.

        Raises:
            ModelNotFoundError: It is not here.
            ModelError: Its card is damaged.
        """
        model = self.open(name)
        checks = []
        for file in (GRAPH, WEIGHTS):
            try:
                model.read(file)
            except ModelError as error:
                checks.append(Check(file, error.detail))
            else:
                checks.append(Check(file, None))
        return checks

    def _find(self, name: str) -> Model | None:
        folder = self.models / name
        try:
            return open_model(folder)
        except ModelError:
            # A writer may just be putting a new folder in the place of the old one.
            with suppress(OSError):
                if self.models.is_dir():
                    with exclusive_lock(self.models / LOCK):
                        pass
            return open_model(folder) if folder.is_dir() else None

    def _prepare(self, network: Known, weights: Path, *, or_in_memory: bool = False) -> Model:
        """Builds the model unless a sound one is here."""

        def build() -> Model:
            return _build(network.card, read_checkpoint(weights, sha256=network.sha256))

        folder = self.models / network.card.name
        try:
            with self._writing():
                # Another process may have prepared it while this one waited for the lock.
                if folder.is_dir() and not any(c.problem for c in self.verify(network.card.name)):
                    return open_model(folder)
                return write_model(build(), self.models)
        except OSError as error:
            if not or_in_memory:
                raise _cannot_write(self.models, error) from error
            logger.warning("%s The model is kept in memory.", _cannot_write(self.models, error))
            return build()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Holds the models folder alone, cleared of what killed writers left."""
        self.models.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(self.models / LOCK):
            remove_leftovers(self.models)
            yield

    def _write(self, model: Model) -> Model:
        try:
            with self._writing():
                return write_model(model, self.models)
        except OSError as error:
            raise _cannot_write(self.models, error) from error


def _build(card: Card, state: Weights) -> Model:
    """Makes a model in memory of a card and a state dict."""
    spec = Input(card.recipe.crop, card.mean, card.std)
    graph, classes = build_graph(card.architecture, state, spec)
    card = replace(card, classes=classes)
    card.load_labels()
    stored = io.BytesIO()
    save_safetensors(stored, state)
    return seal(card, {WEIGHTS: stored.getvalue(), GRAPH: graph})


def _is_export(path: Path) -> bool:
    """Tells whether the file is a zip with a card; torch's files are zips too."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return CARD in archive.namelist()


def _read_export(path: Path, name: str | None) -> Model:
    """Makes a model of the card and the weights of an exported one.

    The graph is built anew, so that nothing but numbers is taken from the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > ARCHIVE_LIMIT:
                raise ModelError(f"{path.name} unpacks to more than {ARCHIVE_LIMIT} bytes.")
            card = Card.from_json(archive.read(CARD))
            weights = archive.read(WEIGHTS)
    except (KeyError, zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path.name} is no whole exported model: {error}.") from error
    if hashlib.sha256(weights).hexdigest() != card.files.get(WEIGHTS):
        raise ModelError(f"{WEIGHTS} in {path.name} does not have the sha256 of its card.")
    return _build(replace(card, name=check_name(name or card.name)), load_safetensors(weights))


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error


def _cannot_write(path: Path, error: OSError) -> ModelError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return ModelError(
        f"{path} cannot be written: {error.strerror}.",
        "Free some space, or choose another place: SIGHTBOX_HOME."
        if full
        else "Choose a place you may write to: SIGHTBOX_HOME.",
    )


def labels_from_file(path: Path) -> tuple[str, ...]:
    """Reads class names: a JSON list, or a text file with one name a line.

    Raises:
        ModelError: The file cannot be read.
    """
    try:
        text = path.read_text("utf-8")
        names = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise ModelError(f"The label file {path} cannot be read: {error}.") from error
    if not isinstance(names, list):
        raise ModelError(f"The label file {path} is no list of names.")
    return own_labels(names).names["en"]
