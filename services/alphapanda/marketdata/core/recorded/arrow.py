"""Imports pyarrow when a data file is read, not before; its arrays carry the cells of all kinds of files."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from alphapanda.domain.errors import InvalidInput

_NUMPY_KINDS: Final = {"double": "float64", "float": "float32", "halffloat": "float16"}


def pyarrow() -> Any:
    """Imports pyarrow.

    Raises:
        InvalidInput: pyarrow isn't installed.
    """
    return _imported("pyarrow")


def parquet() -> Any:
    """Imports pyarrow.parquet.

    Raises:
        InvalidInput: pyarrow isn't installed.
    """
    return _imported("pyarrow.parquet")


def compute() -> Any:
    """Imports pyarrow.compute.

    Raises:
        InvalidInput: pyarrow isn't installed.
    """
    return _imported("pyarrow.compute")


def text() -> Any:
    """Imports pyarrow.csv.

    Raises:
        InvalidInput: pyarrow isn't installed.
    """
    return _imported("pyarrow.csv")


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise InvalidInput(
            "file", "pyarrow", "pyarrow reads and writes data files: pip install alphapanda[embedded]"
        ) from None


def numbers_of(cells: Any) -> NDArray[Any]:
    """The values of an array of numbers without empty cells. pyarrow's own conversion would import pandas, if it is there."""
    kind = np.dtype(_NUMPY_KINDS.get(str(cells.type), str(cells.type)))
    return np.frombuffer(cells.buffers()[1] or b"", kind)[cells.offset : cells.offset + len(cells)]


def first_empty(cells: Any) -> int:
    """Index of the first empty cell."""
    return int(compute().index(cells.is_null(), True).as_py())
