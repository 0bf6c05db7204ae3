"""The Open Inference Protocol v2, asked by the stock Triton client and by hand."""

import base64
import gzip
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient import http as triton
from tritonclient.http import aio as triton_aio
from tritonclient.utils import InferenceServerException

import sightbox
from serving import Answer, ask, assert_problem, in_own_loop, say, serving
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend, expected_class
from sightbox.classifier import Classifier
from sightbox.errors import BackendError
from sightbox.prediction import softmax
from sightbox.web.dialects.messages import LENGTH_HEADER

MODEL = "efficientnet-lite0"
OUTPUTS = {MODEL: "logits", f"{MODEL}_u8": "probabilities", f"{MODEL}_image": "probabilities"}
TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone


@dataclass(frozen=True)
class Served:
    """The dummy backend behind a server."""

    url: str
    classifier: Classifier

    @property
    def address(self) -> str:
        """What Triton's clients want: host and port."""
        return self.url.removeprefix("http://")


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    """The dummy backend, served for all tests of this module."""
    with Classifier(backend=DummyBackend(), home=home) as made, serving(made, home=home) as url:
        yield Served(url, made)


@pytest.fixture(scope="module")
def pixels(served: Served, photos: Path) -> Pixels:
    """Two photos as a model reads them, uint8 [2, H, W, 3]."""
    names = ("chelsea.png", "coffee.png")
    return np.stack([served.classifier.prepare(photos / name).pixels for name in names])


def normalised(pixels: Pixels, classifier: Classifier) -> NDArray[np.float32]:
    """Returns what torchvision's ToTensor and Normalize make of pixels, float32 [N, 3, H, W]."""
    scaled = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
    mean, std = (
        np.array(values, np.float32)[:, None, None]
        for values in (classifier.card.mean, classifier.card.std)
    )
    return np.ascontiguousarray((scaled - mean) / std)


def infer_input(array: NDArray[Any], datatype: str, *, binary: bool = True) -> triton.InferInput:
    """Returns the tensor of a request."""
    tensor = triton.InferInput("images", list(array.shape), datatype)
    return tensor.set_data_from_numpy(array, binary_data=binary)


def post(url: str, name: str, message: object, binary: bytes = b"", **headers: str) -> Answer:
    """Asks for an inference by hand."""
    head = json.dumps(message).encode()
    if binary:
        headers[LENGTH_HEADER] = str(len(head))
    return ask(url, f"/v2/models/{name}/infer", head + binary, headers)


def files_message(*files: bytes, **more: object) -> dict[str, Any]:
    """Returns a request with files as base64."""
    data = [base64.b64encode(file).decode() for file in files]
    tensor = {"name": "images", "datatype": "BYTES", "shape": [len(files)], "data": data}
    return {"inputs": [tensor | {"parameters": {"content_type": "base64"}}], **more}


def assert_error(answer: Answer, status: int, told: str) -> None:
    """Checks that an answer is an error as the protocol spells it."""
    found, headers, body = answer
    assert (found, headers["Content-Type"]) == (status, "application/json"), body
    assert list(body) == ["error"]
    assert told in body["error"]
    assert headers["X-Content-Type-Options"] == "nosniff"


WANTED = {
    "default": None,
    "binary": {"binary_data": True},
    "json": {"binary_data": False},
    "classes": {"class_count": 2},
    "json classes": {"class_count": 2, "binary_data": False},
}


def check(result: triton.InferResult, wanted: str, pixels: Pixels, served: Served) -> None:
    """Checks that each picture got its own answer, in the form that was wanted."""
    array = result.as_numpy("probabilities")
    expected = expected_class(pixels, served.classifier.card.classes)
    assert result.get_response()["model_name"] == f"{MODEL}_u8"
    if "classes" in wanted:
        assert array.shape == (2, 2)
        texts = [text.decode() if isinstance(text, bytes) else text for text in array[:, 0]]
        for text, index in zip(texts, expected, strict=True):
            score, found, label = text.split(":")
            assert int(found) == index
            assert label == served.classifier.labels.names["en"][index]
            assert 0.9 < float(score) < 1
    else:
        assert (array.shape, array.dtype) == ((2, 1000), np.float32)
        assert list(array.argmax(axis=1)) == list(expected)
        answers = served.classifier.infer(pixels)
        logits = np.stack([answer.logits for answer in answers])
        assert (array == softmax(logits).astype(np.float32)).all()


