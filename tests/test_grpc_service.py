"""The Open Inference Protocol over gRPC, asked by the stock Triton client and by hand."""

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from tritonclient import grpc as triton
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc as stubs
from tritonclient.grpc.aio import InferenceServerClient as AioClient
from tritonclient.utils import InferenceServerException

import sightbox
from commandline import SIGHTBOX
from serving import ask, in_own_loop, serving
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend, expected_class
from sightbox.classifier import Classifier
from sightbox.errors import BackendError, SettingsError
from sightbox.prediction import softmax
from sightbox.settings import load_settings
from sightbox.web import grpc_limits, grpc_service
from sightbox.web.app import create_app
from sightbox.web.grpc_service import SERVICE, serving_grpc
from sightbox.web.proto import load_service
from sightbox.web.second_port import grpc_beside

MODEL = "efficientnet-lite0"
TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone
PROTO = files("sightbox.web").joinpath("open_inference_grpc.proto").read_text("utf-8")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2 says first, and empty settings (RFC 9113, sections 3.4 and 6.5)."""

RIGHT = {"authorization": f"Bearer {TOKEN}"}
"""What a client sends with each call."""


@dataclass(frozen=True)
class Served:
    """The dummy backend behind gRPC."""

    address: str
    classifier: Classifier


@contextmanager
def serving_rpc(classifier: Classifier, **given: object) -> Iterator[str]:
    """Serves `classifier` over gRPC, and gives host and port."""
    settings = load_settings(**given)
    with serving_grpc(create_app(classifier, settings), settings) as address:
        yield address


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    """The dummy backend, served for all tests of this module."""
    with (
        Classifier(backend=DummyBackend(), home=home) as made,
        serving_rpc(made, home=home) as address,
    ):
        yield Served(address, made)


@pytest.fixture(scope="module")
def pixels(served: Served, photos: Path) -> Pixels:
    """Two photos as a model reads them, uint8 [2, H, W, 3]."""
    names = ("chelsea.png", "coffee.png")
    return np.stack([served.classifier.prepare(photos / name).pixels for name in names])


def infer_input(array: NDArray[Any], datatype: str) -> triton.InferInput:
    """Returns the tensor of a request."""
    return triton.InferInput("images", list(array.shape), datatype).set_data_from_numpy(array)


@contextmanager
def calling(address: str) -> Iterator[Any]:
    """Gives the protocol's methods by hand."""
    with grpc.insecure_channel(address) as channel:
        yield stubs.GRPCInferenceServiceStub(channel)


def request_of(pixels: Pixels, **more: Any) -> Any:  # noqa: ANN401 - protobuf has no types
    """Returns a right request by hand, but for what is given more."""
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(pixels.shape)}
    fields = {"model_name": f"{MODEL}_u8", "raw_input_contents": [pixels.tobytes()]}
    return messages.ModelInferRequest(**({"inputs": [tensor]} | fields | more))


