"""Model folders: prepared, imported, exported, removed, verified; whole or not at all."""

import json
import logging
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image

from sightbox.catalogue import EMBEDDED, embedded_weights, known, known_names
from sightbox.classifier import Classifier
from sightbox.errors import (
    CheckpointError,
    ModelError,
    ModelNotFoundError,
)
from sightbox.model import CARD, GRAPH, SEAL, WEIGHTS, Card, seal, write_model
from sightbox.store import Check, Store

SOUND = [Check(CARD, None), Check(GRAPH, None), Check(WEIGHTS, None)]

PREPARE = """
import pathlib, sys
from sightbox.store import Store
Store(pathlib.Path(sys.argv[1])).prepare_embedded()
"""


@pytest.fixture
def store(home: Path, tmp_path: Path) -> Store:
    """A home of the test's own, with the embedded model in it."""
    shutil.copytree(home, tmp_path / "home")
    return Store(tmp_path / "home")


@pytest.fixture(scope="module")
def resnet18_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-18 for three classes, as `torch.save` writes it."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "parts.pth"
    torch.save(torchvision.models.resnet18(weights=None, num_classes=3).state_dict(), path)
    return path


def test_empty_home_has_no_models_and_the_embedded_default(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert store.names() == []
    assert store.default_name() == EMBEDDED
    assert not store.home.exists()


def test_opening_the_default_prepares_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    model = store.open()
    assert (model.card.name, model.card.classes) == (EMBEDDED, 1000)
    assert store.names() == [EMBEDDED]
    assert store.verify(EMBEDDED) == SOUND
    assert sorted(p.name for p in (store.models / EMBEDDED).iterdir()) == [
        CARD,
        SEAL,
        GRAPH,
        WEIGHTS,
    ]


def test_prepared_model_is_not_made_again(store: Store) -> None:
    before = (store.models / EMBEDDED / CARD).stat().st_mtime_ns
    store.prepare_embedded()
    assert (store.models / EMBEDDED / CARD).stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["broken card", "no card", "empty folder"])
def test_model_without_a_sound_card_is_named_and_made_again(store: Store, damage: str) -> None:
    folder = store.models / EMBEDDED
    if damage == "broken card":
        (folder / CARD).write_text("{")
    elif damage == "no card":
        (folder / CARD).unlink()
    else:
        shutil.rmtree(folder)
        folder.mkdir()
    assert [check.file for check in store.verify(EMBEDDED)] == [CARD]
    with pytest.raises(ModelError, match="sightbox models remove efficientnet-lite0"):
        store.open(EMBEDDED)
    store.prepare_embedded()
    assert store.verify(EMBEDDED) == SOUND


def test_changed_card_is_named(store: Store) -> None:
    card = store.models / EMBEDDED / CARD
    card.write_text(card.read_text().replace('"crop": 224', '"crop": 225'))
    (check,) = store.verify(EMBEDDED)
    assert check.file == CARD
    assert "model.json of model efficientnet-lite0 was changed" in str(check.problem)


def test_model_written_without_a_seal_is_sound(store: Store) -> None:
    (store.models / EMBEDDED / SEAL).unlink()
    assert store.verify(EMBEDDED) == SOUND


def test_what_is_no_model_is_not_listed(store: Store) -> None:
    (store.models / "old backup").mkdir()
    (store.models / "notes.txt").touch()
    assert store.names() == [EMBEDDED]


def test_finding_a_model_prepares_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find(EMBEDDED) is None
    assert store.names() == []


def test_damaged_model_is_named_and_made_again_by_preparing(store: Store) -> None:
    graph = store.models / EMBEDDED / GRAPH
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    assert "model.onnx of model efficientnet-lite0 was changed" in str(store.verify(EMBEDDED))
    with pytest.raises(ModelError, match="was changed"):
        Classifier(home=store.home)
    store.prepare_embedded()
    assert store.verify(EMBEDDED) == SOUND


