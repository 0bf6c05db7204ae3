"""Several models behind one server: chosen by name, loaded when they are asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from serving import FORM, ask, assert_problem, form, running
from shelf import CLASSES, put_models
from sightbox.classifier import Classifier
from sightbox.model import CARD, Model, write_model
from sightbox.opening import open_classifier
from sightbox.residents import Residents
from sightbox.settings import load_settings
from sightbox.store import Store
from sightbox.web.app import create_app

IMAGE = "_image"
RAW = {"Inference-Header-Content-Length": "0"}


@dataclass(frozen=True)
class Served:
    """A server, and the models behind it."""

    url: str
    residents: Residents

    @property
    def loaded(self) -> list[str]:
        """Names of the models that are loaded."""
        return [one.name for one in self.residents.loaded]


@contextmanager
def served(home: Path, **given: object) -> Iterator[Served]:
    """Serves the models of a home."""
    settings = load_settings(port=0, home=home, **given)
    with (
        open_classifier(settings) as classifier,
        Residents(classifier, settings) as residents,
        running(create_app(classifier, settings, residents), settings) as server,
    ):
        yield Served(server.url, residents)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the models of `CLASSES`, each of which takes exactly a megabyte."""
    put_models(tmp_path)
    monkeypatch.setattr("sightbox.machine.resident_bytes", lambda: 0)
    return tmp_path


@pytest.fixture
def three(shelf: Path) -> Iterator[Served]:
    """The dummy backend with `first` as its default, and room for three models."""
    with served(shelf, backend="dummy", model="first", max_models_mb=3) as server:
        yield server


def test_request_names_its_model(three: Served, cat: bytes) -> None:
    for name in ("north", "east", "south", "first"):
        answer = ask(three.url, f"/v1/classify?model={name}&top_k=99", cat)[2]
        assert answer["model"] == {"name": name, "variant": "fp32", "backend": "dummy"}
        labels = [guess["label"]["en"] for guess in answer["predictions"]]
        assert sorted(labels) == sorted(f"{name} {number}" for number in range(CLASSES[name]))
    assert ask(three.url, "/v1/classify", cat)[2]["model"]["name"] == "first"
    assert three.loaded == ["first", "east", "south"]


def test_form_names_its_model_for_all_pictures(three: Served, cat: bytes) -> None:
    results = ask(three.url, "/v1/classify?model=west", form(cat, b"x", cat), FORM)[2]["results"]
    assert [result.get("model", {}).get("name") for result in results] == ["west", None, "west"]


def test_request_names_its_variant(three: Served, cat: bytes) -> None:
    for query, expected in (
        ("variant=bf16", ("first", "bf16")),
        ("variant=fp32", ("first", "fp32")),
        ("model=north&variant=bf16", ("north", "bf16")),
    ):
        spoke = ask(three.url, f"/v1/classify?{query}", cat)[2]["model"]
        assert (spoke["name"], spoke["variant"]) == expected
    answer = ask(three.url, "/v1/classify?variant=int8", cat)
    assert "It has fp32." in assert_problem(answer, 404, "model_not_found")


def test_exact_server_answers_exactly_with_each_model(shelf: Path, cat: bytes) -> None:
    with served(shelf, backend="dummy", model="first", variant="fp32") as server:
        for name in CLASSES:
            spoke = ask(server.url, f"/v1/classify?model={name}", cat)[2]["model"]
            assert spoke == {"name": name, "variant": "fp32", "backend": "dummy"}


def test_models_tell_what_is_loaded_and_how_large_it_is(three: Served, cat: bytes) -> None:
    ask(three.url, "/v1/classify?model=north&variant=bf16", cat)
    listed = ask(three.url, "/v1/models")[2]
    assert listed["default"] == "first"
    told = {model["name"]: (model["loaded"], model["variants"]) for model in listed["models"]}
    loaded = {"loaded": True, "backend": "dummy", "memory_mb": 1.0}
    idle = {"loaded": False, "backend": None, "memory_mb": None}
    assert told == {
        "first": (True, [{"name": "fp32"} | loaded]),
        "north": (True, [{"name": "fp32"} | idle, {"name": "bf16"} | loaded]),
    } | {name: (False, [{"name": "fp32"} | idle]) for name in ("east", "south", "west")}
    assert ask(three.url, "/v1/models/north")[2] in listed["models"]


def test_labels_of_a_model_do_not_load_it(three: Served) -> None:
    found = ask(three.url, "/v1/labels?model=east")[2]
    assert (found["model"], len(found["labels"])) == ("east", CLASSES["east"])
    assert found["labels"][3]["label"]["en"] == "east 3"
    assert ask(three.url, "/v1/labels")[2]["model"] == "first"
    assert_problem(ask(three.url, "/v1/labels?model=up"), 404, "model_not_found")
    assert three.loaded == ["first"]


@pytest.mark.parametrize("name", ["up", "", "..%2ffirst", "%00", "-x"])
def test_unknown_model_is_not_found_and_those_that_are_here_are_told(
    three: Served, cat: bytes, name: str
) -> None:
    answer = ask(three.url, f"/v1/classify?model={name}", cat)
    told = assert_problem(answer, 404, "model_not_found")
    assert "Here are: east, first, north, south, west." in told


def test_model_that_is_too_large_is_refused(shelf: Path, cat: bytes) -> None:
    with served(shelf, backend="dummy", model="first", max_models_mb=1.5) as server:
        answer = ask(server.url, "/v1/classify?model=north", cat)
        assert "max_models_mb" in assert_problem(answer, 507, "model_too_large")
        assert "Retry-After" not in answer[1]
        assert ask(server.url, "/v1/classify", cat)[0] == 200


