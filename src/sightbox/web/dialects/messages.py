"""The messages of the Open Inference Protocol v2: a request apart, a response together.

Sources: Open Inference Protocol, ``inference_rest.md``, and Triton's ``extension_binary_data.md``
and ``extension_classification.md``. A message is JSON, or JSON and behind it tensors as bytes; the
header ``Inference-Header-Content-Length`` tells how long the JSON is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sightbox.errors import RequestError, SightboxError
from sightbox.schema import Json, json_to_bytes
from sightbox.web.dialects.fields import (
    DEFAULT_LIMITS,
    UTF_8,
    JsonLimits,
    as_list,
    as_object,
    is_text,
    read_json,
)

LENGTH_HEADER = "Inference-Header-Content-Length"

RAW = "0"
"""The header's value of a request whose body is a tensor alone."""


class NotSupportedError(SightboxError):
    """The request asks for a part of the protocol that is not here."""

    code = "not_supported"
    title = "This part of the protocol is not supported"
    status = 501


@dataclass(frozen=True)
class Tensor:
    """A tensor as it came.

    Attributes:
        name: Name of the input.
        datatype: The protocol's name of its type, such as ``FP32``.
        shape: Its sizes, each at least 0.
        parameters: What its sender says besides.
        data: What stood in the JSON, or the bytes behind it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Json
    data: list[Any] | memoryview


@dataclass(frozen=True)
class WantedOutput:
    """How an output is wanted.

    Attributes:
        name: Name of the output; None for the only one.
        binary: Whether as bytes behind the JSON.
        classification: How many of the best classes in its place, at least 1; None for the tensor.
    """

    name: str | None
    binary: bool
    classification: int | None = None


@dataclass(frozen=True)
class InferenceRequest:
    """A request for an inference.

    Attributes:
        id: What to say again in the response; None when nothing.
        parameters: What the sender says besides.
        inputs: The tensors.
        outputs: What is wanted; never empty.
    """

    id: str | None
    parameters: Json
    inputs: tuple[Tensor, ...]
    outputs: tuple[WantedOutput, ...]


@dataclass(frozen=True)
class OutputTensor:
    """A tensor to send.

    Attributes:
        name: Name of the output.
        datatype: The protocol's name of its type.
        shape: Its sizes.
        data: Its values for JSON, in row-major order, or its bytes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | bytes


def read_request(
    body: bytes, header_length: str | None, limits: JsonLimits = DEFAULT_LIMITS
) -> InferenceRequest:
    """Takes a request apart.

    Args:
        body: The whole body, inflated.
        header_length: The value of ``Inference-Header-Content-Length``; None when all is JSON.
        limits: See `read_json`.

    Raises:
        RequestError: It is no message of the protocol; says where.
        TooManyValuesError: The JSON has more values than may be.
        TooDeepError: It is nested deeper than may be.
        NotSupportedError: It refers to shared memory.
    """
    length = len(body) if header_length is None else _length(header_length, len(body))
    message = read_json(
        body[:length], limits, f"{UTF_8[:-1]} and the header {LENGTH_HEADER} to tell its length."
    )
    return take_apart(message, memoryview(body)[length:])


def take_apart(message: Json, rest: memoryview) -> InferenceRequest:
    """Takes a request apart whose JSON is read.

    Args:
        message: What stood in the JSON.
        rest: The bytes behind it.

    Raises:
        RequestError: It is no message of the protocol; says where.
        NotSupportedError: It refers to shared memory.
    """
    parameters = _parameters(message, "The request")
    identity = message.get("id")
    if identity is not None and not is_text(identity):
        raise RequestError("The request's id is no text.")
    entries = as_list(message.get("inputs"), "inputs")
    return InferenceRequest(
        identity,
        parameters,
        tuple(_read_inputs(entries, rest)),
        tuple(_read_outputs(message.get("outputs"), parameters)),
    )


def read_switch(parameters: Json, name: str, *, default: bool) -> bool:
    """Returns a parameter that is true or false.

    Raises:
        RequestError: It is neither.
    """
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(f"The parameter {name} is {value!r:.40}, neither true nor false.")
    return value