def assert_refused(call: Any, code: grpc.StatusCode, told: str) -> None:  # noqa: ANN401 - a call
    """Checks that a call ends with a code and words."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    assert (error.code(), told in error.details()) == (code, True), error.details()


def test_our_descriptors_are_those_of_the_stock_client() -> None:
    """But for a field that the published file has since, and Triton has not."""

    def compare(ours: Any, theirs: Any) -> None:  # noqa: ANN401 - protobuf has no types
        assert ours.full_name == theirs.full_name
        assert ours.GetOptions().map_entry == theirs.GetOptions().map_entry
        for field in ours.fields:
            if field.name not in theirs.fields_by_name:
                assert field.full_name == "inference.ModelMetadataResponse.properties"
                continue
            twin = theirs.fields_by_name[field.name]
            for aspect in ("number", "type", "is_repeated", "has_presence"):
                assert getattr(field, aspect) == getattr(twin, aspect), field.full_name
            oneofs = [one.containing_oneof for one in (field, twin)]
            assert len({one and one.name for one in oneofs}) == 1
            if field.message_type is not None:
                compare(field.message_type, twin.message_type)

    methods = load_service(PROTO, SERVICE).methods
    theirs = messages.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert len(methods) == 6
    for method in methods:
        twin = theirs.methods_by_name[method.name]
        compare(method.input_type, twin.input_type)
        compare(method.output_type, twin.output_type)


@pytest.mark.parametrize(
    "text", ["import x;", "message A { enum B { } }", "message A { x y = z; }"]
)
def test_proto_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"import|enum|x y"):
        load_service(text, "A")


def test_stock_client_learns_what_it_needs(served: Served) -> None:
    side = served.classifier.card.recipe.crop
    with triton.InferenceServerClient(served.address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL, "1")
        assert not client.is_model_ready("nope")
        assert not client.is_model_ready(MODEL, "2")
        assert client.get_server_metadata(as_json=True) == {
            "name": "sightbox",
            "version": sightbox.__version__,
            "extensions": ["classification"],
        }
        about = client.get_model_metadata(f"{MODEL}_u8", as_json=True)
    assert (about["name"], about["versions"]) == (f"{MODEL}_u8", ["1"])
    (taken,), (given,) = about["inputs"], about["outputs"]
    assert (taken["name"], taken["datatype"]) == ("images", "UINT8")
    assert taken["shape"] == ["-1", str(side), str(side), "3"]
    assert (given["name"], given["datatype"]) == ("probabilities", "FP32")


def check(result: triton.InferResult, pixels: Pixels, served: Served) -> None:
    """Checks that each picture got its own answer."""
    expected = expected_class(pixels, served.classifier.card.classes)
    array = result.as_numpy("probabilities")
    assert (array.shape, array.dtype) == ((2, 1000), np.float32)
    assert list(array.argmax(axis=1)) == list(expected)
    logits = np.stack([answer.logits for answer in served.classifier.infer(pixels)])
    assert (array == softmax(logits).astype(np.float32)).all()
    response = result.get_response()
    assert (response.model_name, response.model_version) == (f"{MODEL}_u8", "1")


def test_stock_client_gets_each_picture_its_answer(served: Served, pixels: Pixels) -> None:
    inputs = [infer_input(pixels, "UINT8")]
    with triton.InferenceServerClient(served.address) as client:
        for wanted in (None, [triton.InferRequestedOutput("probabilities")]):
            result = client.infer(f"{MODEL}_u8", inputs, outputs=wanted, request_id="Ä 1")
            check(result, pixels, served)
            assert result.get_response().id == "Ä 1"
        found: list[Any] = []
        done = threading.Event()

        def take(result: object, error: object) -> None:
            found.extend((result, error))
            done.set()

        client.async_infer(f"{MODEL}_u8", inputs, callback=take)
        assert done.wait(60)
        assert found[1] is None
        check(found[0], pixels, served)


def test_stock_asyncio_client_gets_each_picture_its_answer(served: Served, pixels: Pixels) -> None:
    async def ask_all() -> None:
        async with AioClient(served.address) as client:
            assert await client.is_model_ready(MODEL)
            check(await client.infer(f"{MODEL}_u8", [infer_input(pixels, "UINT8")]), pixels, served)

    in_own_loop(ask_all())


def test_real_model_answers_as_over_http(classifier: Classifier, cat: bytes) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", class_count=5)]
    tensor = infer_input(np.array([cat], np.object_), "BYTES")
    with serving(classifier) as url:
        native = ask(url, "/v1/classify", cat)[2]["predictions"]
    answers = {}
    with (
        serving_rpc(classifier) as address,
        triton.InferenceServerClient(address) as client,
    ):
        for language in ("en", "zh"):
            result = client.infer(
                f"{MODEL}_image", [tensor], outputs=wanted, parameters={"lang": language}
            )
            answers[language] = result.as_numpy("probabilities")[0]
    for language, texts in answers.items():
        for text, expected in zip(texts, native, strict=True):
            score, index, label = text.decode().split(":")
            assert (int(index), label) == (expected["index"], expected["label"][language])
            assert float(score) == pytest.approx(expected["score"], abs=2e-6)


def test_typed_contents_are_the_same_as_bytes(served: Served, pixels: Pixels, cat: bytes) -> None:
    card = served.classifier.card
    mean, std = (np.array(values, np.float32) for values in (card.mean, card.std))
    one = pixels[:1]
    planes = ((one.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    contents = {
        f"{MODEL}_u8": ("UINT8", one.shape, {"uint_contents": one.ravel().tolist()}),
        f"{MODEL}_image": ("BYTES", [1], {"bytes_contents": [cat]}),
        MODEL: ("FP32", planes.shape, {"fp32_contents": planes.ravel().tolist()}),
    }
    with calling(served.address) as stub:
        for name, (datatype, shape, typed) in contents.items():
            tensor = {"name": "images", "datatype": datatype, "shape": shape, "contents": typed}
            asked = messages.ModelInferRequest(model_name=name, inputs=[tensor])
            (raw,) = stub.ModelInfer(asked).raw_output_contents
            assert np.frombuffer(raw, "<f4").argmax() == expected_class(one, 1000)[0], name


def test_calls_count_in_the_statistics_of_http(home: Path, pixels: Pixels) -> None:
    settings = load_settings(home=home)
    with Classifier(backend=DummyBackend(), home=home) as made:
        app = create_app(made, settings)
        with serving_grpc(app, settings) as address, calling(address) as stub:
            stub.ModelInfer(request_of(pixels))
            assert_refused(
                lambda: stub.ModelInfer(request_of(pixels, inputs=[])),
                grpc.StatusCode.INVALID_ARGUMENT,
                "",
            )
            path = f"/v2/models/{MODEL}_u8/stats"
            (one,) = app.test_client().get(path).get_json()["model_stats"]
    stats = one["inference_stats"]
    assert (one["inference_count"], stats["success"]["count"], stats["fail"]["count"]) == (2, 1, 1)


def tensor_of(pixels: Pixels, **changes: object) -> dict[str, Any]:
    """Returns the input of a request, but for the changes."""
    return {"inputs": [{"name": "images", "datatype": "UINT8", "shape": pixels.shape} | changes]}


def test_wrong_request_is_told_precisely(served: Served, pixels: Pixels) -> None:
    many = pixels.tobytes()
    typed = {"contents": {"uint_contents": [0]}}
    region = {"parameters": {"shared_memory_region": {"string_param": "r"}}}
    count = {"classification": {"int64_param": 0}}
    wrong: dict[str, dict[str, Any]] = {
        "no model 'nope'": {"model_name": "nope"},
        "has no version '2'": {"model_version": "2"},
        "There is one: images.": {"inputs": [], "raw_input_contents": []},
        "takes UINT8": tensor_of(pixels, datatype="FP32"),
        "whole numbers from 0 up": tensor_of(pixels, shape=[-1, 2]),
        "has 4 bytes; UINT8": {"raw_input_contents": [b"four"]},
        "not for each input": {"raw_input_contents": [many, many]},
        "and nothing else": tensor_of(pixels, **typed),
        "has 1 bytes; UINT8": tensor_of(pixels, **typed) | {"raw_input_contents": []},
        "beyond those of UINT8": tensor_of(pixels, contents={"uint_contents": [256]})
        | {"raw_input_contents": []},
        "no shared memory": tensor_of(pixels, **region),
        "There is one: probabilities.": {"outputs": [{"name": "logits"}]},
        "1 is the least": {"outputs": [{"name": "probabilities", "parameters": count}]},
        "lang can be en, zh.": {
            "parameters": {"lang": {"string_param": "xx"}},
            "outputs": [
                {"name": "probabilities", "parameters": {"classification": {"int64_param": 1}}}
            ],
        },
    }
    codes = {"no model 'nope'": "NOT_FOUND", "has no version '2'": "NOT_FOUND"} | {
        "no shared memory": "UNIMPLEMENTED"
    }
    with calling(served.address) as stub:
        for told, changes in wrong.items():
            code = grpc.StatusCode[codes.get(told, "INVALID_ARGUMENT")]
            asked = request_of(pixels, **changes)
            assert_refused(lambda asked=asked: stub.ModelInfer(asked), code, told)
        assert stub.ModelInfer(request_of(pixels)).model_name == f"{MODEL}_u8"


def test_bytes_that_are_no_message_are_refused(served: Served) -> None:
    with grpc.insecure_channel(served.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        assert_refused(lambda: call(b"\xff\xff"), grpc.StatusCode.INTERNAL, "")
        stream = channel.stream_unary(f"/{SERVICE}/ModelInfer")
        code = grpc.StatusCode.INVALID_ARGUMENT
        assert_refused(lambda: stream(iter([])), code, "has no request")


def test_extension_methods_are_not_implemented(served: Served) -> None:
    with (
        triton.InferenceServerClient(served.address) as client,
        pytest.raises(InferenceServerException, match="Method not found"),
    ):
        client.get_inference_statistics(MODEL)


def test_picture_that_cannot_be_read_fails_its_request(served: Served) -> None:
    tensor = infer_input(np.array([b"junk"], np.object_), "BYTES")
    with (
        triton.InferenceServerClient(served.address) as client,
        pytest.raises(InferenceServerException, match="Element 0: ") as caught,
    ):
        client.infer(f"{MODEL}_image", [tensor])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_message_limit_is_that_of_a_body(dummy: Classifier, pixels: Pixels) -> None:
    asked = request_of(pixels[:1])
    edge = asked.ByteSize() / 1_000_000
    for limit, fits in ((edge, True), (edge - 1e-6, False)):
        with serving_rpc(dummy, max_body_mb=limit) as address, calling(address) as stub:
            if fits:
                assert stub.ModelInfer(asked).model_name
            else:
                code = grpc.StatusCode.RESOURCE_EXHAUSTED
                assert_refused(lambda: stub.ModelInfer(asked), code, "larger than max")


def test_bomb_is_not_inflated(served: Served, pixels: Pixels) -> None:
    with calling(served.address) as stub:
        bomb = request_of(pixels, raw_input_contents=[bytes(20_000_000)])
        code = grpc.StatusCode.UNIMPLEMENTED
        assert_refused(
            lambda: stub.ModelInfer(bomb, compression=grpc.Compression.Gzip), code, "ompress"
        )


def test_number_of_pictures_has_a_sharp_limit(dummy: Classifier, pixels: Pixels) -> None:
    with serving_rpc(dummy, max_parts=2) as address, calling(address) as stub:
        assert stub.ModelInfer(request_of(pixels)).model_name
        three = np.concatenate([pixels, pixels[:1]])
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert_refused(lambda: stub.ModelInfer(request_of(three)), code, "more than 2 pictures")


def test_full_queue_is_unavailable(home: Path, pixels: Pixels) -> None:
    with (
        Classifier(backend=DummyBackend(), home=home, queue_size=1) as made,
        serving_rpc(made) as address,
        calling(address) as stub,
    ):
        code = grpc.StatusCode.UNAVAILABLE
        assert_refused(lambda: stub.ModelInfer(request_of(pixels)), code, "wait already")


def test_failing_engine_is_internal_and_not_ready(home: Path, pixels: Pixels) -> None:
    first = iter([True])

    def fail(_batch: Pixels) -> None:
        if not next(first, False):
            raise BackendError("Out of order.")

    with (
        Classifier(backend=DummyBackend(fail), home=home) as made,
        serving_rpc(made) as address,
        calling(address) as stub,
    ):
        code = grpc.StatusCode.INTERNAL
        assert_refused(lambda: stub.ModelInfer(request_of(pixels)), code, "Out of order.")
        assert not stub.ModelReady(messages.ModelReadyRequest(name=MODEL)).ready
        assert not stub.ServerReady(messages.ServerReadyRequest()).ready
        assert stub.ServerLive(messages.ServerLiveRequest()).live


def test_bug_is_told_without_its_trace(
    served: Served, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(grpc_service, "take_apart", fail)
    with calling(served.address) as stub, pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request_of(pixels))
    error: Any = caught.value
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "an error of its own" in error.details()
    assert "secret" not in error.details()


def test_token_is_needed_for_all_but_the_probes(dummy: Classifier, pixels: Pixels) -> None:
    with serving_rpc(dummy, token=TOKEN) as address:
        with triton.InferenceServerClient(address) as client:
            assert client.is_server_live()
            assert client.is_server_ready()
            for wrong in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
                with pytest.raises(InferenceServerException, match="wants a token") as caught:
                    client.infer(f"{MODEL}_u8", [infer_input(pixels, "UINT8")], headers=wrong)
                assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
            client.infer(f"{MODEL}_u8", [infer_input(pixels, "UINT8")], headers=RIGHT)
        with calling(address) as stub:
            for method, kind in (
                (stub.ModelReady, messages.ModelReadyRequest),
                (stub.ModelMetadata, messages.ModelMetadataRequest),
                (stub.ServerMetadata, messages.ServerMetadataRequest),
            ):
                code = grpc.StatusCode.UNAUTHENTICATED
                assert_refused(lambda m=method, k=kind: m(k()), code, "")


def test_missing_token_is_told_before_the_request_is_sent(dummy: Classifier) -> None:
    never = threading.Event()
    with serving_rpc(dummy, token=TOKEN) as address, grpc.insecure_channel(address) as channel:
        call = channel.stream_unary(f"/{SERVICE}/ModelInfer")
        code = grpc.StatusCode.UNAUTHENTICATED
        assert_refused(lambda: call(_nothing(never)), code, "wants a token")
        never.set()


def test_request_that_never_comes_is_given_up(
    dummy: Classifier, pixels: Pixels, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of the two calls there may be is stalled; then another one is answered."""
    never = threading.Event()
    with (
        serving_rpc(dummy, http_threads=1, idle_seconds=1) as address,
        stalling(address, never, calls=2) as stalled,
        calling(address) as stub,
    ):
        assert {one.code() for one in stalled} == {grpc.StatusCode.CANCELLED}
        never.set()
        assert stub.ModelInfer(request_of(pixels)).model_name
    assert not caplog.records


