"""The settings table: every knob with its type, default, range, unit and meaning.

A value comes from the command line, else from the environment (``SIGHTBOX_PORT``), else from the
TOML file, else it is the default. An unknown name or a bad value is an error, never ignored; an
empty variable of the environment means "not given".
"""

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError

from sightbox.errors import SettingsError

PREFIX = "SIGHTBOX_"
CONFIG = "CONFIG"
"""``SIGHTBOX_CONFIG`` names the TOML file, so it cannot stand in it."""

SECRETS = frozenset({"token"})
"""Settings whose values are never shown."""

MIN_TOKEN_CHARACTERS = 16
"""Shortest token; 16 random letters and digits are 95 bits."""

SENDABLE_TEXT = re.compile(r"[!-~]+")
"""What a token is made of: visible ASCII. Of other characters clients and servers send different
bytes (RFC 9110, section 5.5), and blanks around them are not part of a header."""

SENDABLE = "letters, digits and signs of ASCII, without blanks"
"""The same in words."""

LIST_HINT = 'Write a JSON list: ["box.local"].'


class Settings(BaseSettings):
    """All settings, checked and frozen. Use `load_settings` to read them from everywhere."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    home: Path | None = Field(
        None,
        description="Folder of the models, `~` is yours; the user's data folder when empty.",
    )
    model: str | None = Field(
        None, description="Name of the model; the best one that is here when empty."
    )
    backend: Literal["onnxruntime", "openvino", "pytorch", "dummy"] | None = Field(
        None,
        description="What runs the network; when empty, what `sightbox tune` found fastest, or "
        "`onnxruntime`. `dummy` is for trying things out.",
    )
    variant: Literal["fp32", "bf16", "fp16", "int8"] | None = Field(
        None,
        description="Variant of the model: `fp32` is exact, `int8` is made by "
        "`sightbox models optimize`, `bf16` needs OpenVINO or PyTorch, `fp16` a GPU and PyTorch. "
        "When empty, what `sightbox tune` found fastest among those that agree, or `fp32`.",
    )
    device: str | None = Field(
        None,
        description="Where the backend computes: `cpu`, with OpenVINO `GPU`, `NPU` or a choice "
        "such as `AUTO:GPU,CPU`, with ONNX Runtime `cuda`, `tensorrt`, `coreml` or `openvino`, "
        "with PyTorch `cuda`, `mps` or `auto`. When empty, the processor; with PyTorch `auto`.",
    )
    goal: Literal["throughput", "latency"] = Field(
        "throughput",
        description="What `sightbox tune` chooses for: most pictures a second, or least time for "
        "one.",
    )
    least_agreement: float = Field(
        0.97,
        ge=0,
        le=1,
        description="Part of the pictures that a faster variant must name as the exact one does.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Threads of the engine; when empty, as measured, or all usable cores.",
    )
    streams: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Batches that the engine runs at the same time; when empty, as measured, or 1.",
    )
    max_batch: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Most pictures in a batch, which is all that waits, now; when empty, as "
        "measured, or 8.",
    )
    queue_size: int = Field(
        256, ge=1, le=65536, description="Most pictures that may wait for the engine."
    )
    max_models_mb: float = Field(
        1000.0,
        ge=0,
        le=1_000_000,
        description="Most memory of the models that a server has loaded. Above it those that were "
        "not used for longest are dropped; the default model never is.",
        json_schema_extra={"unit": "MB"},
    )
    max_wait: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="How long a picture may wait, for its decoding and for the engine together, "
        "before it is given up.",
        json_schema_extra={"unit": "seconds"},
    )
    top_k: int = Field(5, ge=1, le=1000, description="How many classes an answer names.")
    min_score: float = Field(
        0.0, ge=0, le=1, description="Least probability of a class that an answer names."
    )
    preprocessing: Literal["exact", "fast", "nearest"] = Field(
        "exact",
        description="How a picture is made into pixels: `exact` as torchvision does it, `fast` or "
        "`nearest` in less time and with answers that differ a little.",
    )
    max_megapixels: float = Field(
        50.0,
        gt=0,
        le=1000,
        description="Largest picture, checked before it is decoded.",
        json_schema_extra={"unit": "megapixels"},
    )
    decode_megapixels: float | None = Field(
        None,
        gt=0,
        le=100_000,
        description="Most that is decoded at the same time, which bounds the memory; a larger "
        "picture is decoded alone. When empty, 100, or 16 for each core where that is more.",
        json_schema_extra={"unit": "megapixels"},
    )
    isolation: Literal["thread", "process"] = Field(
        "thread",
        description="Where pictures are decoded: `thread` in the server, `process` in processes "
        "that can be killed, as many as usable cores, for a hole in a decoder to hurt less. Needs "
        "Linux or macOS.",
    )
    decode_memory_mb: float = Field(
        1536.0,
        ge=16,
        le=1_000_000,
        description="With `isolation = process` on Linux, memory that decoding one picture may "
        "take; the worst take 24 bytes a pixel.",
        json_schema_extra={"unit": "MB"},
    )
    decode_seconds: float = Field(
        20.0,
        gt=0,
        le=3600,
        description="With `isolation = process`, time that decoding one picture may take.",
        json_schema_extra={"unit": "seconds"},
    )
    allow_tiff: bool = Field(
        False, description="Accept TIFF files; the format is large and often attacked."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8018, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    grpc_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of the Open Inference Protocol over gRPC, on the same address; off when "
        "empty or 0. It needs the extra `grpc`.",
    )
    token: str | None = Field(
        None,
        min_length=MIN_TOKEN_CHARACTERS,
        repr=False,
        description="What clients must send as `Authorization: Bearer …`: "
        f"{SENDABLE}. When empty, that of `token_file`.",
        json_schema_extra={"unit": "characters"},
    )
    token_file: Path | None = Field(
        None,
        description="File that keeps the token, readable by its owner alone; made on the first "
        "start. When empty, `token` in `home`, and only where the server listens to others than "
        "this machine.",
    )
    insecure: bool = Field(
        False, description="Listen to the network without a token: anyone may ask."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Names under which browsers may reach the server, besides its address and "
        "localhost; a JSON list in the environment.",
    )
    max_body_mb: float = Field(
        32.0, gt=0, le=1024, description="Largest request.", json_schema_extra={"unit": "MB"}
    )
    max_parts: int = Field(
        256, ge=1, le=10_000, description="Most pictures in one multipart request."
    )
    http_threads: int = Field(
        16, ge=1, le=256, description="Requests that are worked on at the same time."
    )
    grace: float = Field(
        10.0,
        ge=0,
        le=600,
        description="How long a stopping server finishes what it has accepted.",
        json_schema_extra={"unit": "seconds"},
    )

    log_format: Literal["text", "json"] = Field(
        "text",
        description="How `sightbox serve` writes its log to standard error: lines to read, or a "
        "JSON object a line.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level of what is logged; the access log is `info`."
    )
    access_log: bool = Field(
        True, description="Log a line for each request: times, sizes, hashes, nothing shown."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_surprises(cls, value: object, info: ValidationInfo) -> object:
        """Takes no switch for a number (Python would), and "" for "not given"."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise PydanticCustomError("switch", "Input should not be true or false")
        return None if value == "" and field.default is None else value

    @field_validator("home", "token_file")
    @classmethod
    def _expand_home(cls, path: Path | None) -> Path | None:
        try:
            return path and path.expanduser()
        except RuntimeError as error:
            raise PydanticCustomError("no_user", "There is no such user") from error

    @field_validator("token")
    @classmethod
    def _refuse_unsendable(cls, token: str | None) -> str | None:
        if token is not None and not SENDABLE_TEXT.fullmatch(token):
            raise PydanticCustomError("token", f"Input should be {SENDABLE}")
        return token

    @field_validator("host", "allowed_hosts")
    @classmethod
    def _spell_alike(cls, names: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """Spells host names as they are compared (RFC 9110, section 4.2.3): small, no last dot."""
        if isinstance(names, str):
            return names.lower().removesuffix(".")
        return tuple(name.lower().removesuffix(".") for name in names)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Orders the sources: arguments, environment, file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_path())


