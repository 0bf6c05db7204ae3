"""Inside a network: the tensors of its stages, against torchvision's, and what is told of them."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image, ImageOps

from reference.lite0 import EfficientNetLite0
from reference.seeded import SIDE, model_of, noise, seeded_resnet18
from sightbox.backends import open_session
from sightbox.backends.onnxruntime import OnnxRuntimeBackend
from sightbox.channels import MAX_SIDE, palette, plane, strongest
from sightbox.classifier import Classifier
from sightbox.decoding.budget import DecodeBudget, Permit
from sightbox.errors import BackendError, DeadlineError, ImageError, ModelError
from sightbox.graphs import ARCHITECTURES, Input, build_graph
from sightbox.graphs.stages import Stage, cut, stages_of
from sightbox.image import decode_image
from sightbox.model import GRAPH, WEIGHTS, Model
from sightbox.patience import ENDLESS, Patience
from sightbox.preprocessing import Fit, prepare
from sightbox.safetensors import load_safetensors
from sightbox.store import Store
from sightbox.upright import as_stored
from sightbox.walkthrough import BEST, SHOWN_CHANNELS, SHOWN_SIDE, Walker, Walkthrough, run_stages
from sightbox.web.walking import walkthrough_to_json

TOLERANCE = 1e-4
"""Largest difference, as a part of the range of the reference."""

Arrays = dict[str, NDArray[np.float32]]


def jpeg(picture: Image.Image, orientation: int = 1) -> bytes:
    """Returns the bytes of a JPEG file with an EXIF orientation."""
    tags, file = Image.Exif(), io.BytesIO()
    tags[274] = orientation
    picture.save(file, "JPEG", quality=95, exif=tags)
    return file.getvalue()


def hooked(network: torch.nn.Module, names: dict[str, str]) -> dict[str, torch.Tensor]:
    """Fills a dict, tensor name -> what the module of that name gives, at the next run."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str, output: torch.Tensor) -> None:
        # torchvision adds in place: what a hook is shown would be changed afterwards.
        seen[name] = output.clone()

    for name, module in names.items():
        network.get_submodule(module).register_forward_hook(
            lambda _module, _inputs, output, name=name: keep(name, output)
        )
    return seen


def tensors_of(model: Model, pixels: NDArray[np.uint8]) -> Arrays:
    """Returns every tensor that walking a picture through a network gives, by name."""
    found: Arrays = {}
    for passed in run_stages(model, pixels):
        found |= passed.arrays
    return found


def assert_close(found: NDArray[np.float32], tensor: torch.Tensor, name: str) -> None:
    reference = tensor.numpy()
    assert found.shape == reference.shape, name
    difference = np.abs(found - reference).max() / np.ptp(reference)
    assert difference <= TOLERANCE, f"{name}: {difference}"


def normalized(model: Model, batch: NDArray[np.uint8]) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (model.card.mean, model.card.std))
    images: torch.Tensor = (torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 - mean) / std
    return images


@pytest.fixture(scope="module")
def embedded(home: Path) -> Model:
    """The embedded model."""
    return Store(home).open()


@pytest.fixture(scope="module")
def walked(embedded: Model, cat: bytes) -> Walkthrough:
    """The cat's way through the embedded model."""
    return Walker().walk(cat, embedded, embedded.card.load_labels())


def test_stages_of_a_resnet_give_torchvisions_own_tensors() -> None:
    network = seeded_resnet18()
    model = model_of(network)
    names = {
        "stem": "relu",
        "maxpool": "maxpool",
        "layer1.0.conv2": "layer1.0.bn2",
        "layer1.0.out": "layer1.0",
        "layer1.1.out": "layer1",
        "layer2.1.conv2": "layer2.1.bn2",
        "layer2.1.out": "layer2",
        "layer3.1.out": "layer3",
        "layer4.1.conv2": "layer4.1.bn2",
        "maps": "layer4",
        "logits": "fc",
    }
    seen = hooked(network, names)
    batch = noise(model, 1)
    with torch.inference_mode():
        images = normalized(model, batch)
        network(images)
    found = tensors_of(model, batch[0])
    assert_close(found["normalized"], images, "normalized")
    for name, tensor in seen.items():
        assert_close(found[name], tensor, name)
    assert_close(found["features"], seen["maps"].mean((2, 3)), "features")