def test_calls_at_once_have_a_limit_and_probes_are_answered_beside_it(
    dummy: Classifier, pixels: Pixels
) -> None:
    """Two that are stalled are as many as one thread of HTTP allows; the edge is sharp."""
    never = threading.Event()
    with serving_rpc(dummy, http_threads=1) as address, calling(address) as stub:
        with stalling(address, never, calls=1) as stalled:
            assert stub.ModelInfer(request_of(pixels)).model_name
        with stalling(address, never, calls=2) as stalled:
            told = _first_refusal(stub, request_of(pixels))
            assert told.code() == grpc.StatusCode.UNAVAILABLE
            assert "2 calls are worked on already" in told.details()
            assert "http_threads" in told.details()
            assert stub.ServerLive(messages.ServerLiveRequest()).live
            assert stub.ServerReady(messages.ServerReadyRequest()).ready
            never.set()
            assert {one.code() for one in stalled} == {grpc.StatusCode.INVALID_ARGUMENT}
        assert stub.ModelInfer(request_of(pixels)).model_name


def test_calls_beyond_all_threads_are_refused_by_grpc_itself(
    dummy: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_service, "SPARE_THREADS", 0)
    never = threading.Event()
    with (
        serving_rpc(dummy, http_threads=1) as address,
        stalling(address, never, calls=2),
        calling(address) as stub,
    ):
        told = _first_refusal(stub, messages.ServerLiveRequest(), "ServerLive")
        never.set()
    assert told.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_requests_in_memory_have_a_limit(dummy: Classifier, pixels: Pixels) -> None:
    """While two are there, a third is refused at once, and told why."""
    never = threading.Event()
    given = {"max_body_mb": 1, "max_buffered_mb": 2}
    with serving_rpc(dummy, **given) as address, calling(address) as stub:
        with stalling(address, never, calls=1):
            assert stub.ModelInfer(request_of(pixels)).model_name
        with stalling(address, never, calls=2):
            told = _first_refusal(stub, request_of(pixels))
            assert told.code() == grpc.StatusCode.UNAVAILABLE
            assert "max_buffered_mb" in told.details()
            assert stub.ServerMetadata(messages.ServerMetadataRequest()).name == "sightbox"
            never.set()