def outputs_for(wanted: str) -> list[triton.InferRequestedOutput] | None:
    """Returns how the output is asked for."""
    how = WANTED[wanted]
    return None if how is None else [triton.InferRequestedOutput("probabilities", **how)]


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("binary", [True, False])
def test_stock_client_gets_each_form_of_answer_for_each_form_of_request(
    served: Served, pixels: Pixels, wanted: str, packed: str | None, binary: bool
) -> None:
    with triton.InferenceServerClient(served.address) as client:
        arguments: dict[str, Any] = {
            "inputs": [infer_input(pixels, "UINT8", binary=binary)],
            "outputs": outputs_for(wanted),
            "request_compression_algorithm": packed,
        }
        check(client.infer(f"{MODEL}_u8", **arguments), wanted, pixels, served)
        waiting = client.async_infer(f"{MODEL}_u8", **arguments)
        check(waiting.get_result(), wanted, pixels, served)


def test_stock_asyncio_client_gets_each_form_of_answer(served: Served, pixels: Pixels) -> None:
    async def ask_all() -> None:
        async with triton_aio.InferenceServerClient(served.address) as client:
            for wanted in WANTED:
                for packed in (None, "gzip", "deflate"):
                    result = await client.infer(
                        f"{MODEL}_u8",
                        [infer_input(pixels, "UINT8")],
                        outputs=outputs_for(wanted),
                        request_compression_algorithm=packed,
                    )
                    check(result, wanted, pixels, served)
            assert await client.is_model_ready(MODEL, "1")

    in_own_loop(ask_all())


@pytest.mark.parametrize("binary", [True, False])
def test_normalised_tensor_comes_back_to_its_pixels_exactly(
    served: Served, pixels: Pixels, binary: bool
) -> None:
    tensor = infer_input(normalised(pixels, served.classifier), "FP32", binary=binary)
    with triton.InferenceServerClient(served.address) as client:
        logits = client.infer(MODEL, [tensor]).as_numpy("logits")
    expected = np.stack([answer.logits for answer in served.classifier.infer(pixels)])
    assert (logits == expected).all()


def test_every_level_of_every_channel_survives_normalisation(served: Served) -> None:
    side = served.classifier.card.recipe.crop
    ramp = np.resize(np.arange(256, dtype=np.uint8), (1, side, side, 3))
    seen: list[Pixels] = []
    with (
        Classifier(backend=DummyBackend(lambda batch: seen.append(batch.copy()))) as classifier,
        serving(classifier) as url,
    ):
        raw = normalised(ramp, classifier).tobytes()
        assert ask(url, f"/v2/models/{MODEL}/infer", raw, {LENGTH_HEADER: "0"})[0] == 200
    assert set(ramp.ravel()) == set(range(256))
    assert (seen[-1] == ramp).all()


def test_value_between_two_levels_goes_to_the_nearest(served: Served) -> None:
    side = served.classifier.card.recipe.crop
    flat = np.full((1, side, side, 3), 100.4, np.float32)
    tensor = infer_input(normalised(flat, served.classifier), "FP32")  # type: ignore[arg-type]
    with triton.InferenceServerClient(served.address) as client:
        logits = client.infer(MODEL, [tensor]).as_numpy("logits")
    whole = np.full((1, side, side, 3), 100, np.uint8)
    assert logits.argmax() == expected_class(whole, 1000)


@pytest.mark.parametrize("level", [-1.0, 256.0, 1e30])
def test_value_beyond_black_or_white_is_refused(served: Served, level: float) -> None:
    side = served.classifier.card.recipe.crop
    flat = np.full((1, side, side, 3), level, np.float32)
    raw = normalised(flat, served.classifier).tobytes()  # type: ignore[arg-type]
    answer = ask(served.url, f"/v2/models/{MODEL}/infer", raw, {LENGTH_HEADER: "0"})
    assert_error(answer, 400, "no normalised picture")