def test_stages_of_the_embedded_network_give_its_own_tensors(
    classifier: Classifier, embedded: Model, cat: bytes
) -> None:
    network = EfficientNetLite0()
    weights = load_safetensors(embedded.read(WEIGHTS))
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    stages = [stage for stage in stages_of("efficientnet-lite0") if stage.kind == "stage"]
    names = {stage.output: f"_blocks.{stage.output.split('.')[1]}" for stage in stages}
    assert list(names.values()) == [f"_blocks.{n}" for n in (0, 2, 4, 7, 10, 14, 15)]
    branches = {"_blocks.7._project_conv": "_blocks.7._bn2"}
    seen = hooked(network.eval(), names | branches)
    pixels = classifier.prepare(cat).pixels
    with torch.inference_mode():
        logits, features, maps = network(normalized(embedded, pixels[None]))
    found = tensors_of(embedded, pixels)
    for name, tensor in {**seen, "logits": logits, "features": features, "maps": maps}.items():
        assert_close(found[name], tensor, name)


@pytest.mark.parametrize("architecture", ["resnet34", "resnet50"])
def test_stages_of_the_deeper_resnets_end_in_their_logits(architecture: str) -> None:
    network = torchvision.models.get_model(architecture, weights=None, num_classes=7)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    small = model_of(seeded_resnet18())
    graph, _ = build_graph(architecture, state, Input(SIDE, small.card.mean, small.card.std))
    pieces = list(cut(graph, architecture))
    depths = [len(piece.stage.blocks) for piece in pieces if piece.stage.kind == "stage"]
    # The first block of a stage changes the shape, but in the first stage of the narrow one.
    assert depths == ([3, 3, 5, 2] if architecture == "resnet34" else [2, 3, 5, 2])
    assert [piece.source for piece in pieces[1:]] == [piece.stage.output for piece in pieces[:-1]]
    assert pieces[-1].outputs == ("logits",)


@pytest.mark.parametrize("photo", ["chelsea.png", "coffee.png", "rocket.jpg"])
def test_walk_ends_with_the_classifiers_own_answer(
    classifier: Classifier, embedded: Model, photos: Path, photo: str
) -> None:
    walked = Walker().walk((photos / photo).read_bytes(), embedded, classifier.labels)
    answer = classifier.classify(photos / photo)
    logits = classifier.infer(classifier.prepare(photos / photo).pixels[None])[0].logits
    assert np.abs(walked.logits - logits).max() <= 1e-5 * np.ptp(logits)
    assert [score.index for score in walked.best] == [s.index for s in answer.predictions]
    for mine, theirs in zip(walked.best, answer.predictions, strict=True):
        assert mine.label == theirs.label
        assert mine.score == pytest.approx(theirs.score, abs=1e-6)


def test_walk_leaves_the_graph_and_the_classifiers_session_as_they_are(
    home: Path, embedded: Model, cat: bytes
) -> None:
    with Classifier(home=home) as classifier:
        before = embedded.read(GRAPH)
        Walker().walk(cat, embedded, classifier.labels)
        assert embedded.read(GRAPH) == before
        backend = classifier._backend
        assert isinstance(backend, OnnxRuntimeBackend)
        assert backend._network is not None
        outputs = [output.name for output in backend._network._session.get_outputs()]
    assert outputs == ["logits", "features", "maps"]


def test_a_blocks_sum_is_what_it_was_given_and_what_it_adds() -> None:
    model = model_of(seeded_resnet18())
    for passed in run_stages(model, noise(model, 1)[0]):
        for block in passed.piece.stage.blocks:
            source, branch, total = (
                passed.arrays[name] for name in (block.source, block.branch, block.total)
            )
            np.testing.assert_allclose(source + branch, total, atol=1e-5 * float(np.ptp(total)))


def test_additions_tell_the_blocks_in_order_with_the_ratio_of_lengths(
    walked: Walkthrough, classifier: Classifier, embedded: Model, cat: bytes
) -> None:
    told = [addition for step in walked.steps for addition in step.additions]
    names = [f"_blocks.{number}" for number in (2, 4, 6, 7, 9, 10, 12, 13, 14)]
    assert [addition.name for addition in told] == names
    arrays = tensors_of(embedded, classifier.prepare(cat).pixels)
    branch, source = arrays["_blocks.7._project_conv"], arrays["_blocks.6.add"]
    expected = np.linalg.norm(branch) / np.linalg.norm(source)
    (found,) = (addition for addition in told if addition.name == "_blocks.7")
    assert found.ratio == pytest.approx(expected, rel=1e-4)
    # One scale for all three, or their colours could not be compared.
    assert len({(one.low, one.high, one.channel) for one in found.planes}) == 1


