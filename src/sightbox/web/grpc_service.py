"""The Open Inference Protocol v2 over gRPC, beside the same over REST.

Source: ``open_inference_grpc.proto`` of the KServe authors, which lies beside this file as it was
published. A request becomes the message of REST with its tensors as bytes, and goes the same way.
What clients may take of the server is bounded by the settings of HTTP, as far as gRPC can do that.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import grpc
import numpy as np
from flask import Flask
from google.protobuf.message_factory import GetMessageClass

import sightbox
from sightbox.errors import (
    BackendError,
    ModelNotFoundError,
    RequestError,
    SettingsError,
    SightboxError,
)
from sightbox.schema import Json, problem_to_json
from sightbox.settings import Settings
from sightbox.web.dialects.answers import sentence
from sightbox.web.dialects.inference import run_inference, using_surface
from sightbox.web.dialects.messages import InferenceRequest, take_apart
from sightbox.web.dialects.open_inference import counters_of
from sightbox.web.dialects.surfaces import VERSION, Surface, find_surface
from sightbox.web.dialects.tensors import BYTES, pack_elements
from sightbox.web.grpc_limits import SPARE_THREADS, Admission, Call, channel_options, most_calls
from sightbox.web.guard import check_token
from sightbox.web.proto import load_service
from sightbox.web.service import Service

SERVICE = "inference.GRPCInferenceService"

PROBES = frozenset({"ServerLive", "ServerReady"})
"""What needs no token, as over HTTP."""

EMPTY = PROBES | {"ServerMetadata"}
"""Whose messages are empty: these are answered beside any number of other calls."""

CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: {400, 415, 422},
    grpc.StatusCode.UNAUTHENTICATED: {401},
    grpc.StatusCode.NOT_FOUND: {404},
    grpc.StatusCode.RESOURCE_EXHAUSTED: {413},
    grpc.StatusCode.UNIMPLEMENTED: {501},
    grpc.StatusCode.UNAVAILABLE: {503},
    grpc.StatusCode.DEADLINE_EXCEEDED: {504},
}
"""The codes and the HTTP statuses that they stand for; INTERNAL stands for the rest."""

logger = logging.getLogger(__name__)


@contextmanager
def serving_grpc(app: Flask, settings: Settings) -> Iterator[str]:
    """Serves beside HTTP until the application drains, and gives host and port.

    Args:
        app: The application of `create_app`.
        settings: Address, limits, token and grace period.

    Raises:
        SettingsError: The address cannot be listened on.
    """
    draining = app.extensions["sightbox"].draining
    threads = most_calls(settings) + SPARE_THREADS
    with ThreadPoolExecutor(threads, thread_name_prefix="grpc") as pool:
        server = grpc.server(
            pool,
            [_handlers(app)],
            options=channel_options(settings),
            maximum_concurrent_rpcs=threads,
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            port = server.add_insecure_port(f"{host}:{settings.grpc_port or 0}")
        except RuntimeError as error:
            wrong = f"Cannot listen on {host}:{settings.grpc_port} for gRPC."
            raise SettingsError(wrong, "Choose another port: --grpc-port.") from error
        # Takes no more calls when HTTP does not either, and finishes those it has.
        stop = threading.Thread(
            target=lambda: draining.wait() and server.stop(settings.grace).wait(),
            name="sightbox-grpc-stop",
        )
        server.start()
        stop.start()
        try:
            yield f"{host}:{port}"
        finally:
            draining.set()
            stop.join()


class Methods:
    """The methods of the protocol: each takes its request and gives the fields of its response."""

    def __init__(self, app: Flask) -> None:
        self.service: Service = app.extensions["sightbox"]
        self._counters = counters_of(app)

    def ServerLive(self, _: Call) -> Json:  # noqa: D102, N802 - the protocol's words
        return {"live": True}

    def ServerReady(self, _: Call) -> Json:  # noqa: D102, N802 - likewise
        try:
            self.service.check_ready()
        except SightboxError:
            return {"ready": False}
        return {"ready": True}

    def ModelReady(self, call: Call) -> Json:  # noqa: D102, N802 - likewise
        try:
            self.service.residents.check(self._find(call.asked).model)
        except (ModelNotFoundError, BackendError):
            return {"ready": False}
        return {"ready": True}

    def ServerMetadata(self, _: Call) -> Json:  # noqa: D102, N802 - likewise
        extensions = ["classification"]
        return {"name": "sightbox", "version": sightbox.__version__, "extensions": extensions}

    def ModelMetadata(self, call: Call) -> Json:  # noqa: D102, N802 - likewise
        surface = self._find(call.asked)
        return surface.metadata(self.service.residents.card(surface.model))

    def _find(self, asked: Any) -> Surface:  # noqa: ANN401 - protobuf has no types
        """Finds what is named; it need not be loaded for that."""
        return find_surface(asked.name, asked.version or VERSION, self.service.names)

    def ModelInfer(self, call: Call) -> Json:  # noqa: D102, N802 - likewise
        asked = call.asked
        name, version = asked.model_name, asked.model_version or VERSION
        with using_surface(self.service, name, version) as found:
            identity, outputs = run_inference(
                self.service.settings,
                call.patience,
                self._counters.of(name),
                found,
                read=lambda: read_request(asked),
                write=lambda identity, outputs: (identity, outputs),
            )
        return {
            "model_name": name,
            "model_version": version,
            "id": identity,
            "outputs": [
                {"name": output.name, "datatype": output.datatype, "shape": output.shape}
                for output in outputs
            ],
            "raw_output_contents": [output.data for output in outputs],
        }


def read_request(asked: Any) -> InferenceRequest:  # noqa: ANN401 - protobuf has no types
    """Takes a ``ModelInferRequest`` apart, as if it had come over REST with tensors as bytes.

    Raises:
        RequestError: It is no message of the protocol; says where.
        NotSupportedError: It refers to shared memory.
    """
    contents = list(asked.raw_input_contents) or [_to_bytes(tensor) for tensor in asked.inputs]
    typed = any(tensor.HasField("contents") for tensor in asked.inputs)
    if len(contents) != len(asked.inputs) or (typed and asked.raw_input_contents):
        raise RequestError("There are raw_input_contents, but not for each input and nothing else.")
    inputs = [
        {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        | {"parameters": _parameters(tensor) | {"binary_data_size": len(data)}}
        for tensor, data in zip(asked.inputs, contents, strict=True)
    ]
    outputs = [
        {"name": output.name, "parameters": _parameters(output) | {"binary_data": True}}
        for output in asked.outputs
    ]
    parameters = _parameters(asked) | {"binary_data_output": True}
    message = {"inputs": inputs, "outputs": outputs, "parameters": parameters}
    return take_apart(message | {"id": asked.id or None}, memoryview(b"".join(contents)))


def _parameters(message: Any) -> Json:  # noqa: ANN401 - likewise
    return {
        name: getattr(value, choice)
        for name, value in message.parameters.items()
        if (choice := value.WhichOneof("parameter_choice"))
    }


def _to_bytes(tensor: Any) -> bytes:  # noqa: ANN401 - likewise
    """Returns the typed contents of a tensor as the bytes of its type."""
    if tensor.datatype == BYTES:
        return pack_elements(tensor.contents.bytes_contents)
    if tensor.datatype == "FP32":
        return np.fromiter(tensor.contents.fp32_contents, "<f4").tobytes()
    levels = np.fromiter(tensor.contents.uint_contents, np.uint32)
    if (levels > 255).any():
        raise RequestError(f"The input {tensor.name} has values beyond those of UINT8.")
    return levels.astype(np.uint8).tobytes()


def _handlers(app: Flask) -> Any:  # noqa: ANN401 - gRPC has no types
    text = files("sightbox.web").joinpath("open_inference_grpc.proto").read_text("utf-8")
    answers = Methods(app)
    settings = answers.service.settings
    admission = Admission(settings)
    found = {}
    for method in load_service(text, SERVICE).methods:
        # As a stream of requests, a call is seen before its request has come whole.
        found[method.name] = grpc.stream_unary_rpc_method_handler(
            _guarded(method.name, getattr(answers, method.name), admission, settings.token),
            GetMessageClass(method.input_type).FromString,
            lambda fields, kind=method.output_type: GetMessageClass(kind)(
                **fields
            ).SerializeToString(),
        )
    return grpc.method_handlers_generic_handler(SERVICE, found)


def _guarded(
    name: str, answer: Callable[[Call], Json], admission: Admission, token: str | None
) -> Any:  # noqa: ANN401 - likewise
    """Returns a method behind the token, whose errors become codes."""

    def handle(requests: Iterator[Any], context: Any) -> Any:  # noqa: ANN401 - likewise
        try:
            if token is not None and name not in PROBES:
                check_token(dict(context.invocation_metadata()).get("authorization", ""), token)
            if name in EMPTY:
                return answer(Call(None))
            with admission.admitted(requests, context) as call:
                return answer(call)
        except SightboxError as error:
            refusal = error
        except Exception:
            # The edge of a request: what no one foresaw is logged and told without its trace.
            logger.exception("A call failed.")
            refusal = SightboxError("The server has met an error of its own; its log has more.")
        fitting = [code for code, statuses in CODES.items() if refusal.status in statuses]
        code = fitting[0] if fitting else grpc.StatusCode.INTERNAL
        return context.abort(code, sentence(problem_to_json(refusal)))

    return handle
