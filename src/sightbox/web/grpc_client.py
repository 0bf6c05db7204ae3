"""A client of the Open Inference Protocol over gRPC, as small as `sightbox verify` needs it."""

from importlib.resources import files

import grpc
from google.protobuf.message_factory import GetMessageClass

from sightbox.errors import BackendError
from sightbox.web.dialects.tensors import pack_elements
from sightbox.web.grpc_service import SERVICE
from sightbox.web.proto import load_service


def first_class(address: str, model: str, photo: bytes, seconds: float) -> int:
    """Returns the number of the class that a server names first.

    Args:
        address: Host and port.
        model: Name of the model.
        photo: An image file.
        seconds: How long it may take.

    Raises:
        BackendError: The server refused, or could not be reached.
    """
    text = files("sightbox.web").joinpath("open_inference_grpc.proto").read_text("utf-8")
    method = load_service(text, SERVICE).methods_by_name["ModelInfer"]
    asked = GetMessageClass(method.input_type)(model_name=f"{model}_image")
    asked.inputs.add(name="images", datatype="BYTES", shape=[1])
    asked.raw_input_contents.append(pack_elements([photo]))
    asked.outputs.add(name="probabilities").parameters["classification"].int64_param = 1
    # Or a proxy of the environment would be asked for the way to this machine.
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/{method.name}",
            request_serializer=type(asked).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        try:
            answer = call(asked, timeout=seconds)
        except grpc.RpcError as error:
            raise BackendError(f"gRPC answered {error}.") from error
    # An element has its length before it, 4 bytes; it is value:index:label.
    return int(answer.raw_output_contents[0][4:].split(b":")[1])
