"""Finds every service of the contract in the generated code, so that no list has to be maintained."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

from google.protobuf.descriptor import ServiceDescriptor

import panda


def service_descriptors() -> Iterator[ServiceDescriptor]:
    """Yields the services, by package and name."""
    for module in sorted(found.name for found in walk_packages(panda.__path__, "panda.")):
        if module.endswith("_pb2"):
            yield from import_module(module).DESCRIPTOR.services_by_name.values()