def test_missing_file_is_named(store: Store) -> None:
    (store.models / EMBEDDED / WEIGHTS).unlink()
    assert "cannot be read: No such file" in str(store.verify(EMBEDDED)[2].problem)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"recipe": None}, "card is damaged"),
        ({"recipe": {"resize": 256, "crop": 224.5, "interpolation": "bicubic"}}, "sizes are"),
        ({"recipe": {"resize": 256, "crop": 60000, "interpolation": "bicubic"}}, "sizes are"),
        ({"name": "../x"}, "cannot name a model"),
        ({"name": "other"}, "holds a model named other"),
        ({"name": 5}, "a name is no text"),
        ({"title": 5}, "a name is no text"),
        ({"shape": 1}, "card is damaged"),
        ({"classes": True}, "classes is True"),
        ({"mean": [0.5] * 5}, "mean is"),
        ({"mean": ["a", "b", "c"]}, "mean is"),
        ({"std": [0, 0, 0]}, "std is"),
        ({"std": [float("nan")] * 3}, "std is"),
        ({"activation": "sigmoid"}, "activation is 'sigmoid'"),
        ({"labels": 5}, "labels is 5"),
        ({"names": [1]}, "names is no list of texts"),
        ({"accuracy": {"x": 1}}, "accuracy is"),
        ({"accuracy": [1]}, "accuracy is"),
        ({"files": 5}, "files is 5"),
        ({"source": {"file": 1}}, "source is"),
    ],
)
def test_damaged_card_is_a_model_error(store: Store, change: dict[str, object], told: str) -> None:
    path = store.models / EMBEDDED / CARD
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(ModelError, match=told):
        store.open(EMBEDDED)


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, "\xff"])
def test_text_that_is_no_card_is_a_model_error(text: str) -> None:
    with pytest.raises(ModelError, match="card is damaged"):
        Card.from_json(text.encode("latin-1"))


def test_card_survives_json(store: Store) -> None:
    card = store.open(EMBEDDED).card
    assert Card.from_json(card.to_json()) == card


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "-x", ".hidden", "x" * 65, "ü"])
def test_a_name_never_is_a_path(store: Store, name: str) -> None:
    with pytest.raises(ModelError, match="cannot name a model"):
        store.remove(name)


def test_known_model_that_is_not_here_says_how_to_get_it(store: Store) -> None:
    with pytest.raises(ModelNotFoundError, match="sightbox models fetch resnet18"):
        store.open("resnet18")
    with pytest.raises(ModelNotFoundError, match="no model 'vgg'"):
        store.open("vgg")


def test_resnet18_is_the_default_as_soon_as_it_is_here(store: Store) -> None:
    embedded = store.open(EMBEDDED)
    contents = {file: embedded.read(file) for file in embedded.card.files}
    write_model(seal(replace(embedded.card, name="resnet18"), contents), store.models)
    assert store.default_name() == "resnet18"
    with Classifier(home=store.home) as classifier:
        assert classifier.info.name == "resnet18"


def test_own_weights_answer_as_torch_does(store: Store, resnet18_file: Path, photos: Path) -> None:
    store.import_file(
        resnet18_file, name="parts", architecture="resnet18", names=("good", "scratch", "dent")
    )
    with Classifier("parts", home=store.home) as classifier:
        answer = classifier.classify(photos / "rocket.jpg", top_k=9)
    network = torchvision.models.resnet18(weights=None, num_classes=3)
    network.load_state_dict(torch.load(resnet18_file, weights_only=True))
    recipe = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    with Image.open(photos / "rocket.jpg") as picture, torch.inference_mode():
        expected = network.eval()(recipe(picture)[None]).softmax(1)[0]
    ours = {score.index: score.score for score in answer.predictions}
    assert [ours[i] for i in range(3)] == pytest.approx(expected.tolist(), abs=1e-4)
    assert {score.label["en"] for score in answer.predictions} == {"good", "scratch", "dent"}
    assert answer.top.wnid is None


def test_unknown_weights_need_an_architecture(store: Store, resnet18_file: Path) -> None:
    with pytest.raises(ModelError, match="--arch resnet18"):
        store.import_file(resnet18_file)
    with pytest.raises(CheckpointError, match="do not fit resnet34"):
        store.import_file(resnet18_file, architecture="resnet34")
    with pytest.raises(ModelNotFoundError, match="'vgg'"):
        store.import_file(resnet18_file, architecture="vgg")
    assert store.names() == [EMBEDDED]


def test_labels_must_match_the_classes(store: Store, resnet18_file: Path) -> None:
    with pytest.raises(ModelError, match="has 3 classes, but 2 labels"):
        store.import_file(resnet18_file, architecture="resnet18", names=("a", "b"))
    assert store.names() == [EMBEDDED]


def test_official_file_is_known_by_its_content(store: Store, tmp_path: Path) -> None:
    store.remove(EMBEDDED)
    file = tmp_path / "renamed.bin"
    shutil.copy(embedded_weights(known(EMBEDDED)), file)
    assert store.import_file(file).card == Store(store.home).open(EMBEDDED).card
    assert store.import_file(file, name="copy").card.name == "copy"


