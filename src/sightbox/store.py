"""Which models are here: list, prepare, fetch, import, export, remove, verify."""

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

from sightbox.archive import file_sha256, is_archive, read_archive, write_archive
from sightbox.building import build_model
from sightbox.calibration import Calibration
from sightbox.catalogue import (
    EMBEDDED,
    PREFERRED,
    Known,
    by_sha256,
    card_for_weights,
    embedded_weights,
    known,
    known_names,
)
from sightbox.checkpoint import read_checkpoint
from sightbox.download import download
from sightbox.errors import ModelError, ModelNotFoundError
from sightbox.filelock import exclusive_lock
from sightbox.model import (
    CARD,
    GRAPH,
    WEIGHTS,
    Model,
    check_name,
    check_seal,
    graph_file,
    is_name,
    open_model,
    remove_leftovers,
    report_file,
    rewrite_card,
    seal,
    write_model,
)
from sightbox.safetensors import load_safetensors

LOCK = ".lock"
"""Name of the lock file that writers of a models folder hold."""

Progress = Callable[[int, int | None], None]

logger = logging.getLogger(__name__)


def default_home() -> Path:
    """Returns the folder that holds the models: ``SIGHTBOX_HOME``, or the user's data folder.

    Raises:
        ModelError: The user has none, as in a container.
    """
    home = os.environ.get("SIGHTBOX_HOME")
    try:
        return Path(home) if home else platformdirs.user_data_path("sightbox", appauthor=False)
    except RuntimeError as error:
        raise ModelError(
            "This user has no folder for the models.", "Name one: SIGHTBOX_HOME."
        ) from error


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
        """Returns the names of the models that are here, damaged ones too, sorted.

        Raises:
            ModelError: The home cannot be read.
        """
        try:
            return sorted(
                path.name for path in self.models.iterdir() if is_name(path.name) and path.is_dir()
            )
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise ModelError(
                f"{self.models} cannot be read: {error.strerror}.",
                "Choose a place you may read: SIGHTBOX_HOME.",
            ) from error

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
        name = name or self.default_name()
        model = self.find(name)
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

    def find(self, name: str) -> Model | None:
        """Returns a model that is here, or None; nothing is prepared.

        Raises:
            ModelError: The name cannot name a model, or the model is damaged.
        """
        folder = self.models / check_name(name)
        try:
            return open_model(folder)
        except ModelError:
            # A writer may just be putting a new folder in the place of the old one.
            with suppress(OSError), exclusive_lock(self.models / LOCK):
                pass
            return open_model(folder) if folder.is_dir() else None

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
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # One process fetches, the others wait here and find the model.
            with exclusive_lock(target.with_suffix(LOCK)):
                if not _is_sound(self.models / name):
                    download(
                        network.url,
                        target,
                        size=network.bytes,
                        sha256=network.sha256,
                        progress=progress,
                    )
                model = self._prepare(network, target)
                target.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_write(target.parent, error) from error
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
        sha256 = file_sha256(path)
        network = by_sha256(sha256)
        exported = is_archive(path)
        if (exported or (network and not architecture)) and (architecture or names):
            raise ModelError(
                f"{path.name} brings its own network and labels.", "Leave out --arch and --labels."
            )
        if exported:
            card, weights = read_archive(path)
            if hashlib.sha256(weights).hexdigest() != card.files.get(WEIGHTS):
                raise ModelError(f"{path.name} has weights that do not belong to its card.")
            state = load_safetensors(weights)
        else:
            card = card_for_weights(path, sha256, architecture, name, names)
            state = read_checkpoint(path, sha256=sha256)
        card = replace(card, name=check_name(name or card.name))
        if card.name in known_names() and card.source != known(card.name).card.source:
            raise ModelError(
                f"{card.name} is the name of the official weights, and these are others.",
                "Give them a name of their own: --name.",
            )
        return self._write(build_model(card, state))

    def export(self, name: str, target: Path) -> None:
        """Writes a model as one zip file that `import_file` reads.

        Raises:
            ModelNotFoundError: The model is not here.
            ModelError: The model is damaged, or the file cannot be written.
        """
        model = self.open(name)
        try:
            write_archive(model, target)
        except OSError as error:
            raise _cannot_write(target, error) from error

    def add_variant(self, model: Model, variant: str, graph: bytes, report: str) -> Model:
        """Adds a variant to a model, or replaces it.

        Args:
            model: The model.
            variant: Name of the variant.
            graph: Its serialised ONNX model.
            report: Its agreement with the exact variant, as JSON.

        Raises:
            ModelError: The model is damaged, or cannot be written.
        """
        contents = {file: model.read(file) for file in model.card.files}
        contents |= {graph_file(variant): graph, report_file(variant): report.encode()}
        return self._write(seal(model.card, contents))

    def calibrate(self, name: str, calibration: Calibration | None) -> Model:
        """Keeps a calibration in a model's card, or takes it out with None.

        Nothing else of the model changes, so that what was measured of its speed stays true.

        Raises:
            ModelNotFoundError: The model is not here.
            ModelError: Its card is damaged, or cannot be written.
        """
        folder = self.open(name).folder
        if folder is None:
            raise ModelError(
                f"The model {name} lives in memory alone: {self.models} cannot be written.",
                "Choose a place you may write to: SIGHTBOX_HOME.",
            )
        try:
            with self._writing():
                check_seal(folder)
                # Another process may have added a variant while this one waited for the lock.
                card = open_model(folder).card
                return rewrite_card(folder, replace(card, calibration=calibration))
        except OSError as error:
            raise _cannot_write(folder, error) from error

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
        """Compares every file of a model with the sha256 in its card, and the card with its own.

        Raises:
            ModelNotFoundError: It is not here.
        """
        folder = self.models / check_name(name)
        if not folder.is_dir():
            raise ModelNotFoundError(f"There is no model {name!r} to verify.")
        try:
            model = open_model(folder)
            check_seal(folder)
        except ModelError as error:
            return [Check(CARD, error.detail)]
        checks = [Check(CARD, None)]
        for file in sorted(model.card.files):
            try:
                model.read(file)
            except ModelError as error:
                checks.append(Check(file, error.detail))
            else:
                checks.append(Check(file, None))
        return checks

    def _prepare(self, network: Known, weights: Path, *, or_in_memory: bool = False) -> Model:
        """Builds the model unless a sound one is here."""

        def build() -> Model:
            return build_model(network.card, read_checkpoint(weights, sha256=network.sha256))

        folder = self.models / network.card.name
        # Without the lock first: a home that is read-only may hold a sound model.
        if _is_sound(folder):
            return open_model(folder)
        try:
            with self._writing():
                # Another process may have prepared it while this one waited for the lock.
                if _is_sound(folder):
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


def _is_sound(folder: Path) -> bool:
    """Tells whether a folder holds a whole model. Takes no lock: its caller may hold one."""
    try:
        model = open_model(folder)
        model.read(GRAPH)
        model.read(WEIGHTS)
    except ModelError:
        return False
    return True


def _cannot_write(path: Path, error: OSError) -> ModelError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return ModelError(
        f"{path} cannot be written: {error.strerror}.",
        "Free some space, or choose another place: SIGHTBOX_HOME."
        if full
        else "Choose a place you may write to: SIGHTBOX_HOME.",
    )
