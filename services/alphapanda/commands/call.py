"""`alphapanda call METHOD [JSON]`: any RPC, without grpcurl."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

import click
import grpc
from google.protobuf import descriptor, json_format, message_factory
from google.protobuf.message import Message

from alphapanda.commands.asking import renewed_after
from alphapanda.commands.console import USAGE, fail, out
from alphapanda.commands.finding import EVERY, Target, find_services, target_option, why_no_answer
from alphapanda.contract.catalogue import service_descriptors
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.mesh.channel import secured_channel
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity

ANSWER_SECONDS = 10.0
_CANCEL_AGAIN_SECONDS = 0.5


def methods() -> Mapping[str, descriptor.MethodDescriptor]:
    """Every RPC, by "PortfolioService/GetPortfolio"."""
    return {
        f"{service.name}/{method.name}": method
        for service in service_descriptors()
        for method in service.methods
    }


def find_method(name: str) -> descriptor.MethodDescriptor:
    """Finds an RPC by its name: with or without package, with "/" or ".", or the method's name alone.

    Raises:
        UnknownName: there is none, or several services have a method of that name.
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
    """Finds an RPC by its name and parses its request.

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
    address: str,
    method: descriptor.MethodDescriptor,
    request: Message,
    timeout: float | None,
    security: ChannelSecurity = PLAINTEXT,
) -> AsyncIterator[Message]:
    """Yields the answer of an RPC, or each message of a watch as it arrives.

    Args:
        address: host:port.
        method: the RPC.
        request: its request.
        timeout: deadline in seconds; None for a watch, which has no end of its own.
        security: how to connect.
    """
    path = f"/{method.containing_service.full_name}/{method.name}"
    encode = type(request).SerializeToString
    decode = message_factory.GetMessageClass(method.output_type).FromString
    async with secured_channel(address, (), (), security) as channel:
        if method.server_streaming:
            async for message in channel.unary_stream(path, encode, decode)(request, timeout=timeout):
                yield message
        else:
            yield await channel.unary_unary(path, encode, decode)(request, timeout=timeout)


async def _called(
    target: Target, method: descriptor.MethodDescriptor, request: Message, timeout: float | None
) -> None:
    found = await find_services(target)
    names = {full_name: found[service] for service, full_name in EVERY.items()}
    address = names.get(method.containing_service.full_name, target.first)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.set)
    printing = asyncio.create_task(_print(address, method, request, timeout, target))
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait([printing, asked], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    while not printing.done():  # a message that comes at the same moment may swallow a cancellation
        printing.cancel()
        await asyncio.wait([printing], timeout=_CANCEL_AGAIN_SECONDS)
    if not printing.cancelled() and isinstance(error := printing.exception(), grpc.aio.AioRpcError):
        if not stopping.is_set():
            path = f"/{method.containing_service.full_name}/{method.name}"
            fail(why_no_answer(target, address, error, path, request))
    elif not printing.cancelled():
        printing.result()


async def _print(
    address: str,
    method: descriptor.MethodDescriptor,
    request: Message,
    timeout: float | None,
    target: Target,
) -> None:
    try:
        await _print_once(address, method, request, timeout, target.security)
    except grpc.aio.AioRpcError as error:
        if not renewed_after(error, target):
            raise
        await _print_once(address, method, request, timeout, target.security)


async def _print_once(
    address: str,
    method: descriptor.MethodDescriptor,
    request: Message,
    timeout: float | None,
    security: ChannelSecurity,
) -> None:
    async for message in invoke(address, method, request, timeout, security):
        out.print_json(json_format.MessageToJson(message))


@click.command()
@click.argument("method")
@click.argument("body", metavar="[JSON]", default="{}")
@target_option
@click.option("--timeout", type=float, help="seconds to wait  [default: 10; a watch goes on until Ctrl-C]")
def call(method: str, body: str, target: Target, timeout: float | None) -> None:
    """Call an RPC, such as PortfolioService/GetPortfolio '{"broker": "paper"}'; a watch prints message by message."""
    try:
        found, request = prepared(method, body)
    except InvalidInput as error:
        fail(str(error), USAGE)
    if timeout is None and not found.server_streaming:
        timeout = ANSWER_SECONDS
    with suppress(KeyboardInterrupt):  # before the signal handler is installed
        asyncio.run(_called(target, found, request, timeout))