def test_steps_stand_in_order_with_their_shapes(walked: Walkthrough) -> None:
    assert [(step.kind, step.shape) for step in walked.steps] == [
        ("bytes", (240512,)),
        ("decode", (300, 451, 3)),
        ("turn", (300, 451, 3)),
        ("resize", (256, 384, 3)),
        ("crop", (224, 224, 3)),
        ("normalize", (1, 3, 224, 224)),
        ("stem", (1, 32, 112, 112)),
        ("stage", (1, 16, 112, 112)),
        ("stage", (1, 24, 56, 56)),
        ("stage", (1, 40, 28, 28)),
        ("stage", (1, 80, 14, 14)),
        ("stage", (1, 112, 14, 14)),
        ("stage", (1, 192, 7, 7)),
        ("stage", (1, 320, 7, 7)),
        ("head", (1, 1280, 7, 7)),
        ("features", (1, 1280)),
        ("logits", (1, 1000)),
        ("softmax", (1000,)),
    ]
    for step in walked.steps:
        assert (step.milliseconds is None) == (step.kind in {"bytes", "turn"})
        assert (step.milliseconds or 0) >= 0
        assert len(step.planes) <= SHOWN_CHANNELS
        assert max([0, *(max(photo.shape) for photo in step.photos)]) <= SHOWN_SIDE
    assert len(walked.best) == BEST


