"""The parameters of each route of ``/v1``: their names, types, ranges, defaults and meanings.

A model here does both: it reads the query of a request, and it describes that query in the OpenAPI
document. A field without a value of its own takes the setting of the same name.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Self
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from sightbox.errors import RequestError
from sightbox.model import MAX_CLASSES
from sightbox.preprocessing import Preprocessing
from sightbox.web.dialects.languages import DEFAULT
from sightbox.web.service import current_service

ALL_LANGUAGES = "both"
"""The language that means "every one there is"."""

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SWITCH = re.compile(r"true|false")
"""Values as JSON spells them (RFC 8259, sections 3 and 6); Python takes "1_0", " 1" and "nan" too,
and pydantic "yes" and "off"."""


def _spelled(pattern: re.Pattern[str], kind: str) -> BeforeValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise PydanticCustomError("spelling", kind)
        return text

    return BeforeValidator(check)


WHOLE_NUMBER = _spelled(_WHOLE, "no whole number")
NUMBER = _spelled(_NUMBER, "no number")
SWITCH = _spelled(_SWITCH, "no truth value")


def _setting(name: str) -> Any:  # noqa: ANN401 - of the setting's own type
    return Field(default_factory=lambda: getattr(current_service().settings, name))


def _list_languages(schema: dict[str, Any]) -> None:
    schema["enum"] = [*current_service().classifier.labels.languages, ALL_LANGUAGES]


def _list_single_languages(schema: dict[str, Any]) -> None:
    schema["enum"] = list(current_service().classifier.labels.languages)


class Query(BaseModel):
    """The parameters of a route that takes none; the base of those of all others.

    Descriptions are whole sentences: the OpenAPI document and the page at ``/docs`` show them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, query_string: bytes) -> Self:
        """Reads the query of an address, as it came.

        Raises:
            RequestError: It is not UTF-8, or a parameter is unknown, given twice or out of range.
        """
        try:
            text = query_string.decode()
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
        except UnicodeDecodeError as error:
            raise RequestError(
                "The address has a parameter that is not UTF-8.", "Encode it as %E4%B8%AD."
            ) from error
        cls._check_names(Counter(name for name, _ in pairs))
        try:
            return cls.model_validate(dict(pairs))
        except ValidationError as error:
            problem = error.errors()[0]
            raise cls._refusal(str(problem["loc"][0]), problem) from error

    @classmethod
    def schemas(cls) -> dict[str, dict[str, Any]]:
        """Returns the JSON schema of each parameter, with its description and default.

        It needs the application's context: the defaults are those of the running server.
        """
        schemas: dict[str, dict[str, Any]] = cls.model_json_schema().get("properties", {})
        for name, field in cls.model_fields.items():
            schema = schemas[name]
            del schema["title"]
            # A parameter that is not given is not there: nobody can send null.
            schema |= next(iter(schema.pop("anyOf", [])), {})
            schema.pop("default", None)
            default = field.get_default(call_default_factory=True, validated_data={})
            if default is not None:
                schema["default"] = default
        return schemas

    @classmethod
    def _check_names(cls, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            if name not in cls.model_fields:
                if cls.model_config.get("extra") == "ignore":
                    continue
                known = ", ".join(cls.model_fields)
                raise RequestError(
                    f"There is no parameter {name!r:.60}.",
                    f"There are: {known}." if known else "This route takes none.",
                )
            if count > 1:
                raise RequestError(f"The parameter {name} is given {count} times.", "Give it once.")

    @classmethod
    def _refusal(cls, name: str, problem: Any) -> RequestError:  # noqa: ANN401 - ErrorDetails
        given = f"{name} is {problem['input']!r:.60}"
        if problem["type"] == "spelling":
            given += f", which is {problem['msg']}"
        return RequestError(f"{given}.", f"It can be {_choices(cls.schemas()[name])}.")


Language = Annotated[
    str,
    Field(
        description="The language of the labels; a model may have others than the default one.",
        json_schema_extra=_list_languages,
    ),
]


class LabelsQuery(Query):
    """The parameters of ``GET /v1/labels``."""

    lang: Language = ALL_LANGUAGES
    model: Annotated[
        str | None,
        Field(description="The model whose classes are listed; the default one when not given."),
    ] = None


class WalkthroughQuery(Query):
    """The parameters of ``POST /v1/walkthrough``."""

    lang: Language = ALL_LANGUAGES
    model: Annotated[
        str | None,
        Field(description="The network that is looked into; the default one when not given."),
    ] = None


class ClassifyQuery(Query):
    """The parameters of ``POST /v1/classify``."""

    top_k: Annotated[
        int,
        Field(ge=1, le=MAX_CLASSES, description="How many classes an answer names at most."),
        WHOLE_NUMBER,
    ] = _setting("top_k")
    lang: Language = ALL_LANGUAGES
    model: Annotated[
        str | None,
        Field(description="The model that is to answer; the default one when not given."),
    ] = None
    variant: Annotated[
        str | None,
        Field(description="The variant of the model; the one planned for it when not given."),
    ] = None
    min_score: Annotated[
        float,
        Field(ge=0, le=1, description="The least probability of a class that is named."),
        NUMBER,
    ] = _setting("min_score")
    preprocessing: Annotated[
        Preprocessing,
        Field(
            description="How a picture is made into pixels: exactly, or in less time and with an "
            "answer that differs a little."
        ),
    ] = _setting("preprocessing")
    explain: Annotated[
        bool,
        Field(description="Whether to say where in a picture the evidence for each class is."),
        SWITCH,
    ] = False


class NamesQuery(Query):
    """The parameter that routes of other servers' protocols have here: they admit any besides."""

    model_config = ConfigDict(extra="ignore")

    lang: Annotated[
        str,
        Field(
            description="The language of the names; a model may have others than the default one.",
            json_schema_extra=_list_single_languages,
        ),
    ] = DEFAULT


def _choices(schema: Mapping[str, Any]) -> str:
    """Returns in words what a schema admits."""
    if "enum" in schema:
        *some, last = schema["enum"]
        return f"{', '.join(some)} or {last}"
    if schema["type"] == "boolean":
        return "true or false"
    return f"from {schema['minimum']:,} to {schema['maximum']:,}"
