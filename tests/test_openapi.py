"""The OpenAPI document: complete, true to what the server answers, and made from the code."""

import base64
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from description import Json, check, check_answer, described, operations
from serving import FORM, ask, assert_problem, form, say, serving
from sightbox import errors
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.errors import BackendError, SightboxError
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.openapi import LEFT_OUT
from sightbox.web.operations import operation_of
from sightbox.web.schemas import SCHEMAS

TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone
MODEL = "efficientnet-lite0"
BODIES = {"/v1/classify": b"", "/v2/repository/index": b"", "/v2/models/{name}/infer": b"{}"}

NEVER_ANSWERED = {
    "bad_checkpoint",
    "bad_kit",
    "download_failed",
    "bad_setting",
    "benchmark_running",
    "benchmark_elsewhere",
    "token_needed",
}
"""Codes of errors that come before the server runs, not without a token, or from a route that is no
part of the API."""


@pytest.fixture(scope="module")
def document(url: str) -> Json:
    """The document of that server."""
    found: Json = ask(url, "/openapi.json")[2]
    return found


def test_document_is_openapi_31(document: Json) -> None:
    assert document["openapi"].startswith("3.1.")
    OPENAPI_31_VALIDATOR.validate(document)
    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema), name


def test_each_route_is_described_or_left_out_for_a_reason(dummy: Classifier) -> None:
    app = create_app(dummy, load_settings())
    views = {endpoint: operation_of(view) for endpoint, view in app.view_functions.items()}
    missing = {endpoint for endpoint, operation in views.items() if operation is None}
    assert missing == set(LEFT_OUT), "give the view @describe, or name it in openapi.LEFT_OUT"
    assert all(LEFT_OUT.values())
    paths = set(app.test_client().get("/openapi.json").get_json()["paths"])
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint not in LEFT_OUT]
    assert paths == {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule) for rule in rules}


def test_each_operation_has_a_name_of_its_own_a_summary_and_errors(document: Json) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in document["tags"]}
    for path, _, operation in operations(document):
        assert operation["summary"].endswith("."), path
        assert set(operation["tags"]) <= tags
        assert {"200", "400", "403", "431", "500"} <= set(operation["responses"])
        assert all(parameter["description"] for parameter in operation["parameters"])


def test_each_reference_leads_somewhere_and_no_schema_is_forgotten(document: Json) -> None:
    named = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(document)))
    assert named == set(document["components"]["schemas"])


def test_each_error_class_has_its_code_in_the_document(document: Json) -> None:
    def classes(of: type[SightboxError]) -> Iterator[type[SightboxError]]:
        yield of
        for more in of.__subclasses__():
            yield from classes(more)

    known = {one.code: one for one in classes(SightboxError) if "sightbox" in one.__module__}
    assert len(known) > len(vars(errors)) / 2
    written = {problem["code"]: problem for problem in document["x-problems"]}
    assert set(known) - set(written) == NEVER_ANSWERED
    assert set(written) - set(known) == {"not_found", "not_implemented"}
    for code in set(known) & set(written):
        assert written[code]["status"] == known[code].status
        assert written[code]["title"] == known[code].title


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("get", "/v1/models", "/v1/models"),
        ("get", "/v1/models/{name}", f"/v1/models/{MODEL}"),
        ("get", "/v1/models/{name}", "/v1/models/nope"),
        ("get", "/v1/models/{name}", "/v1/models/a%2Fb"),
        ("get", "/v1/labels", "/v1/labels?lang=zh"),
        ("get", "/v1/labels", "/v1/labels?lang=xx"),
        ("get", "/v1/info", "/v1/info"),
        ("get", "/livez", "/livez"),
        ("get", "/healthz", "/healthz"),
        ("get", "/ping", "/ping"),
        ("get", "/readyz", "/readyz?x=1"),
        ("get", "/metrics", "/metrics?x=1"),
        ("get", "/openapi.json", "/openapi.json"),
        ("get", "/v2", "/v2"),
        ("get", "/v2/", "/v2/"),
        ("get", "/v2/health/live", "/v2/health/live"),
        ("get", "/v2/health/ready", "/v2/health/ready"),
        ("get", "/v2/models", "/v2/models"),
        ("get", "/v2/models/stats", "/v2/models/stats"),
        ("get", "/v2/models/{name}", f"/v2/models/{MODEL}_u8"),
        ("get", "/v2/models/{name}", "/v2/models/nope"),
        ("get", "/v2/models/{name}/config", f"/v2/models/{MODEL}/config"),
        ("get", "/v2/models/{name}/ready", f"/v2/models/{MODEL}/ready"),
        ("get", "/v2/models/{name}/stats", f"/v2/models/{MODEL}_image/stats"),
        ("get", "/v2/models/{name}/versions/{version}", f"/v2/models/{MODEL}/versions/1"),
        ("get", "/v2/models/{name}/versions/{version}", f"/v2/models/{MODEL}/versions/2"),
    ],
)
def test_answers_are_as_described(
    url: str, document: Json, method: str, path: str, asked: str
) -> None:
    check_answer(document, method, path, ask(url, asked))


