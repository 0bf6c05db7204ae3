"""The Open Inference Protocol v2: what is malformed, lies or is too large is refused precisely."""

import gzip
import json
import struct
import tracemalloc
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import Answer, ask, say, serving
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.errors import SightboxError
from sightbox.image import ImageLimits
from sightbox.web.dialects.bodies import WINDOWS, InflatedTooLargeError, inflate
from sightbox.web.dialects.fields import JsonLimits, TooDeepError, read_json
from sightbox.web.dialects.messages import LENGTH_HEADER, read_request

MODEL = "efficientnet-lite0"
SIDE = 4
COUNT = SIDE * SIDE * 3
SHAPE = [1, SIDE, SIDE, 3]
PACKED = gzip.compress(b"{}", mtime=0)  # with a time, a test would have another name each second


@pytest.fixture(scope="module")
def url(small_home: Path) -> Iterator[str]:
    """The dummy backend under a card with a tiny input, served for all tests of this module."""
    with Classifier(backend=DummyBackend(), home=small_home) as made:
        with serving(made, home=small_home) as served:
            yield served
        assert made.ready


@pytest.fixture(scope="module")
def deep_url(small_home: Path) -> Iterator[str]:
    """The same, with the largest limit there is on the depth of JSON."""
    with (
        Classifier(backend=DummyBackend(), home=small_home) as made,
        serving(made, home=small_home, max_json_depth=500) as served,
    ):
        yield served