@pytest.mark.parametrize("given", [{}, {"http_threads": 1}])
@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady"])
def test_stalled_calls_of_one_client_keep_no_other_from_its_answer(
    dummy: Classifier, pixels: Pixels, given: dict[str, Any], method: str
) -> None:
    """Neither by the memory that they may take nor by their number; the oldest one gives way."""
    never = threading.Event()
    with (
        serving_rpc(dummy, idle_seconds=3600, **given) as address,
        grpc.insecure_channel(address, OWN) as greedy,
        calling(address) as stub,
    ):
        call = greedy.stream_unary(f"/{SERVICE}/{method}")
        stalled = [call.future(_nothing(never)) for _ in range(40)]
        # Those beyond the limit are refused at once: the others have their places then.
        full = grpc.StatusCode.UNAVAILABLE
        places = 2 if given else 8
        refused: set[int] = set()
        while len(refused) < len(stalled) - places:
            refused = {at for at, one in enumerate(stalled) if one.done()}
        assert {stalled[at].code() for at in refused} <= {full, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert stub.ModelInfer(request_of(pixels), timeout=60).model_name
        others = [one for at, one in enumerate(stalled) if at not in refused]
        given_way = [one.code() for one in others if one.done()]
        assert given_way in ([], [grpc.StatusCode.CANCELLED])
        never.set()


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("ipv4:192.0.2.7:5000", "192.0.2.7"),
        ("ipv6:%5B2001:db8::7%5D:5000", "2001:db8::7"),
        ("ipv4:127.0.0.1:5000", "ipv4:127.0.0.1:5000"),
        ("ipv6:%5B::1%5D:5000", "ipv6:%5B::1%5D:5000"),
        ("unix:", "unix:"),
    ],
)
def test_client_is_an_address_or_a_connection_of_this_machine(peer: str, client: str) -> None:
    assert grpc_limits._client(peer) == client