@pytest.mark.parametrize("surface", ["_u8", "_image"])
@pytest.mark.parametrize("columns", [(), (1,)])
def test_files_are_decoded_as_the_native_api_does(
    served: Served, photos: Path, pixels: Pixels, surface: str, columns: tuple[int, ...]
) -> None:
    files = [(photos / name).read_bytes() for name in ("chelsea.png", "coffee.png")]
    array = np.array(files, np.object_).reshape(2, *columns)
    with triton.InferenceServerClient(served.address) as client:
        result = client.infer(f"{MODEL}{surface}", [infer_input(array, "BYTES")])
    expected = expected_class(pixels, 1000)
    assert list(result.as_numpy("probabilities").argmax(axis=1)) == list(expected)


def test_files_come_as_base64_in_json(served: Served, cat: bytes) -> None:
    message = files_message(cat, cat, id="Ä 1", parameters={"priority": 3})
    status, headers, body = post(served.url, f"{MODEL}_image", message)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert LENGTH_HEADER not in headers
    (output,) = body.pop("outputs")
    assert body == {"model_name": f"{MODEL}_image", "model_version": "1", "id": "Ä 1"}
    assert (output["shape"], len(output["data"])) == ([2, 1000], 2000)


def test_response_without_an_id_in_the_request_has_none(served: Served, cat: bytes) -> None:
    assert "id" not in post(served.url, f"{MODEL}_image", files_message(cat))[2]


@pytest.mark.parametrize("name", OUTPUTS)
def test_raw_request_is_a_tensor_and_nothing_else(
    served: Served, cat: bytes, pixels: Pixels, name: str
) -> None:
    bodies = {
        MODEL: normalised(pixels[:1], served.classifier).tobytes(),
        f"{MODEL}_u8": pixels[:1].tobytes(),
        f"{MODEL}_image": cat,
    }
    path = f"/v2/models/{name}/versions/1/infer"
    status, headers, body = ask(served.url, path, bodies[name], {LENGTH_HEADER: "0"})
    assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
    length = int(headers[LENGTH_HEADER])
    (output,) = json.loads(body[:length])["outputs"]
    assert output == {
        "name": OUTPUTS[name],
        "datatype": "FP32",
        "shape": [1, 1000],
        "parameters": {"binary_data_size": 4000},
    }
    assert len(body) == length + 4000
    values = np.frombuffer(body[length:], "<f4")
    assert values.argmax() == expected_class(pixels[:1], 1000)


def test_single_binary_input_may_leave_its_size_out(served: Served, pixels: Pixels) -> None:
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(pixels.shape)}
    status, _, body = post(served.url, f"{MODEL}_u8", {"inputs": [tensor]}, pixels.tobytes())
    assert status == 200
    data = np.array(body["outputs"][0]["data"]).reshape(2, -1)
    assert list(data.argmax(axis=1)) == list(expected_class(pixels, 1000))


def test_nested_and_flat_json_are_the_same(served: Served, pixels: Pixels) -> None:
    one = pixels[:1]
    bodies = [
        post(
            served.url,
            f"{MODEL}_u8",
            {
                "inputs": [
                    {"name": "images", "datatype": "UINT8", "shape": list(one.shape), "data": data}
                ]
            },
        )[2]
        for data in (one.tolist(), one.ravel().tolist())
    ]
    assert bodies[0] == bodies[1]
    assert np.argmax(bodies[0]["outputs"][0]["data"]) == expected_class(one, 1000)


@pytest.mark.parametrize(
    ("own", "all_outputs", "binary"),
    [(None, None, False), (None, True, True), (False, True, False), (True, False, True)],
)
def test_wish_of_an_output_wins_over_that_of_the_request(
    served: Served, cat: bytes, own: bool | None, all_outputs: bool | None, binary: bool
) -> None:
    output = {"name": "probabilities", "parameters": {} if own is None else {"binary_data": own}}
    message = files_message(
        cat,
        outputs=[output],
        parameters={} if all_outputs is None else {"binary_data_output": all_outputs},
    )
    assert (LENGTH_HEADER in post(served.url, f"{MODEL}_image", message)[1]) == binary