@pytest.fixture(scope="module")
def small_home(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose model reads 4 x 4 pixels; the dummy backend does not look at its graph."""
    folder = tmp_path_factory.mktemp("small")
    card = json.loads((home / "models" / MODEL / "model.json").read_text("utf-8"))
    card["recipe"] |= {"crop": SIDE, "resize": SIDE}
    (folder / "models" / MODEL).mkdir(parents=True)
    (folder / "models" / MODEL / "model.json").write_text(json.dumps(card), "utf-8")
    return folder


def send(
    url: str,
    message: object,
    binary: bytes = b"",
    name: str = f"{MODEL}_u8",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Asks for an inference; the message is JSON already when it is bytes."""
    head = message if isinstance(message, bytes) else json.dumps(message).encode()
    length = {LENGTH_HEADER: str(len(head))} if binary else {}
    return ask(url, f"/v2/models/{name}/infer", head + binary, length | dict(headers or {}))


def tensor(**changes: object) -> dict[str, Any]:
    """Returns a request whose input is right but for the changes; None takes a field away."""
    fields = {"name": "images", "datatype": "UINT8", "shape": SHAPE, "data": [0] * COUNT} | changes
    return {"inputs": [{name: value for name, value in fields.items() if value is not None}]}


def assert_error(answer: Answer, status: int, told: str) -> None:
    """Checks that an answer is an error as the protocol spells it."""
    found, headers, body = answer
    assert (found, headers["Content-Type"]) == (status, "application/json"), body
    assert list(body) == ["error"]
    assert told in body["error"], body
    assert len(body["error"]) < 500


def test_what_the_others_are_made_from_is_right(url: str) -> None:
    assert send(url, tensor())[0] == 200
    binary = tensor(data=None, parameters={"binary_data_size": COUNT})
    assert send(url, binary, bytes(COUNT))[0] == 200


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff{}", "UTF-8"),
        (b"[]", "no JSON object"),
        (b"{}", "inputs is missing"),
        ({"inputs": {}}, "inputs is missing, or no list"),
        ({"inputs": []}, "There is one: images."),
        ({"inputs": [1]}, "Input 0 is no JSON object"),
        ({"inputs": tensor()["inputs"] * 2}, "There is one: images."),
        (tensor(name="other"), "There is one: images."),
        (tensor(name="x" * 100_000), "There is one: images."),
        (tensor(name=None), "no name"),
        (tensor(name="\ud800"), "no name"),
        (tensor() | {"id": 3}, "id is no text"),
        (tensor() | {"id": "\ud800"}, "id is no text"),
        (tensor() | {"parameters": []}, "parameters is no JSON object"),
        (tensor(parameters=3), "parameters is no JSON object"),
        (tensor() | {"parameters": {"binary_data_output": 1}}, "neither true nor false"),
        (tensor() | {"outputs": {}}, "outputs is missing, or no list"),
        (tensor() | {"outputs": [{}]}, "Output 0 has no name"),
        (tensor() | {"outputs": [{"name": "logits"}]}, "There is one: probabilities."),
        (tensor() | {"outputs": [{"name": "probabilities"}] * 2}, "There is one"),
        (tensor(datatype=None), "no datatype"),
        (tensor(datatype="FP32"), "takes UINT8 [-1, 4, 4, 3] or BYTES [-1]"),
        (tensor(datatype="FP16"), "takes UINT8"),
        (tensor(datatype="x" * 100_000), "takes UINT8"),
        (tensor(shape=None), "shape is missing"),
        (tensor(shape=[]), "takes UINT8"),
        (tensor(shape=[1, COUNT]), "takes UINT8"),
        (tensor(shape=[1, 3, SIDE, SIDE]), "takes UINT8"),
        (tensor(shape=[-1, SIDE, SIDE, 3]), "whole numbers from 0 up"),
        (tensor(shape=[True, SIDE, SIDE, 3]), "whole numbers from 0 up"),
        (tensor(shape=[1.0, SIDE, SIDE, 3]), "whole numbers from 0 up"),
        (tensor(shape=["1", SIDE, SIDE, 3]), "whole numbers from 0 up"),
        (tensor(shape=[0, SIDE, SIDE, 3], data=[]), "has no picture"),
        (tensor(shape=[2, SIDE, SIDE, 3]), "another shape"),
        (tensor(shape=[1] * 10_000), "takes UINT8"),
        (tensor(data="0"), "data is missing, or no list"),
        (tensor(data=[]), "another shape"),
        (tensor(data=[0] * (COUNT + 1)), "another shape"),
        (tensor(data=[[0] * COUNT]), "another shape"),
        (tensor(data=[[[[0, 0, 0]] * SIDE] * SIDE, 0]), "another shape"),
        (tensor(data=[[[[0, 0]] * SIDE] * SIDE]), "another shape"),
        (tensor(data=[[[[0, 0, [0]]] * SIDE] * SIDE]), "are no UINT8"),
        (tensor(data=[0] * (COUNT - 1) + [256]), "beyond those of UINT8"),
        (tensor(data=[0] * (COUNT - 1) + [-1]), "beyond those of UINT8"),
        (tensor(data=[0] * (COUNT - 1) + [10**400]), "beyond those of UINT8"),
        (tensor(data=[0] * (COUNT - 1) + [True]), "are no UINT8"),
        (tensor(data=[0] * (COUNT - 1) + [0.5]), "are no UINT8"),
        (tensor(data=[0] * (COUNT - 1) + ["0"]), "are no UINT8"),
        (tensor(data=[0] * (COUNT - 1) + [None]), "are no UINT8"),
        (tensor(data=[0] * (COUNT - 1) + [{}]), "are no UINT8"),
        (tensor(data=None), "has 0 bytes; UINT8"),
    ],
)
def test_malformed_request_is_refused(url: str, message: object, told: str) -> None:
    assert_error(send(url, message), 400, told)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"NaN", "a number that nobody can read"),
        (b"Infinity", "a number that nobody can read"),
        (b"-Infinity", "a number that nobody can read"),
        (b"9" * 5000, "a number that nobody can read"),
        (b"9" * 4000, "beyond those of FP32"),
        (b"1e999", "no finite numbers"),
        (b"-1e39", "no finite numbers"),
        (b"true", "are no FP32"),
        (b'"1"', "are no FP32"),
        (b"null", "are no FP32"),
        (b"1e9", "no normalised picture"),
    ],
)
def test_number_that_is_none_is_refused(url: str, value: bytes, told: str) -> None:
    message = tensor(datatype="FP32", shape=[1, 3, SIDE, SIDE], data=[0] * (COUNT - 1) + ["HERE"])
    body = json.dumps(message).encode().replace(b'"HERE"', value)
    assert_error(send(url, body, name=MODEL), 400, told)


@pytest.mark.parametrize("name", [MODEL, f"{MODEL}_u8", f"{MODEL}_image"])
@pytest.mark.parametrize("depth", [900, 1_100, 100_000])
def test_endless_nesting_is_refused(url: str, depth: int, name: str) -> None:
    nested = b"[" * depth + b"]" * depth
    body = json.dumps(tensor(data="HERE")).encode().replace(b'"HERE"', nested)
    assert send(url, body, name=name)[0] == 400
    assert_error(ask(url, "/v2/repository/index", nested), 400, "max_json_depth")


@pytest.mark.parametrize("most", [8, 32, 500])
def test_json_has_a_sharp_limit_on_its_depth(most: int) -> None:
    limits = JsonLimits(max_depth=most)
    harmless = b'"[[[\\"[[[\\\\","' + b"[" * 600 + b'"'
    for depth, fits in ((most - 1, True), (most, False)):
        nested = b"[" * depth + harmless + b"]" * depth
        text = b'{"a":' + nested + b',"b":[]}'
        if fits:
            assert read_json(text, limits)["b"] == []
        else:
            with pytest.raises(TooDeepError, match=f"deeper than {most} .*max_json_depth"):
                read_json(text, limits)