def write_response(
    model: str, version: str, identity: str | None, outputs: Sequence[OutputTensor]
) -> tuple[bytes, dict[str, str]]:
    """Puts a response together, and returns its body and headers."""
    message: Json = {"model_name": model, "model_version": version}
    if identity is not None:
        message["id"] = identity
    message["outputs"] = [_output_to_json(output) for output in outputs]
    head = json_to_bytes(message)
    binary = [output.data for output in outputs if isinstance(output.data, bytes)]
    if not binary:
        return head, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(len(head))}
    return b"".join([head, *binary]), headers


def _length(text: str, most: int) -> int:
    # At most ten digits: Python refuses to read thousands of them with an error of its own.
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise RequestError(f"The header {LENGTH_HEADER} is {text!r:.40}, which is no length.")
    if int(text) > most:
        raise RequestError(
            f"The header {LENGTH_HEADER} says {int(text)}, but the body has {most} bytes.",
            "It counts the bytes of the JSON, before they are compressed.",
        )
    return int(text)


def _read_inputs(entries: list[Any], rest: memoryview) -> Iterable[Tensor]:
    """Yields the inputs, each with its part of the bytes behind the JSON."""
    offset = 0
    for number, entry in enumerate(entries):
        name = f"Input {number}"
        fields = as_object(entry, name)
        parameters = _parameters(fields, name)
        if not is_text(fields.get("name")) or not is_text(fields.get("datatype")):
            raise RequestError(f"{name} has no name or no datatype.")
        shape = as_list(fields.get("shape"), f"{name}'s shape")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise RequestError(f"{name}'s shape is no list of whole numbers from 0 up.")
        data: list[Any] | memoryview
        if "data" in fields:
            data = as_list(fields["data"], f"{name}'s data")
            if "binary_data_size" in parameters:
                raise RequestError(f"{name} has both data and binary_data_size.")
        else:
            # A single input may leave its size out: it is all that is left.
            size = parameters.get("binary_data_size", len(rest) if len(entries) == 1 else None)
            if type(size) is not int or not 0 <= size <= len(rest) - offset:
                raise RequestError(
                    f"{name} has no data, and a binary_data_size that is {size!r:.40}.",
                    f"Behind the JSON are {len(rest) - offset} bytes for it.",
                )
            data = rest[offset : offset + size]
            offset += size
        yield Tensor(fields["name"], fields["datatype"], tuple(shape), parameters, data)
    if offset != len(rest):
        raise RequestError(
            f"Behind the JSON are {len(rest)} bytes, but the inputs take {offset}.",
            f"The header {LENGTH_HEADER} and each binary_data_size must add up to the body.",
        )


def _read_outputs(wanted: object, parameters: Json) -> Iterable[WantedOutput]:
    default = read_switch(parameters, "binary_data_output", default=False)
    if wanted is None or wanted == []:
        yield WantedOutput(None, default)
        return
    for number, entry in enumerate(as_list(wanted, "outputs")):
        name = f"Output {number}"
        fields = as_object(entry, name)
        own = _parameters(fields, name)
        if not is_text(fields.get("name")):
            raise RequestError(f"{name} has no name.")
        count = own.get("classification")
        if count is not None and (type(count) is not int or count < 1):
            raise RequestError(f"{name}'s classification is {count!r:.40}; 1 is the least.")
        yield WantedOutput(fields["name"], read_switch(own, "binary_data", default=default), count)


def _output_to_json(output: OutputTensor) -> Json:
    fields: Json = {
        "name": output.name,
        "datatype": output.datatype,
        "shape": list(output.shape),
    }
    if isinstance(output.data, bytes):
        return fields | {"parameters": {"binary_data_size": len(output.data)}}
    return fields | {"data": output.data}


def _parameters(fields: Json, name: str) -> Json:
    parameters = as_object(fields.get("parameters", {}), f"{name}'s parameters")
    if "shared_memory_region" in parameters:
        raise NotSupportedError("There is no shared memory here.", "Send the tensor itself.")
    return parameters