def test_connection_is_told_how_many_streams_it_may_open(dummy: Classifier) -> None:
    """In the server's settings: SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113, section 6.5.2)."""
    with serving_rpc(dummy, http_threads=3) as address, connect_to(address) as connection:
        greeting = connection.recv(4096)
    length, kind = int.from_bytes(greeting[:3]), greeting[3]
    fields = struct.iter_unpack(">HI", greeting[9 : 9 + length])
    assert (kind, dict(fields)[3]) == (4, 3 * 2 * 4)


def test_burst_within_the_limit_is_answered(dummy: Classifier, pixels: Pixels) -> None:
    """A stricter limit of streams has gRPC refuse clients that keep to it."""
    with serving_rpc(dummy, http_threads=4) as address, calling(address) as stub:
        for _ in range(8):
            burst = [stub.ModelInfer.future(request_of(pixels[:1])) for _ in range(8)]
            assert [one.code() for one in burst] == [grpc.StatusCode.OK] * 8


def test_connections_have_a_sharp_limit(dummy: Classifier) -> None:
    """Nobody can be told why: gRPC closes what connects beyond it before a word was said."""
    with serving_rpc(dummy, max_connections=8) as address, ExitStack() as stack:
        for _ in range(8):
            assert greeted(stack.enter_context(connect_to(address)))
        late = stack.enter_context(connect_to(address))
        assert not greeted(late)