def test_many_flat_lists_are_not_deep() -> None:
    assert len(read_json(b'{"a":[' + b"[0,0,0]," * 9_999 + b"[]]}")["a"]) == 10_000


def test_depth_setting_reaches_the_protocol(small_home: Path) -> None:
    body = json.dumps(tensor(data=[[[[0]]]])).encode()
    nested = body.replace(b"[[[[0]]]]", b"[" * 6 + b"0" + b"]" * 6)
    with (
        Classifier(backend=DummyBackend(), home=small_home) as made,
        serving(made, max_json_depth=8) as url,
    ):
        assert_error(send(url, body), 400, "another shape")
        assert_error(send(url, nested), 400, "deeper than 8 lists")


def test_json_has_a_sharp_limit_on_its_values(url: str) -> None:
    """Two brackets, and for each list a bracket and a comma but for the last."""
    for lists, status, told in (
        (999_999, 400, "Input 0 is no JSON object"),
        (1_000_000, 413, "more than 2,000,000 values"),
        (1_000_000, 413, "max_json_values"),
    ):
        body = b'{"inputs":[' + b"[]," * (lists - 1) + b"[]]}"
        assert sum(map(body.count, (b",", b"[", b"{"))) == 2 * lists + 1
        assert_error(send(url, body), status, told)


@pytest.mark.parametrize("depth", [20, 490, 50_000])
def test_deep_value_that_is_shown_is_refused(deep_url: str, depth: int) -> None:
    """What can be read must not be too deep to be written into a message."""
    deep = b"[" * depth + b"]" * depth
    output = {"name": "probabilities", "parameters": {"classification": "HERE"}}
    places = (
        tensor(data=None, parameters={"binary_data_size": "HERE"}),
        tensor() | {"outputs": [output]},
        tensor() | {"parameters": {"binary_data_output": "HERE"}},
        tensor()
        | {
            "outputs": [{"name": "probabilities", "parameters": {"classification": 1}}],
            "parameters": {"lang": "HERE"},
        },
    )
    for message in places:
        body = json.dumps(message).encode().replace(b'"HERE"', deep)
        assert send(deep_url, body)[0] == 400


@pytest.mark.parametrize("length", ["", "-1", "+5", "0x10", "1.0", "٣", "9" * 5000, "1_0"])
def test_header_that_is_no_length_is_refused(url: str, length: str) -> None:
    head = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
    answer = say(url, f"{head}{LENGTH_HEADER}: {length}\r\n\r\n{{}}".encode())
    assert_error(answer, 400, "which is no length")


def test_header_that_is_larger_than_the_body_is_refused(url: str) -> None:
    answer = send(url, tensor(), headers={LENGTH_HEADER: "100000"})
    assert_error(answer, 400, "says 100000, but the body has")


def test_header_that_cuts_the_json_is_refused(url: str) -> None:
    assert_error(send(url, tensor(), headers={LENGTH_HEADER: "50"}), 400, "no JSON")


@pytest.mark.parametrize(
    ("size", "sent", "told"),
    [
        (COUNT, COUNT - 1, f"Behind the JSON are {COUNT - 1} bytes"),
        (COUNT, COUNT + 1, f"are {COUNT + 1} bytes, but the inputs take {COUNT}"),
        (COUNT - 1, COUNT - 1, f"has {COUNT - 1} bytes; UINT8 [1, 4, 4, 3] has {COUNT}"),
        (None, COUNT + 1, f"has {COUNT + 1} bytes; UINT8"),
        (-1, COUNT, "binary_data_size that is -1"),
        (2**64, COUNT, "binary_data_size that is 18446744073709551616"),
        (True, 1, "binary_data_size that is True"),
        (float(COUNT), COUNT, "binary_data_size that is 48.0"),
        ("48", COUNT, "binary_data_size that is '48'"),
    ],
)
def test_sizes_that_do_not_add_up_are_refused(url: str, size: object, sent: int, told: str) -> None:
    message = tensor(data=None, parameters={} if size is None else {"binary_data_size": size})
    assert_error(send(url, message, bytes(sent)), 400, told)


def test_input_with_data_and_bytes_is_refused(url: str) -> None:
    message = tensor(parameters={"binary_data_size": 1})
    assert_error(send(url, message, b"x"), 400, "both data and binary_data_size")


