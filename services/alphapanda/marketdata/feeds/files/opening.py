"""Opens data files: plain, .gz or .zip; tells text from JSON and Parquet by content."""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final
from zlib import error as ZlibError  # noqa: N812 - an exception, whatever zlib calls it

from alphapanda.domain.errors import InvalidInput
from alphapanda.marketdata.core.recorded.arrow import pyarrow

HEAD_BYTES: Final = 1 << 18
READABLE: Final = "a readable file of bars or ticks: CSV or JSON, plain, .gz or .zip, or Parquet"
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_BOMS_32: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_SPREADSHEET: Final = "xl/workbook.xml"


class OtherEncoding(Exception):
    """A text is neither in UTF-8 nor in UTF-16, but in the encoding named."""


@contextmanager
def unpacked(file: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Opens a file for reading, and unpacks it if it is packed.

    Raises:
        InvalidInput: it can't be read, or a .zip has not one file in it.
    """
    with readable(file), file.open("rb") as content:
        magic = content.read(4)
        content.seek(0)
        if magic.startswith(_GZIP):
            with gzip.open(content) as stream:
                yield stream
        elif magic == _ZIP:
            with zipfile.ZipFile(content) as archive, archive.open(_only(file, archive)) as stream:
                yield stream
        else:
            yield content


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Converts errors of reading a file to one that names the file.

    Raises:
        InvalidInput: the file doesn't exist, is cut short, or can't be decoded.
    """
    try:
        yield
    except InvalidInput:
        raise
    except UnicodeDecodeError as error:
        raise in_other_encoding(file, "CP1252", error.object[error.start]) from None
    except OtherEncoding as error:
        raise in_other_encoding(file, str(error)) from None
    except (OSError, EOFError, ZlibError, zipfile.BadZipFile) as error:
        raise unreadable(file, error) from None


def in_other_encoding(file: Path, encoding: str, byte: int | None = None) -> InvalidInput:
    """The error for a text in another encoding, which names the remedy.

    Args:
        file: the file.
        encoding: what it seems to be in.
        byte: the first byte that isn't UTF-8; None: not told.
    """
    shown = "" if byte is None else f", for it has a byte {byte:#04x}"
    plain = file.name.removesuffix(".gz")
    source = f" {file.name}" if plain == file.name else ""
    unpack = "" if source else f"gunzip -c {file.name} | "
    remedy = f"save it as UTF-8, or `{unpack}iconv -f {encoding} -t UTF-8{source} > utf8-{plain}`"
    seems = {"CP1252": "cp1252 (Windows)"}.get(encoding, encoding)
    return InvalidInput("file", file, f"text in UTF-8 or UTF-16; it seems to be {seems}{shown}: {remedy}")


def unreadable(file: Path, error: Exception) -> InvalidInput:
    """The error for a file that can't be read."""
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return InvalidInput("file", file, f"{READABLE} ({why.splitlines()[0] if why else type(error).__name__})")


def head_of(file: Path) -> bytes:
    """The first bytes of a file, unpacked.

    Raises:
        InvalidInput: it can't be read.
    """
    with unpacked(file) as content:
        return content.read(HEAD_BYTES)


def encoding_of(head: bytes) -> str:
    """The encoding of a text by its first bytes: UTF-8 or UTF-16.

    Raises:
        OtherEncoding: it is UTF-32.
    """
    if head.startswith(_BOMS_32) or (len(head) >= 40 and head[:40].count(0) == 30):  # noqa: PLR2004 - Latin text
        raise OtherEncoding("UTF-32")
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    if head[1:40:2].count(0) > 10:  # noqa: PLR2004 - every other byte of Latin text is 0
        return "utf-16-le"
    if head[0:40:2].count(0) > 10:  # noqa: PLR2004
        return "utf-16-be"
    return "utf-8"


def decoded_head(head: bytes) -> list[str]:
    """The first lines of a text, without their ends.

    Raises:
        UnicodeDecodeError: it is neither UTF-8 nor UTF-16.
    """
    decoder = codecs.getincrementaldecoder(encoding_of(head))()
    return decoder.decode(head).removeprefix("\ufeff").splitlines()


def text_lines(file: Path, encoding: str) -> Iterator[str]:
    """The lines of a text file.

    Raises:
        InvalidInput: it can't be read.
    """
    with unpacked(file) as content, readable(file), io.TextIOWrapper(content, encoding=encoding) as lines:
        yield from lines


def arrow_stream(content: IO[bytes] | gzip.GzipFile) -> object:
    """A stream that pyarrow reads from Python's."""
    return pyarrow().PythonFile(content, mode="r")


def _only(file: Path, archive: zipfile.ZipFile) -> str:
    names = [
        one.filename
        for one in archive.infolist()
        if not one.is_dir() and not one.filename.startswith("__MACOSX")
    ]
    if _SPREADSHEET in names:
        raise InvalidInput("file", file, f"{READABLE} (this is a spreadsheet: save it as CSV)")
    if len(names) != 1:
        raise InvalidInput(
            "file", file, f"a .zip with one file in it ({', '.join(names[:5]) or 'it is empty'})"
        )
    return names[0]
