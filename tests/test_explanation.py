"""Class activation maps: exact against torchvision, in the right place, and drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from commandline import run
from reference.seeded import CLASSES, model_of, noise, seeded_resnet18
from serving import FORM, ask, assert_problem, form, serving
from sightbox import Classifier
from sightbox.backends.onnxruntime import OnnxRuntimeBackend
from sightbox.errors import BackendError, RequestError
from sightbox.explanation import UNSEEN, class_maps, overlay, read_head
from sightbox.prediction import ClassMap, Region
from sightbox.preprocessing import Fit, Recipe, prepare, seen_region
from sightbox.schema import prediction_to_json


def test_map_is_that_of_torchvisions_own_tensors() -> None:
    network = seeded_resnet18()
    model = model_of(network)
    batch = noise(model, 1)
    caught: list[torch.Tensor] = []
    network.get_submodule("layer4").register_forward_hook(lambda *hooked: caught.append(hooked[2]))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (model.card.mean, model.card.std))
    with torch.inference_mode():
        images = (torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 - mean) / std
        logits = network(images)[0].numpy()
        expected = torch.einsum(
            "ck,khw->chw", network.get_parameter("fc.weight"), caught[0][0]
        ).numpy()
    backend = OnnxRuntimeBackend()
    backend.load(model, 1)
    found = class_maps(backend.run(batch, ("maps",))["maps"][0], read_head(model), range(CLASSES))
    scale = np.abs(expected).max()
    for index, one in enumerate(found):
        assert one.index == index
        np.testing.assert_allclose(one.values, expected[index], atol=1e-5 * scale)
        assert one.logit == pytest.approx(logits[index], abs=1e-4 * float(np.abs(logits).max()))


@pytest.mark.parametrize("photo", ["chelsea.png", "coffee.png", "rocket.jpg"])
def test_mean_of_a_map_and_bias_are_the_logit(
    classifier: Classifier, home: Path, photos: Path, photo: str
) -> None:
    answer = classifier.classify(photos / photo, explain=True)
    assert answer.explanation is not None
    prepared = classifier.prepare(photos / photo)
    logits = classifier.infer(prepared.pixels[None])[0].logits
    bias = read_head(classifier.model).bias
    assert [one.index for one in answer.explanation.maps] == [s.index for s in answer.predictions]
    for one in answer.explanation.maps:
        assert np.mean(one.values) + bias[one.index] == pytest.approx(one.logit, abs=1e-9)
        assert one.logit == pytest.approx(logits[one.index], abs=1e-3)


def test_evidence_for_a_cat_is_on_the_cat(classifier: Classifier, photos: Path) -> None:
    """Puts the cat's head into the right half of a grey picture."""
    with Image.open(photos / "chelsea.png") as photo:
        head = photo.crop((80, 0, 330, 250)).resize((224, 224))
    canvas = Image.new("RGB", (448, 448), (128, 128, 128))
    canvas.paste(head, (224, 112))
    answer = classifier.classify(canvas, explain=True, top_k=1)
    assert answer.explanation is not None
    values = np.asarray(answer.explanation.maps[0].values)
    half = values.shape[1] // 2
    assert values[:, half + 1 :].max() > 2 * values[:, :half].max()


def test_answer_without_explaining_has_no_explanation(classifier: Classifier, photos: Path) -> None:
    answer = classifier.classify(photos / "rocket.jpg")
    assert answer.explanation is None
    assert "explanation" not in prediction_to_json(answer)


def test_json_carries_region_and_maps(classifier: Classifier, photos: Path) -> None:
    answer = classifier.classify(photos / "rocket.jpg", explain=True, top_k=2)
    told = json.loads(json.dumps(prediction_to_json(answer)))["explanation"]
    assert [one["index"] for one in told["maps"]] == [s.index for s in answer.predictions]
    assert np.shape(told["maps"][0]["values"]) == (7, 7)
    # 640 x 427 px: the short side becomes 256, of which 224 are kept.
    assert told["region"]["height"] == pytest.approx(224 * 427 / 256, abs=1e-3)
    assert told["region"]["top"] == pytest.approx(16 * 427 / 256, abs=1e-3)