def test_bytes_that_no_input_takes_are_refused(url: str) -> None:
    assert_error(send(url, tensor(), b"x"), 400, "are 1 bytes, but the inputs take 0")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_bytes_that_are_no_finite_numbers_are_refused(url: str, value: float) -> None:
    raw = bytes(4 * (COUNT - 1)) + struct.pack("<f", value)
    assert_error(send(url, raw, name=MODEL, headers={LENGTH_HEADER: "0"}), 400, "no finite numbers")


@pytest.mark.parametrize("sent", [0, 1, COUNT - 1, COUNT + 1])
def test_raw_request_of_another_size_is_refused(url: str, sent: int) -> None:
    answer = send(url, bytes(sent), headers={LENGTH_HEADER: "0"})
    assert_error(answer, 400, f"has {sent} bytes; UINT8 [1, 4, 4, 3] has {COUNT}")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "0 elements in its bytes; its shape says 1"),
        (b"\0\0\0", "0 elements in its bytes"),
        (b"\1\0\0\0", "says it has 1 bytes; 0 are left"),
        (b"\xff\xff\xff\xffx", "says it has 4294967295 bytes; 1 are left"),
        (b"\1\0\0\0xy", "1 bytes behind its last element"),
        (b"\0\0\0\0", "Element 0: "),
    ],
)
def test_elements_with_lying_lengths_are_refused(url: str, data: bytes, told: str) -> None:
    message = tensor(
        datatype="BYTES", shape=[1], data=None, parameters={"binary_data_size": len(data)}
    )
    length = str(len(json.dumps(message)))
    assert_error(send(url, message, data, headers={LENGTH_HEADER: length}), 400, told)


@pytest.mark.parametrize(
    ("changes", "status", "told"),
    [
        ({"data": ["x"]}, 400, "unknown encoding"),
        ({"data": ["x"], "parameters": {"content_type": "str"}}, 400, "content_type"),
        ({"data": ["*"], "parameters": {"content_type": "base64"}}, 400, "no base64"),
        ({"data": ["\ud800"], "parameters": {"content_type": "base64"}}, 400, "no base64"),
        ({"data": [1], "parameters": {"content_type": "base64"}}, 400, "are no BYTES"),
        ({"data": ["AAAA"], "parameters": {"content_type": "base64"}}, 415, "Element 0: "),
        ({"data": [], "shape": [0]}, 400, "has no picture"),
    ],
)
def test_text_that_is_no_picture_is_refused(
    url: str, changes: dict[str, Any], status: int, told: str
) -> None:
    message = tensor(**({"datatype": "BYTES", "shape": [1]} | changes))
    assert_error(send(url, message, name=f"{MODEL}_image"), status, told)


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "3", [1]])
def test_number_of_classes_is_a_count(url: str, count: object) -> None:
    output = {"name": "probabilities", "parameters": {"classification": count}}
    assert_error(send(url, tensor() | {"outputs": [output]}), 400, "1 is the least")


def test_batch_limit_has_a_sharp_edge(small_home: Path) -> None:
    with (
        Classifier(backend=DummyBackend(), home=small_home) as made,
        serving(made, max_parts=3) as url,
    ):
        assert send(url, tensor(shape=[3, *SHAPE[1:]], data=[0] * 3 * COUNT))[0] == 200
        answer = send(url, tensor(shape=[4, *SHAPE[1:]], data=[0] * 4 * COUNT))
        assert_error(answer, 413, "more than 3 pictures")
        answer = send(url, tensor(shape=[10**30, *SHAPE[1:]]))
        assert_error(answer, 413, "more than 3 pictures")


def test_picture_with_too_many_pixels_is_told_as_such(small_home: Path, photos: Path) -> None:
    limits = ImageLimits(max_pixels=1000)
    with (
        Classifier(backend=DummyBackend(), home=small_home, limits=limits) as made,
        serving(made) as url,
    ):
        photo = (photos / "chelsea.png").read_bytes()
        answer = send(url, photo, name=f"{MODEL}_image", headers={LENGTH_HEADER: "0"})
    assert_error(answer, 422, "Element 0: ")


def test_shared_memory_and_control_are_not_implemented(url: str) -> None:
    region = {"shared_memory_region": "r", "shared_memory_byte_size": 4}
    assert_error(send(url, tensor(parameters=region)), 501, "no shared memory")
    output = {"name": "probabilities", "parameters": region}
    assert_error(send(url, tensor() | {"outputs": [output]}), 501, "no shared memory")
    for path in (
        f"repository/models/{MODEL}/load",
        f"repository/models/{MODEL}/unload",
        "systemsharedmemory/region/x/register",
        "cudasharedmemory/status",
        "trace/setting",
        f"models/{MODEL}/trace/setting",
        "logging",
    ):
        assert_error(ask(url, f"/v2/{path}", b""), 501, "not supported here")


