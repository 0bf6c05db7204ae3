"""Message classes made at run time from the text of a ``.proto`` file, without its compiler.

As much of the language is read as the Open Inference Protocol is written in: messages in messages,
scalars, ``repeated``, ``map`` and ``oneof``, and methods without streams.
Source: protobuf.dev, Language Guide (proto 3), and ``descriptor.proto``.
"""

import re
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto as File
from google.protobuf.descriptor_pool import DescriptorPool

_COMMENT = re.compile(r"//.*")

_STATEMENT = re.compile(
    r"""\s* (?: syntax \s*=\s* "proto3" ; | package \s+ (?P<package>\w+) ;
    | (?P<block>message|service|oneof) \s+ (?P<title>\w+) \s* {
    | rpc \s+ (?P<method>\w+) \s*\(\s* (?P<input>\w+) \s*\)\s* returns
        \s*\(\s* (?P<output>\w+) \s*\)\s* {\s*}
    | (?: (?P<repeated>repeated)\s+ | (?P<map>map\s*<\s*string\s*,)\s* )?
        (?P<kind>\w+) (?(map)\s*>) \s+ (?P<name>\w+) \s*=\s* (?P<number>\d+) ;
    | (?P<end>}) ) \s*""",
    re.VERBOSE,
)


def load_service(text: str, name: str) -> Any:  # noqa: ANN401 - protobuf has no types
    """Returns the descriptor of a service: its ``methods`` and their messages.

    It lives in a pool of its own, beside other copies of the same file, such as a client's.

    Args:
        text: The whole file.
        name: Name of the service, with its package.

    Raises:
        ValueError: The file has what is not read here; tells where.
    """
    text, offset = _COMMENT.sub("", text), 0
    file = File(name="service.proto", syntax="proto3")
    blocks: list[Any] = [file]
    while offset < len(text):
        if (found := _STATEMENT.match(text, offset)) is None:
            raise ValueError(text[offset : offset + 40])
        _read(found.groupdict(), file, blocks)
        offset = found.end()
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(name)


def _read(found: dict[str, Any], file: Any, blocks: list[Any]) -> None:  # noqa: ANN401 - likewise
    """Adds a statement to the innermost open block; a ``oneof`` has its message there twice."""
    block = blocks[-1]
    if found["package"]:
        file.package = found["package"]
    elif found["block"] == "oneof":
        block.oneof_decl.add(name=found["title"])
        blocks.append(block)
    elif found["block"] == "service":
        blocks.append(file.service.add(name=found["title"]))
    elif found["block"]:
        nested = file.message_type if block is file else block.nested_type
        blocks.append(nested.add(name=found["title"]))
    elif found["method"]:
        types = {"input_type": found["input"], "output_type": found["output"]}
        block.method.add(name=found["method"], **types)
    elif found["name"]:
        kind, many = found["kind"], found["map"] or found["repeated"]
        more = {"label": Field.LABEL_REPEATED if many else Field.LABEL_OPTIONAL}
        if found["map"]:
            # A map is a repeated message of its keys and values.
            entry = block.nested_type.add(name=f"{found['name'].title()}Entry")
            entry.options.map_entry = True
            _add_field(entry, "string", "key", 1, label=Field.LABEL_OPTIONAL)
            _add_field(entry, kind, "value", 2, label=Field.LABEL_OPTIONAL)
            kind = entry.name
        if len(blocks) > 1 and blocks[-2] is block:
            more["oneof_index"] = len(block.oneof_decl) - 1
        _add_field(block, kind, found["name"], int(found["number"]), **more)
    elif found["end"]:
        blocks.pop()


def _add_field(message: Any, kind: str, name: str, number: int, **more: int) -> None:  # noqa: ANN401 - likewise
    scalar = f"TYPE_{kind.upper()}"
    if scalar in Field.Type.keys():  # noqa: SIM118 - it is no dict
        message.field.add(name=name, number=number, type=Field.Type.Value(scalar), **more)
    else:
        message.field.add(name=name, number=number, type=Field.TYPE_MESSAGE, type_name=kind, **more)