def config_path() -> Path:
    """Returns where the TOML file is read from; it need not exist."""
    named = os.environ.get(PREFIX + CONFIG)
    if named:
        return Path(os.path.expanduser(named))  # noqa: PTH111 - no error for an unknown user
    try:
        folder = platformdirs.user_config_path("sightbox", appauthor=False)
    except RuntimeError:
        # A user without a home, as containers have them.
        folder = platformdirs.site_config_path("sightbox", appauthor=False)
    return folder / "sightbox.toml"


def load_settings(**given: Any) -> Settings:  # noqa: ANN401 - pydantic checks the values
    """Returns the settings of the command line, the environment and the file.

    Args:
        given: Values that come before all others; None means "not given".

    Raises:
        SettingsError: A name is unknown, a value is bad, or the file cannot be read.
    """
    _refuse_unknown_variables()
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        if os.environ.get(PREFIX + CONFIG) and not config_path().is_file():
            raise SettingsError(f"{PREFIX}{CONFIG} names {config_path()}, which is no file.")
        return Settings(**chosen)
    except ValidationError as error:
        raise SettingsError(*_explain(error.errors()[0], chosen)) from error
    except SourceError as error:
        # It is the only setting that the environment spells as JSON.
        raise SettingsError("allowed_hosts in the environment is no JSON.", LIST_HINT) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"The file {config_path()} cannot be read: {reason}.") from error