def test_answers_to_pictures_are_as_described(url: str, document: Json, cat: bytes) -> None:
    classify, infer = "/v1/classify", "/v2/models/{name}/infer"
    for body, headers, status in (
        (cat, {}, 200),
        (b"", {}, 400),
        (b"junk", {}, 415),
        (form(cat, b"junk"), FORM, 200),
        (form(), FORM, 400),
    ):
        answer = ask(url, classify, body, headers)
        assert answer[0] == status
        check_answer(document, "post", classify, answer)
    check_answer(document, "post", classify, ask(url, f"{classify}?lang=zh&top_k=1", cat))
    check_answer(document, "post", classify, ask(url, f"{classify}?model=nope", cat))
    raw = {"Inference-Header-Content-Length": "0"}
    for name, body, headers, status in (
        (f"{MODEL}_image", cat, raw, 200),
        (f"{MODEL}_image", b"junk", raw, 415),
        (MODEL, b"{}", {}, 400),
        ("nope", b"{}", {}, 404),
        (MODEL, b"", {"Content-Encoding": "br"}, 415),
    ):
        answer = ask(url, f"/v2/models/{name}/infer", body, headers)
        assert answer[0] == status
        check_answer(document, "post", infer, answer)
    check_answer(document, "get", "/v2/models/stats", ask(url, "/v2/models/stats"))


def test_answers_in_the_forms_of_other_servers_are_as_described(
    url: str, document: Json, cat: bytes
) -> None:
    text = base64.b64encode(cat)
    question = b'{"inputs": "%s"}' % text
    request = b'{"id": "7", "images": ["data:;base64,%s"]}' % text
    predict, labels = "/predictions/{name}", "/api/v1/vision/labels"
    for path, body, headers, status in (
        (predict, cat, {}, 200),
        (predict, form(cat, name="data"), FORM, 200),
        (predict, form(cat, cat, name="data"), FORM, 400),
        (predict, b"junk", {}, 415),
        (f"{predict}/{{version}}", cat, {}, 200),
        ("/models/{name}", cat, {}, 200),
        ("/models/{name}", question, {}, 200),
        ("/models/{name}", b"{}", {}, 400),
        (labels, request, {}, 200),
        (labels, request.replace(b"data:", b"http:"), {}, 400),
        (labels, b"{", {}, 400),
        (labels, request, {"Content-Encoding": "br"}, 415),
    ):
        asked = path.replace("{name}", MODEL).replace("{version}", "1.0")
        answer = ask(url, f"{asked}?lang=zh&x=1", body, headers)
        assert answer[0] == status, path
        check_answer(document, "post", path, answer)
    for path, asked in (
        (predict, "/predictions/nope"),
        (f"{predict}/{{version}}", f"/predictions/{MODEL}/2"),
        ("/models/{name}", "/models/a/b"),
    ):
        answer = ask(url, asked, cat)
        assert answer[0] == 404
        check_answer(document, "post", path, answer)


def test_metrics_come_in_each_form_that_is_described(url: str, document: Json) -> None:
    kinds = described(document, "get", "/metrics", 200)
    assert len(kinds) == 2
    for kind in kinds:
        answer = ask(url, "/metrics", headers={"Accept": kind})
        assert answer[1]["Content-Type"].startswith(f"{kind};")
        check_answer(document, "get", "/metrics", answer)


