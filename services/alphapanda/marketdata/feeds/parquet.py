"""What Parquet files of frames and of data have in common; pyarrow is imported only when such a file is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from alphapanda.domain.errors import InvalidInput
from alphapanda.marketdata.core.recorded import arrow

SUFFIX: Final = ".parquet"
RECORDING_KEY: Final = b"alphapanda.recording"
"""Key in the metadata of a Parquet schema that marks a recording of frames (feeds.recording)."""


def pyarrow() -> Any:
    """Imports pyarrow with pyarrow.parquet.

    Raises:
        InvalidInput: pyarrow isn't installed.
    """
    arrow.parquet()
    return arrow.pyarrow()


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Converts errors of reading a file to one that names the file.

    Raises:
        InvalidInput: the file doesn't exist, is cut short, or isn't a Parquet file.
    """
    try:
        yield
    except (OSError, pyarrow().ArrowException) as error:
        why = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise InvalidInput("file", file, f"a whole, readable Parquet file ({why})") from None


def whole_decimals(cells: Any) -> NDArray[np.int64]:
    """The unscaled values of a decimal128 column of at most 18 digits, without empty cells."""
    words = np.frombuffer(cells.buffers()[1], dtype=np.int64).reshape(-1, 2)
    return words[cells.offset : cells.offset + len(cells), 0]


def is_recording(file: Path) -> bool:
    """Whether a file is a recording of frames.

    Raises:
        InvalidInput: its name ends with .parquet and it can't be read.
    """
    if file.suffix != SUFFIX:
        return False
    with readable(file):
        metadata = pyarrow().parquet.read_schema(file).metadata or {}
    return RECORDING_KEY in metadata
