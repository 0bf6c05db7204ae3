"""The settings table: every knob with its type, default, range, unit and meaning."""

import os
import re
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX = "SIGHTBOX_"
CONFIG = "CONFIG"
"""``SIGHTBOX_CONFIG`` names the TOML file, so it cannot stand in it."""

MIN_TOKEN_CHARACTERS = 16
"""Shortest token; 16 random letters and digits are 95 bits."""

SENDABLE_TEXT = re.compile(r"[!-~]+")
"""What a token is made of: visible ASCII. Of other characters clients and servers send different
bytes (RFC 9110, section 5.5), and blanks around them are not part of a header."""

SENDABLE = "letters, digits and signs of ASCII, without blanks"
"""The same in words."""


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
        256,
        ge=1,
        le=65536,
        description="Most pictures that may wait for the engine, and most requests that may wait "
        "for one of the `http_threads`; more are refused at once.",
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
        description="How long a request may wait from its arrival on, for one of the "
        "`http_threads`, for decoding and for the engine together; pictures whose turn has not "
        "come by then are given up.",
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
        "that can be killed, one more than usable cores, for a hole in a decoder to hurt less. "
        "Needs Linux or macOS.",
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
    max_text_kb: float = Field(
        500.0,
        gt=0,
        le=100_000,
        description="Largest rest of a multipart request, beside its files.",
        json_schema_extra={"unit": "kB"},
    )
    max_header_kb: float = Field(
        16.0,
        ge=1,
        le=1000,
        description="Largest head of a request; browsers send about 1 without cookies.",
        json_schema_extra={"unit": "kB"},
    )
    max_inflated_mb: float = Field(
        32.0,
        gt=0,
        le=1024,
        description="Largest request that came compressed, once it is inflated.",
        json_schema_extra={"unit": "MB"},
    )
    max_json_values: int = Field(
        2_000_000,
        ge=1000,
        le=100_000_000,
        description="Most values and lists in the JSON of a request, about 100 bytes of memory "
        "each.",
    )
    max_json_depth: int = Field(
        32, ge=8, le=500, description="How deeply the JSON of a request may be nested."
    )
    max_buffered_mb: float = Field(
        256.0,
        gt=0,
        le=1_000_000,
        description="Most of requests and answers in memory, over all connections; at least twice "
        "`max_body_mb`.",
        json_schema_extra={"unit": "MB"},
    )
    max_connections: int = Field(
        1024,
        ge=8,
        le=1_000_000,
        description="Most open connections. At the limit a new one takes the place of the one "
        "that is unused for longest.",
    )
    max_connections_per_client: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Most open connections from one address; when empty, a quarter of "
        "`max_connections`, and no limit for this machine itself. Behind a proxy on another "
        "machine all come from one address.",
    )
    idle_seconds: float = Field(
        20.0,
        ge=1,
        le=3600,
        description="How long a connection may be silent, or take nothing of its answer.",
        json_schema_extra={"unit": "seconds"},
    )
    request_seconds: float = Field(
        120.0,
        ge=1,
        le=86_400,
        description="How long one request may take to be sent, and as long its answer to be "
        "fetched.",
        json_schema_extra={"unit": "seconds"},
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