def test_every_answer_names_its_request_as_described(document: Json) -> None:
    for path, _, operation in operations(document):
        for status, response in operation["responses"].items():
            told = response["headers"]["X-Request-Id"]
            assert told["required"], (path, status)
            pattern = told["schema"]["pattern"]
            assert re.search(pattern, "a.B_9-")
            assert not re.search(pattern, "no id")


def test_examples_of_the_document_are_as_described_and_work(url: str, document: Json) -> None:
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        for example in schema.get("examples", []):
            check(document, schema, example)
    (example,) = schemas["OpenInferenceRequest"]["examples"]
    body = str(example).replace("'", '"').encode()
    answer = ask(url, f"/v2/models/{MODEL}_image/infer", body)
    assert answer[0] == 200
    check_answer(document, "post", "/v2/models/{name}/infer", answer)


def test_errors_of_a_broken_engine_and_a_damaged_model_are_as_described(
    home: Path, tmp_path: Path, cat: bytes
) -> None:
    broken = threading.Event()

    def fail(_images: Pixels) -> None:
        if broken.is_set():
            raise BackendError("Out of order.")

    (tmp_path / "models" / "broken").mkdir(parents=True)
    with (
        Classifier(backend=DummyBackend(fail), home=home) as classifier,
        serving(classifier, home=tmp_path) as url,
    ):
        document = ask(url, "/openapi.json")[2]
        check_answer(document, "get", "/v1/models", ask(url, "/v1/models"))
        damaged = ask(url, "/v1/models/broken")
        broken.set()
        assert_problem(damaged, 500, "bad_model")
        check_answer(document, "get", "/v1/models/{name}", damaged)
        for method, path, body, status in (
            ("get", "/readyz", None, 503),
            ("get", "/v2/health/ready", None, 503),
            ("get", "/ping", None, 500),
            ("post", "/v1/classify", cat, 500),
        ):
            answer = ask(url, path, body)
            assert answer[0] == status
            check_answer(document, method, path, answer)


def test_refusals_before_the_view_are_as_described(url: str, document: Json) -> None:
    for path in ("/v1/info", "/v2", "/ping", "/metrics"):
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode()
        for more, status in (
            (b"Transfer-Encoding: gzip\r\n\r\n", 501),
            (b"X: " + b"x" * 20_000 + b"\r\n\r\n", 431),
            (b"Origin: null\r\n\r\n", 403),
            (b"Content-Length: x\r\n\r\n", 400),
        ):
            answer = say(url, head, more)
            assert answer[0] == status
            check_answer(document, "get", path, answer)


def test_answer_with_another_key_is_not_as_described(url: str, document: Json) -> None:
    """The comparison above can fail: objects are closed."""
    answer = ask(url, "/v1/info")
    with pytest.raises(jsonschema_rs.ValidationError):
        check_answer(document, "get", "/v1/info", (200, answer[1], answer[2] | {"more": 1}))
    del answer[2]["version"]
    with pytest.raises(jsonschema_rs.ValidationError):
        check_answer(document, "get", "/v1/info", answer)
    assert all(schema["additionalProperties"] is False for schema in SCHEMAS.values())


def test_parameters_of_the_document_are_those_that_the_server_knows(
    url: str, document: Json
) -> None:
    for path, method, operation in operations(document):
        if not path.startswith("/v1"):
            continue
        asked = path.replace("{name}", MODEL) + "?nope=1"
        told = assert_problem(
            ask(url, asked, BODIES.get(path), method=method.upper()), 400, "bad_request"
        )
        names = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
        assert told.endswith(f"There are: {', '.join(names)}." if names else "takes none.")


def test_each_bound_of_a_parameter_is_where_the_document_says(
    url: str, document: Json, cat: bytes
) -> None:
    parameters = {
        parameter["name"]: parameter["schema"]
        for parameter in document["paths"]["/v1/classify"]["post"]["parameters"]
    }
    assert set(parameters) >= {"top_k", "lang", "model", "min_score", "preprocessing", "explain"}
    for name, schema in parameters.items():
        for inside in schema.get("enum", [schema.get("minimum"), schema.get("maximum")]):
            if inside is not None:
                assert ask(url, f"/v1/classify?{name}={inside}", cat)[0] == 200
        for outside in (schema.get("minimum", 0) - 1, schema.get("maximum", 0) + 1, "-"):
            if name not in {"model", "variant"}:
                assert ask(url, f"/v1/classify?{name}={outside}", cat)[0] == 400


