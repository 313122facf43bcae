"""Reflection under both of its names: v1, which today's tools ask for first, and v1alpha, which older ones know alone.

The library serves v1alpha. The two differ by the package's name only, so v1 is served by the same handlers, and its
descriptor is made of the other one's.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import Default
from grpc_reflection.v1alpha import reflection_pb2

ALPHA: Final = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name
V1: Final = "grpc.reflection.v1.ServerReflection"
NAMES: Final = (V1, ALPHA)


class MethodsToo:
    """The process's descriptors; the file of a method's name is found, too, so that one method can be described."""

    def __init__(self) -> None:
        self._pool = Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802
        """The file of a full name.

        Raises:
            KeyError: no file has it.
        """
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found = self._pool.FindServiceByName(service)
            return found.methods_by_name[method].containing_service.file


def under_both_names(
    services: Mapping[str, Mapping[str, grpc.RpcMethodHandler[Any, Any]]],
) -> dict[str, Mapping[str, grpc.RpcMethodHandler[Any, Any]]]:
    """These services' handlers, and those of v1alpha under the name of v1 where they are among them."""
    return {**services, **({V1: services[ALPHA]} if ALPHA in services else {})}


def know_v1() -> None:
    """Adds the descriptor of v1 to the process's own, so that it can be described, too."""
    pool = Default()
    name = "grpc/reflection/v1/reflection.proto"
    with suppress(KeyError):
        pool.FindFileByName(name)
        return
    made = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(made)
    made.name, made.package = name, "grpc.reflection.v1"
    for message in made.message_type:
        for field in (one for one in message.field if one.type_name):
            field.type_name = field.type_name.replace(".v1alpha.", ".v1.")
    for method in made.service[0].method:
        method.input_type = method.input_type.replace(".v1alpha.", ".v1.")
        method.output_type = method.output_type.replace(".v1alpha.", ".v1.")
    pool.AddSerializedFile(made.SerializeToString())
