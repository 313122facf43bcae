"""`alphapanda call METHOD [JSON]`: any RPC, without grpcurl."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import click
import grpc
from google.protobuf import descriptor, json_format, message_factory
from google.protobuf.message import Message

from alphapanda.commands.console import USAGE, fail, out
from alphapanda.commands.finding import SERVICES, Target, find_services, target_option, why_no_answer
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.mesh.catalogue import service_descriptors


def methods() -> Mapping[str, descriptor.MethodDescriptor]:
    """Every RPC, by "PortfolioService/GetPortfolio"."""
    return {
        f"{service.name}/{method.name}": method
        for service in service_descriptors()
        for method in service.methods
    }


def find_method(name: str) -> descriptor.MethodDescriptor:
    """The RPC somebody named: with or without the package, with "/" or ".", or by its own name alone.

    Raises:
        UnknownName: there is none, or the bare name is more than one's.
    """
    known = methods()
    short = "/".join(name.replace("/", ".").split(".")[-2:])
    by_own_name = [key for key in known if key.endswith(f"/{short}")]
    if short not in known and len(by_own_name) == 1:
        short = by_own_name[0]
    if short not in known:
        raise UnknownName("method", name, known)
    return known[short]


def prepared(name: str, body: str) -> tuple[descriptor.MethodDescriptor, Message]:
    """The RPC somebody named and its request.

    Raises:
        InvalidInput: there is no such RPC, or the JSON isn't its request.
    """
    method = find_method(name)
    request = message_factory.GetMessageClass(method.input_type)()
    try:
        json_format.Parse(body, request)
    except json_format.ParseError as error:
        raise InvalidInput("JSON", body, f"a {method.input_type.name} ({error})") from None
    return method, request


async def invoke(
    address: str, method: descriptor.MethodDescriptor, request: Message, timeout: float
) -> Message:
    """The answer of one unary RPC."""
    answer = message_factory.GetMessageClass(method.output_type)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        result: Message = await stub(request, timeout=timeout)
        return result


async def _called(
    target: Target, method: descriptor.MethodDescriptor, request: Message, timeout: float
) -> Message:
    found = await find_services(target)
    names = {full_name: found[service] for service, full_name in SERVICES.items()}
    address = names.get(method.containing_service.full_name, target.first)
    try:
        return await invoke(address, method, request, timeout)
    except grpc.aio.AioRpcError as error:
        fail(why_no_answer(target, address, error))


@click.command()
@click.argument("method")
@click.argument("body", metavar="[JSON]", default="{}")
@target_option
@click.option("--timeout", default=10.0, show_default=True, help="seconds to wait")
def call(method: str, body: str, target: Target, timeout: float) -> None:
    """Call an RPC, such as PortfolioService/GetPortfolio '{"broker": "paper"}'."""
    try:
        found, request = prepared(method, body)
    except InvalidInput as error:
        fail(str(error), USAGE)
    answer = asyncio.run(_called(target, found, request, timeout))
    out.print_json(json_format.MessageToJson(answer))