def test_defaults_are_the_settings_and_languages_those_of_the_labels(
    dummy: Classifier, cat: bytes
) -> None:
    dummy.labels = replace(
        dummy.labels, names={**dummy.labels.names, "fr": dummy.labels.names["en"]}
    )
    with serving(dummy, top_k=3, min_score=0.25, preprocessing="fast") as url:
        document = ask(url, "/openapi.json")[2]
        assert ask(url, "/v1/classify?lang=fr", cat)[0] == 200
    schemas = {
        parameter["name"]: parameter["schema"]
        for parameter in document["paths"]["/v1/classify"]["post"]["parameters"]
    }
    defaults = {name: schema.get("default") for name, schema in schemas.items()}
    assert defaults == {
        "top_k": 3,
        "lang": "both",
        "model": None,
        "variant": None,
        "min_score": 0.25,
        "preprocessing": "fast",
        "explain": False,
    }
    assert schemas["lang"]["enum"] == [*dummy.labels.languages, "both"]
    assert "fr" in schemas["lang"]["enum"]


def test_token_is_told_where_one_is_set(dummy: Classifier, document: Json) -> None:
    assert "securitySchemes" not in document["components"]
    with serving(dummy, token=TOKEN) as url:
        locked = ask(url, "/openapi.json")[2]
        answer = ask(url, "/v1/info")
        # What needs no token by the document is open, and the rest is closed.
        for path, method, operation in operations(locked):
            asked = path.replace("{name}", MODEL).replace("{version}", "1")
            status = ask(url, asked, BODIES.get(path), method=method.upper())[0]
            assert (status == 401) == bool(operation["security"]), path
    assert locked["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert answer[0] == 401
    check_answer(locked, "get", "/v1/info", answer)
    assert "token_needed" in {problem["code"] for problem in locked["x-problems"]}


def test_document_is_kept_by_clients_until_it_changes(url: str) -> None:
    _, headers, _ = ask(url, "/openapi.json")
    assert "no-cache" in headers["Cache-Control"]
    again = ask(url, "/openapi.json", headers={"If-None-Match": headers["ETag"]})
    assert (again[0], again[2]) == (304, b"")
    assert ask(url, "/openapi.json", headers={"If-None-Match": '"other"'})[0] == 200


def run_commands(commands: str, url: str, folder: Path, photos: Path) -> None:
    """Runs commands that ask the server of a text, in a folder with two photos."""
    for name in ("cat.jpg", "dog.jpg"):
        shutil.copy(photos / "chelsea.png", folder / name)
    script = commands.replace("http://127.0.0.1:8018", url).replace("curl ", "curl -fsS ")
    done = subprocess.run(
        ["sh", "-ec", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_each_sample_works_as_written(
    url: str, document: Json, tmp_path: Path, photos: Path
) -> None:
    samples = [
        sample["source"]
        for _, _, operation in operations(document)
        for sample in operation["x-codeSamples"]
    ]
    assert len(samples) >= 10
    run_commands("\n".join(samples), url, tmp_path, photos)


def test_page_on_http_names_the_same_parameters_codes_and_routes(dummy: Classifier) -> None:
    page = (Path(__file__).parents[1] / "docs" / "http.md").read_text("utf-8")
    client = create_app(dummy, load_settings(token=TOKEN)).test_client()
    document = client.get("/openapi.json").get_json()
    codes: dict[str, list[str]] = {}
    for problem in document["x-problems"]:
        codes.setdefault(str(problem["status"]), []).append(problem["code"])
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", page, re.MULTILINE)
    assert {status: re.findall(r"`([a-z_]+)`", text) for status, text in rows} == codes
    names = [one["name"] for one in document["paths"]["/v1/classify"]["post"]["parameters"]]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == names
    for path in document["paths"]:
        assert path.startswith("/v2") or f"{path}`" in page


def test_commands_of_the_page_on_http_work_as_written(
    url: str, tmp_path: Path, photos: Path
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "http.md").read_text("utf-8")
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    run_commands(commands, url, tmp_path, photos)