@pytest.mark.parametrize("greeting", [b"", PREFACE])
def test_connection_without_calls_is_closed(dummy: Classifier, greeting: bytes) -> None:
    """Whether it has said what gRPC begins with or nothing at all."""
    with serving_rpc(dummy, idle_seconds=1) as address, connect_to(address, greeting) as silent:
        begun = time.monotonic()
        heard = b"".join(iter(lambda: silent.recv(4096), b""))
        assert 0.5 < time.monotonic() - begun < 30
    assert heard, "the server greets, and says why it ends"


def test_connection_has_a_largest_age(dummy: Classifier) -> None:
    """A call that would never end ends with it."""
    never = threading.Event()
    with (
        serving_rpc(dummy, request_seconds=1, idle_seconds=3600) as address,
        stalling(address, never, calls=1) as stalled,
    ):
        assert stalled[0].code() == grpc.StatusCode.UNAVAILABLE
        never.set()


def test_head_has_a_sharp_limit(served: Served) -> None:
    """Names and values, and 32 bytes for each (RFC 9113, section 6.5.2)."""
    asked = messages.ServerLiveRequest()

    def fits(size: int) -> bool:
        try:
            return bool(stub.ServerLive(asked, metadata=[("x", "y" * size)]).live)
        except grpc.RpcError as error:
            refused: Any = error
            assert refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "16000" in refused.details()
            return False

    with calling(served.address) as stub:
        least, most = 1, 17_000
        while most - least > 1:
            size = (least + most) // 2
            least, most = (size, most) if fits(size) else (least, size)
        assert 15_000 < least < 16_000
        assert [fits(least), fits(most)] * 3 == [True, False] * 3


