"""The OpenAPI document of a server, and answers compared with it."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs

from serving import Answer

Json = dict[str, Any]


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Yields each path, method and Operation Object."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def described(document: Json, method: str, path: str, status: int) -> Json:
    """Returns the schemas of an answer by media type."""
    content: Json = document["paths"][path][method]["responses"][str(status)]["content"]
    return {kind: found["schema"] for kind, found in content.items()}


def check(document: Json, schema: Json, value: object) -> None:
    """Compares a value with a schema of the document; raises `jsonschema_rs.ValidationError`."""
    whole = schema | {"components": document["components"]}
    jsonschema_rs.Draft202012Validator(whole).validate(value)


def check_answer(document: Json, method: str, path: str, answer: Answer) -> None:
    """Compares an answer with what the document says of it."""
    status, headers, body = answer
    schemas = described(document, method, path, status)
    media_type = headers["Content-Type"].partition(";")[0]
    schema = schemas[media_type]
    if "json" in media_type:
        check(document, schema, body)