def test_backend_without_the_networks_maps_is_told(dummy: Classifier, photos: Path) -> None:
    with pytest.raises(BackendError, match="feature maps"):
        dummy.classify(photos / "rocket.jpg", explain=True)


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(400, 300), (300, 400), (90, 30), (1000, 50)])
def test_region_is_what_the_model_sees(fit: Fit, size: tuple[int, int]) -> None:
    """Paints the region white and the rest black: the model sees white and padding alone."""
    recipe = Recipe(resize=64, crop=56, interpolation="nearest", fit=fit)
    left, top, width, height = seen_region(*size, recipe)
    columns, rows = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    inside = ((rows > top) & (rows < top + height))[:, None] & (
        (columns > left) & (columns < left + width)
    )
    picture = Image.fromarray(np.repeat(inside[..., None] * np.uint8(255), 3, axis=2))
    everything = Image.new("RGB", size, (255, 255, 255))
    seen, expected = (prepare(each, recipe) for each in (picture, everything))
    # Half a source pixel at each edge may belong to either side.
    assert np.mean(seen != expected) < 0.08
    # A smaller region would be wrong too.
    assert width * height >= 0.98 * min(size) ** 2 * (56 / 64) ** 2 or fit != "crop"


def test_overlay_is_hottest_where_the_evidence_is_and_dark_where_nothing_was_seen() -> None:
    grey = Image.new("RGB", (80, 60), (200, 200, 200))
    one = ClassMap(0, 1.0, ((0.0, 0.0), (0.0, 4.0)))
    drawn = np.asarray(overlay(grey, one, Region(20, 10, 40, 40), opacity=1.0)).astype(int)
    assert drawn.shape == (60, 80, 3)
    np.testing.assert_array_equal(drawn[5, 5], [round(200 * UNSEEN)] * 3)
    np.testing.assert_allclose(drawn[12, 22], [200] * 3, atol=4)
    red, green, _ = drawn[47, 57]
    assert red > green + 100


def test_map_without_evidence_leaves_the_picture_alone() -> None:
    grey = Image.new("RGB", (8, 8), (200, 200, 200))
    one = ClassMap(0, -1.0, ((-1.0, -2.0),))
    assert overlay(grey, one, Region(0, 0, 8, 8)).tobytes() == grey.tobytes()


def test_opacity_out_of_range_is_refused() -> None:
    grey = Image.new("RGB", (8, 8))
    with pytest.raises(RequestError, match="opacity"):
        overlay(grey, ClassMap(0, 0, ((1.0,),)), Region(0, 0, 8, 8), opacity=1.5)


def test_command_line_writes_the_overlay(photos: Path, tmp_path: Path) -> None:
    why = tmp_path / "why.png"
    code, out, error = run("classify", photos / "coffee.png", "-k1", "--explain", why)
    assert (code, error) == (0, "")
    assert "espresso" in out
    with Image.open(photos / "coffee.png") as before, Image.open(why) as after:
        assert (after.format, after.mode, after.size) == ("PNG", "RGB", before.size)
        assert after.tobytes() != before.convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["second"], "takes one picture"),
        (["--min-score", "1"], "nothing to explain"),
    ],
)
def test_overlay_that_cannot_be_is_refused(
    photos: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    more = [str(photos / "rocket.jpg") if word == "second" else word for word in more]
    why = tmp_path / "why.png"
    code, _, error = run("classify", photos / "coffee.png", *more, "--explain", why)
    assert code == 2
    assert message in error
    assert not why.exists()


def test_overlay_in_a_folder_that_is_not_there_is_refused(photos: Path, tmp_path: Path) -> None:
    code, _, error = run(
        "classify", photos / "coffee.png", "--explain", tmp_path / "nowhere" / "why.png"
    )
    assert code == 2
    assert "cannot be written: No such file" in error


def test_http_explains_when_asked(classifier: Classifier, photos: Path) -> None:
    picture = (photos / "rocket.jpg").read_bytes()
    with serving(classifier) as url:
        plain = ask(url, "/v1/classify?explain=false&top_k=2", picture)
        explained = ask(url, "/v1/classify?explain=true&top_k=2", picture)
        many = ask(url, "/v1/classify?explain=true&top_k=1", form(picture, picture), FORM)
        wrong = ask(url, "/v1/classify?explain=yes", picture)
    assert "explanation" not in plain[2]
    expected = prediction_to_json(classifier.classify(picture, explain=True, top_k=2))
    assert explained[2]["explanation"] == expected["explanation"]
    assert [len(one["explanation"]["maps"]) for one in many[2]["results"]] == [1, 1]
    assert "true or false" in assert_problem(wrong, 400, "bad_request")