def settings_page() -> str:
    """Returns the table of settings as a Markdown page."""
    rows = [
        "# Settings",
        "",
        "Each setting comes from the command line (`--port 9000`), else from the environment",
        "(`SIGHTBOX_PORT=9000`), else from the file `sightbox.toml` (`port = 9000`), else it is",
        "the default. `SIGHTBOX_CONFIG` names another file; `sightbox info` shows where it is",
        "looked for. An empty variable counts as not given. An unknown name or a bad value stops",
        "the start with a hint. This page is generated: `make docs`.",
        "",
        "| name | type | default | range | unit | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for name, schema in Settings.model_json_schema()["properties"].items():
        rows.append(_row(name, schema))
    return "\n".join(rows) + "\n"


def _row(name: str, schema: dict[str, Any]) -> str:
    options: list[dict[str, Any]] = schema.get("anyOf", [schema])
    kind = next(option for option in options if option.get("type") != "null")
    limits = [
        f"{sign} {kind[key]:,}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("minLength", "≥"),
        )
        if key in kind
    ]
    if "enum" in kind:
        limits = [f"`{choice}`" for choice in kind["enum"]]
    default = schema.get("default")
    shown = "" if default in (None, [], ()) else f"`{str(default).lower()}`"
    cells = (
        f"`{name}`",
        str(kind["type"]),
        shown,
        ", ".join(limits),
        str(schema.get("unit", "")),
        str(schema["description"]),
    )
    return f"| {' | '.join(cells)} |"


def _refuse_unknown_variables() -> None:
    known = {name.upper() for name in Settings.model_fields} | {CONFIG}
    for variable in os.environ:
        name = variable.upper().removeprefix(PREFIX)
        if variable.upper().startswith(PREFIX) and name not in known:
            raise SettingsError(
                f"The environment variable {variable} is no setting.",
                _did_you_mean(name, known, PREFIX),
            )


def _explain(error: ErrorDetails, given: Mapping[str, object]) -> tuple[str, str]:
    name = str(error["loc"][0])
    where = _where(name, given)
    if error["type"] == "extra_forbidden":
        return f"There is no setting {name!r}{where}.", _did_you_mean(
            name.lower(), Settings.model_fields
        )
    shown = "what was given" if name in SECRETS else repr(error["input"])
    hint = LIST_HINT if name == "allowed_hosts" else Settings.model_fields[name].description or ""
    return f"The setting {name}{where} cannot be {shown}: {error['msg']}.", hint


def _where(name: str, given: Mapping[str, object]) -> str:
    """Returns where a setting was read, when that is the file."""
    in_environment = any(v.upper() == PREFIX + name.upper() and os.environ[v] for v in os.environ)
    return "" if name in given or in_environment else f" in {config_path()}"


def _did_you_mean(name: str, known: Collection[str], prefix: str = "") -> str:
    close = get_close_matches(name, known, n=1)
    return f"Did you mean {prefix}{close[0]}?" if close else "docs/settings.md lists all settings."