def test_example_of_normalising_is_right(walked: Walkthrough) -> None:
    (step,) = (step for step in walked.steps if step.kind == "normalize")
    facts = step.facts
    expected = (facts["byte"] / 255 - facts["mean"][0]) / facts["std"][0]
    assert facts["value"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_crop_tells_whether_anything_is_cut_off(embedded: Model, cat: bytes, fit: Fit) -> None:
    recipe = replace(embedded.card.recipe, fit=fit)
    model = replace(embedded, card=replace(embedded.card, recipe=recipe))
    walked = Walker().walk(cat, model, embedded.card.load_labels())
    (step,) = (step for step in walked.steps if step.kind == "crop")
    assert step.facts["whole"] == (fit != "crop")
    assert len(step.photos) == (2 if fit == "crop" else 1)
    with Image.open(io.BytesIO(cat)) as picture:
        expected = prepare(picture.convert("RGB"), recipe)
    np.testing.assert_array_equal(step.photos[-1], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photo_is_shown_as_stored_and_upright(
    embedded: Model, gradient: Image.Image, orientation: int
) -> None:
    data = jpeg(gradient, orientation)
    walked = Walker().walk(data, embedded, embedded.card.load_labels())
    decoded, turned = (step for step in walked.steps if step.kind in {"decode", "turn"})
    assert turned.facts["orientation"] == orientation
    assert decoded.shape == (240, 320, 3)
    assert turned.shape == ((320, 240, 3) if orientation > 4 else (240, 320, 3))
    assert len(turned.photos) == (0 if orientation == 1 else 2)
    if turned.photos:
        stored = Image.open(io.BytesIO(data))
        np.testing.assert_array_equal(turned.photos[0], np.asarray(stored.convert("RGB")))
        upright = ImageOps.exif_transpose(stored).convert("RGB")
        np.testing.assert_array_equal(turned.photos[1], np.asarray(upright))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_picture_is_turned_back_to_how_it_is_stored(
    gradient: Image.Image, orientation: int
) -> None:
    data = jpeg(gradient, orientation)
    decoded = decode_image(data)
    assert decoded.orientation == orientation
    plain = decode_image(jpeg(gradient)).pixels
    assert as_stored(decoded.pixels, decoded.orientation).tobytes() == plain.tobytes()


def test_walks_wait_for_each_other_and_no_longer_than_they_may(embedded: Model, cat: bytes) -> None:
    walker, labels = Walker(), embedded.card.load_labels()
    inside, let_go = threading.Event(), threading.Event()

    class Gate(DecodeBudget):
        """Lets nobody in before it is told to."""

        @contextmanager
        def turn(self, patience: Patience = ENDLESS) -> Iterator[Permit]:
            inside.set()
            assert let_go.wait(60)
            with super().turn(patience) as permit:
                yield permit

    thread = threading.Thread(
        target=walker.walk, args=(cat, embedded, labels), kwargs={"budget": Gate(1, 100)}
    )
    thread.start()
    try:
        assert inside.wait(60)
        with pytest.raises(DeadlineError, match="max_wait"):
            walker.walk(cat, embedded, labels, patience=Patience.lasting(0))
    finally:
        let_go.set()
        thread.join()
    assert walker.walk(cat, embedded, labels, patience=Patience.lasting(60)).best


def test_failed_walk_gives_its_turn_back(embedded: Model, cat: bytes) -> None:
    walker, labels = Walker(), embedded.card.load_labels()
    with pytest.raises(ImageError):
        walker.walk(cat[:1000], embedded, labels)
    assert walker.walk(cat, embedded, labels, patience=Patience.lasting(60)).best


def test_every_network_has_stages_that_begin_with_pixels_and_end_with_logits() -> None:
    for architecture in ARCHITECTURES:
        stages = stages_of(architecture)
        assert stages[0] == Stage("normalize", "normalized")
        assert [stage.kind for stage in stages[-2:]] == ["features", "logits"]
        assert any(stage.blocks for stage in stages)


def test_graph_that_cannot_be_cut_is_a_model_error(embedded: Model) -> None:
    with pytest.raises(ModelError, match="'vgg' are not known"):
        list(cut(embedded.read(GRAPH), "vgg"))
    with pytest.raises(ModelError, match="none of resnet18"):
        list(cut(embedded.read(GRAPH), "resnet18"))
    with pytest.raises(ModelError, match="damaged"):
        list(cut(bytes(1000), "resnet18"))


def test_piece_that_the_runtime_refuses_is_a_backend_error() -> None:
    with pytest.raises(BackendError, match="refuses"):
        open_session(b"no graph", 1)


def test_strongest_channels_are_those_of_the_largest_mean_magnitude() -> None:
    maps = np.zeros((4, 2, 2), np.float32)
    maps[1], maps[2], maps[3, 0, 0] = 2, -3, 4
    assert strongest(maps, 3) == [2, 1, 3]
    assert strongest(maps, 9) == [2, 1, 3, 0]


def test_plane_spreads_the_values_over_all_levels() -> None:
    drawn = plane(np.array([[-1, 0], [1, 3]], np.float32), 7)
    np.testing.assert_array_equal(drawn.pixels, [[0, 64], [128, 255]])
    assert (drawn.channel, drawn.low, drawn.high) == (7, -1, 3)
    np.testing.assert_array_equal(plane(np.full((2, 2), 5, np.float32), 0).pixels, np.zeros((2, 2)))


def test_large_plane_is_averaged() -> None:
    values = np.zeros((2 * MAX_SIDE, 2 * MAX_SIDE), np.float32)
    values[::2] = 1
    drawn = plane(values, 0)
    assert drawn.pixels.shape == (MAX_SIDE, MAX_SIDE)
    assert np.abs(drawn.pixels.astype(int) - 127).max() <= 1


def test_palette_runs_through_its_stops() -> None:
    colours = np.frombuffer(palette([(0, 0, 0), (100, 200, 50), (255, 255, 255)]), np.uint8)
    colours = colours.reshape(256, 3)
    assert colours[0].tolist() == [0, 0, 0]
    assert colours[255].tolist() == [255, 255, 255]
    assert np.abs(colours[127].astype(int) - [100, 200, 50]).max() <= 1
    assert (np.diff(colours.astype(int), axis=0) >= 0)[:127].all()


def test_json_says_what_the_walk_found(walked: Walkthrough) -> None:
    told = walkthrough_to_json(walked, ("zh",))
    assert told["model"]["title"] == "EfficientNet-Lite0"
    assert [step["shape"] for step in told["steps"]] == [list(s.shape) for s in walked.steps]
    assert told["best"][0]["label"] == {"zh": "虎纹猫"}
    assert told["best"][0]["logit"] == pytest.approx(float(walked.logits.max()), abs=1e-4)
    (features,) = (step for step in told["steps"] if step["kind"] == "features")
    assert len(features["values"]) == 1280