def test_missing_file_cannot_be_imported(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        store.import_file(tmp_path / "nope.pth")


def test_weights_are_compared_with_their_sha256(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other weights in the place of the embedded ones are refused, though they would fit."""
    other = replace(known(EMBEDDED), sha256="0" * 64)
    monkeypatch.setattr("sightbox.store.known", lambda _name: other)
    with pytest.raises(CheckpointError, match="sha256 is 57934424"):
        Store(tmp_path).prepare_embedded()


def test_official_names_are_kept_for_official_weights(store: Store, resnet18_file: Path) -> None:
    with pytest.raises(ModelError, match="name of the official weights"):
        store.import_file(resnet18_file, name="resnet18", architecture="resnet18")
    with pytest.raises(ModelError, match="name of the official weights"):
        store.import_file(embedded_weights(known(EMBEDDED)), name="resnet18")


def test_options_that_would_be_ignored_are_refused(store: Store, tmp_path: Path) -> None:
    store.export(EMBEDDED, tmp_path / "model.zip")
    for file in (tmp_path / "model.zip", embedded_weights(known(EMBEDDED))):
        with pytest.raises(ModelError, match="Leave out --arch and --labels"):
            store.import_file(file, names=("a", "b"))
    with pytest.raises(ModelError, match="Leave out --arch and --labels"):
        store.import_file(tmp_path / "model.zip", architecture="resnet18")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="the system has no /dev/zero")
def test_endless_file_is_not_imported(store: Store) -> None:
    with pytest.raises(ModelError, match="no file of at most"):
        store.import_file(Path("/dev/zero"), architecture="resnet18")


def test_removing_what_is_not_here_is_an_error(store: Store) -> None:
    with pytest.raises(ModelNotFoundError, match="no model 'resnet18' to remove"):
        store.remove("resnet18")


def test_read_only_home_works_from_memory_with_a_warning(
    tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A file where the folder should be: this holds for root too, which ignores permissions.
    (tmp_path / "home").write_text("")
    with caplog.at_level(logging.WARNING), Classifier(home=tmp_path / "home") as classifier:
        assert "cat" in classifier.classify(photos / "chelsea.png").top.label["en"]
    assert "The model is kept in memory." in caplog.text


def test_sound_model_in_a_read_only_home_needs_no_lock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A lock in a folder that is not there cannot be taken, also by root.
    monkeypatch.setattr("sightbox.store.LOCK", "no/lock")
    assert store.prepare_embedded().folder == store.models / EMBEDDED


def test_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: writing fails half-way."""
    code = (
        "import resource, signal, sys, pathlib\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))\n"
        "from sightbox.store import Store\n"
        "store = Store(pathlib.Path(sys.argv[1]))\n"
        "print(store.prepare_embedded().folder)\n"
        "store.import_file(pathlib.Path(sys.argv[2]))\n"
    )
    weights = embedded_weights(known(EMBEDDED))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(weights)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "None\n"
    assert "kept in memory" in done.stderr
    assert "ModelError" in done.stderr
    assert "Free some space" in done.stderr
    assert [path.name for path in (tmp_path / "models").iterdir()] == []


def test_processes_that_prepare_at_once_all_end_well(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PREPARE, str(tmp_path)]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    store = Store(tmp_path)
    assert store.names() == [EMBEDDED]
    assert not any(check.problem for check in store.verify(EMBEDDED))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_killed_preparation_leaves_nothing_half_made(tmp_path: Path) -> None:
    """Kills the writer as soon as its scratch folder shows up; then prepares in peace."""
    process = subprocess.Popen([sys.executable, "-c", PREPARE, str(tmp_path)])
    models = tmp_path / "models"
    while process.poll() is None and not list(models.glob(f".{EMBEDDED}.*")):
        pass
    process.kill()
    process.wait()
    store = Store(tmp_path)
    assert store.names() in ([], [EMBEDDED])
    store.prepare_embedded()
    assert not any(check.problem for check in store.verify(EMBEDDED))
    assert sorted(path.name for path in models.iterdir()) == [EMBEDDED]


def test_replacing_a_model_never_shows_half_of_it(store: Store, resnet18_file: Path) -> None:
    """Reads the model all the time while it is replaced: each read gives one or the other."""
    store.import_file(resnet18_file, name="m", architecture="resnet18")
    seen: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(store.open("m").card.title)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(5):
        store.import_file(resnet18_file, name="m", architecture="resnet18")
    done.set()
    reader.join()
    assert set(seen) == {"m"}


@pytest.mark.parametrize("name", known_names())
def test_catalogue_names_a_source_for_every_network(name: str) -> None:
    network = known(name)
    assert bool(network.url) != bool(network.package)
    assert len(network.sha256) in {8, 64}
    assert network.card.architecture == name
    # torchvision puts the start of the sha256 into the name of the file.
    assert network.sha256[:8] in network.file


def test_resnet18_is_the_official_file() -> None:
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    network = known("resnet18")
    assert network.url == weights.url
    assert network.bytes == 46_830_571
    recipe = weights.transforms()
    assert [network.card.recipe.resize] == recipe.resize_size
    assert [network.card.recipe.crop] == recipe.crop_size
    assert network.card.recipe.interpolation == recipe.interpolation.value
    assert (list(network.card.mean), list(network.card.std)) == (recipe.mean, recipe.std)
    assert network.card.accuracy is not None
    assert network.card.accuracy["top1"] == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