@pytest.mark.parametrize("leave", ["cancel", "deadline"])
def test_picture_of_a_client_that_has_left_is_not_computed(
    home: Path, pixels: Pixels, leave: str
) -> None:
    """The engine is busy; a second client asks and leaves; a third one is answered."""
    computed: list[int] = []
    entered, released = threading.Event(), threading.Event()
    released.set()

    def hold(batch: Pixels) -> None:
        computed.append(len(batch))
        entered.set()
        assert released.wait(60)

    one = pixels[:1]
    with (
        Classifier(backend=DummyBackend(hold), home=home) as made,
        serving_rpc(made) as address,
        calling(address) as stub,
    ):
        try:
            entered.clear()
            released.clear()
            stays = stub.ModelInfer.future(request_of(one))
            assert entered.wait(60)
            limit = 0.5 if leave == "deadline" else None
            leaves = stub.ModelInfer.future(request_of(pixels), timeout=limit)
            while made.load.waiting < 2:
                pass
            if leave == "cancel":
                leaves.cancel()
            code = "CANCELLED" if leave == "cancel" else "DEADLINE_EXCEEDED"
            assert leaves.code() == grpc.StatusCode[code]
            # The server has heard of it when it has answered what came after.
            assert stub.ServerLive(messages.ServerLiveRequest()).live
        finally:
            released.set()
        assert stays.result().model_name
        assert stub.ModelInfer(request_of(one)).model_name
    assert computed == [1, 1, 1], "the proof, the first client's and the third one's"


OWN = [("grpc.use_local_subchannel_pool", 1)]
"""Makes a channel a connection: those of one address share one otherwise."""


@contextmanager
def stalling(address: str, until: threading.Event, calls: int) -> Iterator[list[Any]]:
    """Gives calls whose requests do not come, each over a connection of its own."""
    until.clear()
    with ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(address, OWN)) for _ in range(calls)]
        stalled = [
            channel.stream_unary(f"/{SERVICE}/ModelInfer").future(_nothing(until))
            for channel in channels
        ]
        for channel in channels:
            grpc.channel_ready_future(channel).result(60)
        try:
            yield stalled
        finally:
            until.set()
            assert all(call.code() is not grpc.StatusCode.OK for call in stalled)


def _nothing(until: threading.Event) -> Iterator[bytes]:
    """Yields no request, but ends only when it is told to."""
    until.wait()
    yield from ()