def test_classes_are_named_in_the_language_that_is_wanted(served: Served, cat: bytes) -> None:
    output = {"name": "probabilities", "parameters": {"classification": 5000}}
    for language in ("en", "zh"):
        message = files_message(cat, outputs=[output], parameters={"lang": language})
        (found,) = post(served.url, f"{MODEL}_image", message)[2]["outputs"]
        assert (found["datatype"], found["shape"]) == ("BYTES", [1, 1000])
        _, index, label = found["data"][0].split(":")
        assert label == served.classifier.labels.names[language][int(index)]
    message = files_message(cat, outputs=[output], parameters={"lang": "xx"})
    assert_error(post(served.url, f"{MODEL}_image", message), 400, "lang can be en, zh.")


def test_real_model_answers_as_the_native_api_does(
    classifier: Classifier, photos: Path, cat: bytes
) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", class_count=5)]
    tensor = infer_input(np.array([cat], np.object_), "BYTES")
    with serving(classifier) as url:
        native = ask(url, "/v1/classify", cat)[2]["predictions"]
        with triton.InferenceServerClient(url.removeprefix("http://")) as client:
            result = client.infer(f"{MODEL}_image", [tensor], outputs=wanted)
            one = normalised(classifier.prepare(cat).pixels[None], classifier)
            logits = client.infer(MODEL, [infer_input(one, "FP32")]).as_numpy("logits")
    rows = [text.decode().split(":") for text in result.as_numpy("probabilities")[0]]
    for (score, index, label), expected in zip(rows, native, strict=True):
        assert (int(index), label) == (expected["index"], expected["label"]["en"])
        assert float(score) == pytest.approx(expected["score"], abs=2e-6)
    exact = classifier.infer(classifier.prepare(cat).pixels[None])[0].logits
    assert (logits[0] == exact).all()


def test_pictures_of_one_request_form_batches(home: Path, pixels: Pixels) -> None:
    batches: list[int] = []
    with (
        Classifier(
            backend=DummyBackend(lambda batch: batches.append(len(batch))), home=home, max_batch=4
        ) as made,
        serving(made) as url,
    ):
        batches.clear()
        message = np.concatenate([pixels] * 4)
        with triton.InferenceServerClient(url.removeprefix("http://")) as client:
            client.infer(f"{MODEL}_u8", [infer_input(message, "UINT8")])
    assert batches == [4, 4]


def test_client_learns_what_it_needs(served: Served) -> None:
    side = served.classifier.card.recipe.crop
    with triton.InferenceServerClient(served.address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.get_server_metadata() == {
            "name": "sightbox",
            "version": sightbox.__version__,
            "extensions": [
                "binary_tensor_data",
                "classification",
                "model_configuration",
                "statistics",
            ],
        }
        shapes = {
            MODEL: ("FP32", [-1, 3, side, side]),
            f"{MODEL}_u8": ("UINT8", [-1, side, side, 3]),
            f"{MODEL}_image": ("BYTES", [-1]),
        }
        for name, (datatype, shape) in shapes.items():
            assert client.is_model_ready(name)
            about = client.get_model_metadata(name)
            assert about["inputs"] == [{"name": "images", "datatype": datatype, "shape": shape}]
            assert about["outputs"] == [
                {"name": OUTPUTS[name], "datatype": "FP32", "shape": [-1, 1000]}
            ]
            config = client.get_model_config(name, "1")
            assert (config["name"], config["max_batch_size"]) == (name, 256)
            assert config["input"][0]["dims"] == shape[1:]
            assert config["output"][0]["dims"] == [1000]
        index = client.get_model_repository_index()
        assert {"name": MODEL, "version": "1", "state": "READY", "reason": ""} in index
    assert ask(served.url, "/v2/models")[2] == {"models": list(OUTPUTS)}
    assert ask(served.url, "/v2/")[2] == ask(served.url, "/v2")[2]


def test_damaged_model_is_listed_and_does_not_answer(tmp_path: Path, dummy: Classifier) -> None:
    (tmp_path / "models" / "other").mkdir(parents=True)
    with serving(dummy, home=tmp_path) as url:
        everything = ask(url, "/v2/repository/index", b"")[2]
        only_ready = ask(url, "/v2/repository/index", b'{"ready": true}')[2]
        assert_error(ask(url, "/v2/models/other_u8"), 500, "no readable card")
    states = {model["name"]: model["state"] for model in everything}
    assert states == dict.fromkeys(OUTPUTS, "READY") | dict.fromkeys(
        ("other", "other_u8", "other_image"), "UNAVAILABLE"
    )
    assert [model["name"] for model in only_ready] == list(OUTPUTS)


def test_name_may_be_percent_encoded(served: Served) -> None:
    name = "".join(f"%{ord(letter):02x}" for letter in MODEL)
    assert ask(served.url, f"/v2/models/{name}")[2]["name"] == MODEL
    assert_error(ask(served.url, f"/v2/models/{quote('../x', safe='')}"), 404, "not found")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("models/nope", "no model 'nope'"),
        (f"models/{MODEL}_u9", "Here are: "),
        (f"models/{MODEL}/versions/2", "has no version '2'. There is 1."),
        (f"models/{MODEL}/versions/2/ready", "no version"),
        (f"models/{MODEL}_u8/versions/x/config", "no version"),
        ("nope", "not found"),
        (f"models/{MODEL}/generate", "not found"),
    ],
)
def test_unknown_place_is_an_error_of_the_protocol(served: Served, path: str, told: str) -> None:
    assert_error(ask(served.url, f"/v2/{path}"), 404, told)