def test_index_takes_ready_as_true_or_false_alone(url: str) -> None:
    assert_error(ask(url, "/v2/repository/index", b'{"ready": "yes"}'), 400, "neither true nor")


@pytest.mark.parametrize(
    ("coding", "body", "status", "told"),
    [
        ("br", b"x", 415, "Known are gzip, deflate."),
        ("gzip, gzip", b"x", 415, "not known"),
        ("gzip", b"", 400, "cut short"),
        ("gzip", b"junk", 400, "damaged"),
        ("gzip", PACKED[:-1], 400, "cut short"),
        ("gzip", PACKED + b"x", 400, "followed by something else"),
        ("gzip", zlib.compress(b"{}"), 400, "damaged"),
        ("deflate", PACKED, 400, "damaged"),
        ("deflate", zlib.compress(b"{}")[:-1] + b"x", 400, "damaged"),
    ],
)
def test_damaged_compression_is_refused(
    url: str, coding: str, body: bytes, status: int, told: str
) -> None:
    assert_error(send(url, body, headers={"Content-Encoding": coding}), status, told)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_inflating_has_a_sharp_limit_and_a_bomb_never_expands(coding: str, pack: Any) -> None:  # noqa: ANN401 - two functions of other signatures
    assert inflate(BytesIO(pack(bytes(1000))), WINDOWS[coding], 1000) == bytes(1000)
    with pytest.raises(InflatedTooLargeError):
        inflate(BytesIO(pack(bytes(1001))), WINDOWS[coding], 1000)
    bomb = BytesIO(pack(bytes(100_000_000)))
    tracemalloc.start()
    with pytest.raises(InflatedTooLargeError):
        inflate(bomb, WINDOWS[coding], 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_bomb_over_http_is_too_large(url: str) -> None:
    answer = send(url, gzip.compress(bytes(100_000_000)), headers={"Content-Encoding": "gzip"})
    assert_error(answer, 413, "larger than 32 MB once it is inflated")


def test_inflated_size_has_a_limit_of_its_own(small_home: Path) -> None:
    with (
        Classifier(backend=DummyBackend(), home=small_home) as made,
        serving(made, max_inflated_mb=0.01) as url,
    ):
        for size, status, told in ((10_000, 400, "no JSON"), (10_001, 413, "max_inflated_mb")):
            packed = gzip.compress(bytes(size))
            answer = send(url, packed, headers={"Content-Encoding": "gzip"})
            assert_error(answer, status, told)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /v2/models/x/infer HTTP/1.1\r\n", 405),
        (b"DELETE /v2 HTTP/1.1\r\n", 405),
        (b"POST /v2/models/x/infer HTTP/1.1\r\nContent-Length: 99000000\r\n", 413),
        (b"POST /v2/x HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"POST /v2/x HTTP/1.1\r\nTransfer-Encoding: gzip\r\n", 501),
    ],
)
def test_refusal_of_framework_or_server_is_one_of_the_protocol(
    url: str, request_line: bytes, status: int
) -> None:
    answer = say(url, request_line, b"Host: localhost\r\n\r\n")
    assert_error(answer, status, ".")


def test_bug_is_told_without_its_trace(small_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("sightbox.web.dialects.surfaces.read_numbers", fail)
    with (
        Classifier(backend=DummyBackend(), home=small_home) as made,
        serving(made) as url,
    ):
        answer = send(url, tensor())
    assert_error(answer, 500, "an error of its own")
    assert "secret" not in str(answer[2])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_message_ends_in_anything_but_an_error_of_ours(data: st.DataObject) -> None:
    """Any field of a right message may hold any JSON, and be followed by any bytes."""
    message: Any = tensor() | {"id": "1", "outputs": [{"name": "x"}], "parameters": {}}
    place = data.draw(st.sampled_from([message, message["inputs"][0], message["outputs"][0]]))
    field = data.draw(st.sampled_from([*place, "parameters"]))
    place[field] = data.draw(JSON_VALUES)
    head = json.dumps(message).encode()
    behind = data.draw(st.binary(max_size=8))
    length = data.draw(st.sampled_from([None, str(len(head)), "7", "x"]))
    status = 200
    try:
        read_request(head + behind, length)
    except SightboxError as error:
        status = error.status
    assert status in {200, 400, 501}