def connect_to(address: str, greeting: bytes = PREFACE) -> socket.socket:
    """Returns a bare connection over which a client has begun as gRPC does, or otherwise."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    connection.sendall(greeting)
    return connection


def greeted(connection: socket.socket) -> bool:
    """Tells whether the server has said a word, and not closed the connection."""
    try:
        return connection.recv(1) != b""
    except ConnectionResetError:
        return False


def _outcome(stub: Any, asked: Any, method: str = "ModelInfer") -> Any:  # noqa: ANN401 - gRPC has no types
    """Calls, and returns the error of the call; None when it was answered."""
    try:
        getattr(stub, method)(asked)
    except grpc.RpcError as error:
        return error
    return None


def _first_refusal(stub: Any, asked: Any, method: str = "ModelInfer") -> Any:  # noqa: ANN401 - gRPC has no types
    while (refusal := _outcome(stub, asked, method)) is None:
        pass
    return refusal


def test_stopping_finishes_what_was_accepted_and_takes_no_more(home: Path, pixels: Pixels) -> None:
    entered, released, proven = threading.Event(), threading.Event(), threading.Event()

    def wait(_batch: Pixels) -> None:
        if proven.is_set():
            entered.set()
            assert released.wait(60)

    settings = load_settings(grace=60)
    with Classifier(backend=DummyBackend(wait), home=home) as made:
        app = create_app(made, settings)
        proven.set()
        with serving_grpc(app, settings) as address, calling(address) as stub:
            waiting = stub.ModelInfer.future(request_of(pixels[:1]))
            try:
                assert entered.wait(60)
                app.extensions["sightbox"].draining.set()
                asked = messages.ServerLiveRequest()
                refusal = _first_refusal(stub, asked, "ServerLive").code()
            finally:
                released.set()
            assert waiting.result(60).model_name
    # gRPC itself cancels a call that arrives at the very moment.
    assert refusal in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_descriptors_and_threads_are_flat_over_50_servers(dummy: Classifier) -> None:
    """Those of gRPC itself come and go: the least of the first ten and of the last are compared."""
    process, levels = psutil.Process(), []
    for _ in range(50):
        with serving_rpc(dummy) as address, calling(address) as stub:
            assert stub.ServerLive(messages.ServerLiveRequest()).live
        levels.append((process.num_fds(), process.num_threads()))
    for kind in range(2):
        first, last = (min(some[kind] for some in levels[at : at + 10]) for at in (0, 40))
        assert last <= first


def test_port_of_another_server_is_a_wrong_setting(served: Served, dummy: Classifier) -> None:
    port = int(served.address.rpartition(":")[2])
    told = f"Cannot listen on 127.0.0.1:{port} for gRPC"
    with pytest.raises(SettingsError, match=told), serving_rpc(dummy, grpc_port=port):
        pass


def test_command_serves_both_until_it_is_stopped(photos: Path, cat: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["serve", "--port", "0", "--grpc-port", str(port), "--backend", "dummy"]
    with subprocess.Popen([*SIGHTBOX, *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while f"gRPC on 127.0.0.1:{port}" not in (line := process.stdout.readline()):
            assert line
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            tensor = infer_input(np.array([cat], np.object_), "BYTES")
            result = client.infer(f"{MODEL}_image", [tensor])
            assert result.as_numpy("probabilities").shape == (1, 1000)
        process.terminate()
        assert process.wait(60) == 0


def test_missing_extra_is_told_with_what_to_install(
    dummy: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "sightbox.web.grpc_service")
    monkeypatch.setitem(sys.modules, "grpc", None)
    settings = load_settings(grpc_port=8001)
    with pytest.raises(SettingsError, match=r"pip install 'sightbox\[grpc\]'"):
        grpc_beside(create_app(dummy, settings), settings)


@pytest.mark.parametrize("port", [None, 0])
def test_without_a_port_there_is_no_grpc(dummy: Classifier, port: int | None) -> None:
    settings = load_settings(grpc_port=port)
    with grpc_beside(create_app(dummy, settings), settings) as address:
        assert address is None