def test_neighbouring_paths_keep_their_own_errors(served: Served) -> None:
    for path in ("/v2x", "/v1/v2/"):
        assert_problem(ask(served.url, path), 404, "not_found")


def test_statistics_are_cumulative_and_real(home: Path, pixels: Pixels, cat: bytes) -> None:
    with (
        Classifier(backend=DummyBackend(), home=home, max_batch=4) as made,
        serving(made) as url,
        triton.InferenceServerClient(url.removeprefix("http://")) as client,
    ):
        name = f"{MODEL}_u8"
        six = np.concatenate([pixels] * 3)
        client.infer(name, [infer_input(six, "UINT8")])
        client.infer(name, [infer_input(pixels, "UINT8")])
        with pytest.raises(InferenceServerException, match="takes UINT8"):
            client.infer(name, [infer_input(pixels.astype(np.float32), "FP32")])
        (one,) = client.get_inference_statistics(name)["model_stats"]
        everything = client.get_inference_statistics()["model_stats"]
    assert (one["name"], one["version"], one["inference_count"]) == (name, "1", 8)
    assert one["execution_count"] == 3
    assert one["last_inference"] > 1_700_000_000_000
    stats = one["inference_stats"]
    assert {stage: sums["count"] for stage, sums in stats.items()} == {
        "success": 2,
        "fail": 1,
        "queue": 2,
        "compute_input": 2,
        "compute_infer": 2,
        "compute_output": 2,
        "cache_hit": 0,
        "cache_miss": 0,
    }
    stages = ("queue", "compute_input", "compute_infer", "compute_output")
    assert all(stats[stage]["ns"] > 0 for stage in (*stages, "fail"))
    assert sum(stats[stage]["ns"] for stage in stages) <= stats["success"]["ns"]
    batches = {b["batch_size"]: b["compute_infer"]["count"] for b in one["batch_stats"]}
    assert batches == {2: 2, 4: 1}
    assert [model["inference_count"] for model in everything] == [0, 8, 0]