def test_model_is_refused_while_others_in_use_fill_the_memory(three: Served, cat: bytes) -> None:
    with three.residents.using("north"), three.residents.using("east"):
        answer = ask(three.url, "/v1/classify?model=south", cat)
        assert "max_models_mb" in assert_problem(answer, 503, "models_busy")
        assert answer[1]["Retry-After"] == "1"
        assert ask(three.url, "/v1/classify?model=east", cat)[0] == 200
        assert ask(three.url, "/readyz")[0] == 200
    assert ask(three.url, "/v1/classify?model=south", cat)[0] == 200


def test_damaged_model_is_a_problem_of_its_own_requests(
    three: Served, shelf: Path, cat: bytes
) -> None:
    card = shelf / "models" / "north" / CARD
    sound = card.read_text()
    card.write_text("{}")
    for _ in range(2):
        assert_problem(ask(three.url, "/v1/classify?model=north", cat), 500, "bad_model")
        assert ask(three.url, "/v1/classify", cat)[0] == 200
    assert ask(three.url, "/readyz")[2]["model"]["name"] == "first"
    card.write_text(sound)
    assert ask(three.url, "/v1/classify?model=north", cat)[0] == 200


def test_protocol_calls_a_model_ready_that_will_be_loaded_when_asked(
    three: Served, shelf: Path, cat: bytes
) -> None:
    (shelf / "models" / "west" / CARD).write_text("{}")
    index = ask(three.url, "/v2/repository/index", b"")[2]
    states = {one["name"]: (one["state"], one["reason"]) for one in index}
    assert states["first"] == states["north"] == states["north_u8"] == ("READY", "")
    assert states["west_image"][0] == "UNAVAILABLE"
    assert "card is damaged" in states["west_image"][1]
    ready = [one["name"] for one in ask(three.url, "/v2/repository/index", b'{"ready": true}')[2]]
    assert ready == ask(three.url, "/v2/models")[2]["models"]
    assert ready == [name for name, (state, _) in states.items() if state == "READY"]
    assert ask(three.url, "/v2/models/north_image/ready")[0] == 200
    assert ask(three.url, "/v2/models/west_image/ready")[0] == 500
    assert three.loaded == ["first"]


def test_protocol_describes_a_model_without_loading_it(three: Served) -> None:
    about = ask(three.url, "/v2/models/north")[2]
    assert about["outputs"][0]["shape"] == [-1, CLASSES["north"]]
    config = ask(three.url, "/v2/models/north_u8/config")[2]
    assert config["output"][0]["dims"] == [CLASSES["north"]]
    assert ask(three.url, "/v2/models/north/stats")[2]["model_stats"][0]["inference_count"] == 0
    assert three.loaded == ["first"]


def test_protocol_loads_a_model_when_it_is_asked(three: Served, cat: bytes) -> None:
    for name in ("north", "east", "south"):
        status, headers, body = ask(three.url, f"/v2/models/{name}{IMAGE}/infer", cat, RAW)
        assert status == 200
        assert len(body) - int(headers["Inference-Header-Content-Length"]) == 4 * CLASSES[name]
    assert three.loaded == ["first", "east", "south"]


def test_protocol_says_that_a_model_is_too_large(shelf: Path, cat: bytes) -> None:
    with served(shelf, backend="dummy", model="first", max_models_mb=1.5) as server:
        states = {
            one["name"]: one["state"] for one in ask(server.url, "/v2/repository/index", b"")[2]
        }
        assert (states["first"], states["north"]) == ("READY", "UNAVAILABLE")
        for answer in (
            ask(server.url, "/v2/models/north/ready"),
            ask(server.url, f"/v2/models/north{IMAGE}/infer", cat, RAW),
        ):
            assert answer[0] == 507
            assert "max_models_mb" in answer[2]["error"]


def test_protocol_says_that_others_fill_the_memory(three: Served, cat: bytes) -> None:
    with three.residents.using("north"), three.residents.using("east"):
        status, headers, body = ask(three.url, f"/v2/models/south{IMAGE}/infer", cat, RAW)
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "in use" in body["error"]


def test_real_models_answer_side_by_side(home: Path, tmp_path: Path, cat: bytes) -> None:
    """The embedded network, and itself under another name with labels of its own."""
    embedded = Store(home).open()
    contents = {file: embedded.read(file) for file in embedded.card.files}
    twin = replace(
        embedded.card, name="twin", labels=None, names=tuple(f"t{n}" for n in range(1000))
    )
    (tmp_path / "models").mkdir()
    for card in (embedded.card, twin):
        write_model(Model(card, None, contents), tmp_path / "models")
    with served(tmp_path) as server:
        one = ask(server.url, "/v1/classify", cat)[2]
        other = ask(server.url, "/v1/classify?model=twin&variant=fp32", cat)[2]
        memory = [one.memory for one in server.residents.loaded]
    scores = [[(p["index"], p["score"]) for p in answer["predictions"]] for answer in (one, other)]
    assert scores[0] == scores[1]
    assert other["predictions"][0]["label"]["en"] == f"t{scores[0][0][0]}"
    assert all(len(contents["model.onnx"]) <= size for size in memory)


def test_classifier_alone_serves_the_other_models_too(shelf: Path, cat: bytes) -> None:
    settings = load_settings(port=0, home=shelf, backend="dummy")
    with Classifier("first", "dummy", home=shelf) as classifier:
        app = create_app(classifier, settings)
        with app.extensions["sightbox"].residents:
            answer = app.test_client().post("/v1/classify?model=north", data=cat)
    assert answer.get_json()["model"]["name"] == "north"