def test_statistics_of_many_threads_lose_nothing(home: Path, pixels: Pixels) -> None:
    with Classifier(backend=DummyBackend(), home=home) as made, serving(made) as url:

        def ask_often() -> None:
            for _ in range(10):
                path = f"/v2/models/{MODEL}_u8/infer"
                assert ask(url, path, pixels[:1].tobytes(), {LENGTH_HEADER: "0"})[0] == 200

        threads = [threading.Thread(target=ask_often) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (one,) = ask(url, f"/v2/models/{MODEL}_u8/stats")[2]["model_stats"]
    assert one["inference_count"] == one["inference_stats"]["success"]["count"] == 40
    sizes = {b["batch_size"]: b["compute_infer"]["count"] for b in one["batch_stats"]}
    assert sum(size * count for size, count in sizes.items()) == 40
    assert sum(sizes.values()) == one["execution_count"] <= 40


@contextmanager
def serving_broken(home: Path) -> Iterator[str]:
    """Serves an engine that fails on everything but its first proof."""
    first = iter([True])

    def fail(_batch: Pixels) -> None:
        if not next(first, False):
            raise BackendError("Out of order.")

    with Classifier(backend=DummyBackend(fail), home=home) as made, serving(made) as url:
        yield url


def test_engine_that_fails_is_told_and_makes_the_model_unready(home: Path, cat: bytes) -> None:
    with serving_broken(home) as url:
        answer = post(url, f"{MODEL}_image", files_message(cat))
        assert_error(answer, 500, "Out of order.")
        answer = ask(url, f"/v2/models/{MODEL}/ready")
        assert_error(answer, 503, "out of order")
        assert answer[1]["Retry-After"] == "1"
        answer = ask(url, "/v2/health/ready")
        assert_error(answer, 503, "does not answer")
        assert answer[1]["Retry-After"] == "1"
        assert ask(url, "/v2/health/live")[2] == {"live": True}


def test_full_queue_is_busy(home: Path, pixels: Pixels) -> None:
    with Classifier(backend=DummyBackend(), home=home, queue_size=1) as made, serving(made) as url:
        tensor = {"name": "images", "datatype": "UINT8", "shape": list(pixels.shape)}
        answer = post(url, f"{MODEL}_u8", {"inputs": [tensor]}, pixels.tobytes())
    assert_error(answer, 503, "wait already")
    assert answer[1]["Retry-After"] == "1"


def test_token_is_needed_for_all_but_the_probes(dummy: Classifier, cat: bytes) -> None:
    head = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    with serving(dummy, token=TOKEN) as url:
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert ask(url, path)[0] == 200
        for path in ("/v2", "/v2/models", f"/v2/models/{MODEL}/ready"):
            assert_error(ask(url, path), 401, "wants a token")
        early = say(url, head.encode(), b"Expect: 100-continue\r\n\r\n")
        assert_error(early, 401, "wants a token")
        assert early[1]["WWW-Authenticate"] == "Bearer"
        right = {"Authorization": f"Bearer {TOKEN}", LENGTH_HEADER: "0"}
        assert ask(url, f"/v2/models/{MODEL}_image/infer", cat, right)[0] == 200


def test_page_from_elsewhere_is_kept_out_in_the_protocols_words(served: Served) -> None:
    answer = ask(served.url, "/v2/models", headers={"Origin": "http://evil.example"})
    assert_error(answer, 403, "may not ask")


def test_compressed_body_may_be_larger_than_it_looks(dummy: Classifier, pixels: Pixels) -> None:
    """What counts is the body as it was before: 150,528 bytes fit, 301,056 do not."""
    headers = {LENGTH_HEADER: "0", "Content-Encoding": "gzip"}
    path = f"/v2/models/{MODEL}_u8/infer"
    with serving(dummy, max_inflated_mb=0.2) as url:
        fits = ask(url, path, gzip.compress(pixels[:1].tobytes()), headers)
        too_large = ask(url, path, gzip.compress(bytes(pixels.nbytes)), headers)
    assert fits[0] == 200
    assert_error(too_large, 413, "larger than 0.2 MB once it is inflated")


def test_bytes_of_an_answer_are_little_endian_with_lengths(served: Served, cat: bytes) -> None:
    output = {
        "name": "probabilities",
        "parameters": {"classification": 1, "binary_data": True},
    }
    message = files_message(cat, outputs=[output])
    _, headers, body = post(served.url, f"{MODEL}_image", message)
    element = body[int(headers[LENGTH_HEADER]) :]
    assert struct.unpack("<I", element[:4])[0] == len(element) - 4
    assert element[4:].decode().count(":") == 2
