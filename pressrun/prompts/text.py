"""A prompt file's bytes, and its lines of text.

Knows nothing of rows, columns or formats.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pressrun.location import Location
from pressrun.prompts.problems import ProblemList

BLOCK_BYTES = 2**20
SAVE_AS_UTF8 = "save the file as UTF-8 (in spreadsheets: 'CSV UTF-8')"


class UnreadableFile(Exception):
    """A file that cannot be opened; the message is the remedy."""


@dataclass(frozen=True, slots=True)
class PromptBytes:
    """A file of prompts, not yet opened.

    Parameters
    ----------
    location : Location
        Where it lies.
    gzipped : bool
        Whether it is packed.
    """

    location: Location
    gzipped: bool = False

    @contextmanager
    def open(self) -> Iterator[io.BufferedReader]:
        """Open the file, unpacked, at its start.

        Raises
        ------
        UnreadableFile
            When it is missing, forbidden, or not what its name says.
        """
        with ExitStack() as stack:
            try:
                filesystem, path = self.location.open_filesystem()
                raw = stack.enter_context(filesystem.open(path, "rb"))
                plain = stack.enter_context(gzip.GzipFile(fileobj=raw)) if self.gzipped else raw
                stream = stack.enter_context(io.BufferedReader(plain, BLOCK_BYTES))
                stream.peek(1)
            except Exception as error:
                # From None: storage libraries quote URLs, and URLs may hold keys.
                raise UnreadableFile(_remedy(error)) from None
            yield stream


def text_lines(source: PromptBytes, problems: ProblemList) -> Iterator[str]:
    """Yield the lines of a UTF-8 file with their line ends; stop early, with a problem noted, where it is unreadable.

    Parameters
    ----------
    source : PromptBytes
        The file.
    problems : ProblemList
        Takes what makes the file unreadable.

    Yields
    ------
    str
        One line, ending in LF, CRLF or CR except perhaps the last.
    """
    try:
        yield from _decoded_lines(source, problems)
    except UnreadableFile as error:
        problems.add(0, "", "", str(error))
    except (OSError, EOFError, zlib.error) as error:
        problems.add(0, "", "", _remedy(error))


def _decoded_lines(source: PromptBytes, problems: ProblemList) -> Iterator[str]:
    """Yield the lines up to the first byte that is not UTF-8."""
    try:
        with source.open() as stream:
            head = stream.peek(2)[:2]
            if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in head:
                problems.add(0, "", "", f"the text is UTF-16 or binary, not UTF-8; {SAVE_AS_UTF8}")
                return
            with io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
                yield from text
    except UnicodeDecodeError:
        problems.add(0, "", "", _bad_byte(source))


def _bad_byte(source: PromptBytes) -> str:
    """Return where the first byte stands that is not UTF-8; reads the file again up to there."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, line = 0, 1
    with source.open() as stream:
        while block := stream.read(BLOCK_BYTES):
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                where = offset - held + error.start
                line += block.count(b"\n", 0, max(0, error.start - held))
                return f"byte {where:,} (line {line:,}) is 0x{error.object[error.start]:02X}, not UTF-8; {SAVE_AS_UTF8}"
            offset += len(block)
            line += block.count(b"\n")
    return f"byte {offset:,} (line {line:,}) is not UTF-8, the file ends within a character; {SAVE_AS_UTF8}"


def _remedy(error: Exception) -> str:
    """Return what to do about a file that cannot be read, without the text of `error`, which may hold secrets."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file or bucket; check the path"
    if isinstance(error, IsADirectoryError):
        return "is a folder; name a file in it"
    if isinstance(error, PermissionError):
        return "access is denied; check the credentials and rights in the storage options"
    if isinstance(error, gzip.BadGzipFile | EOFError | zlib.error):
        return "the gzip data is damaged or cut short; pack the file again"
    if isinstance(error, ImportError) or f"{error}".startswith("Protocol not known"):
        return "this kind of URL needs an fsspec driver that is not installed; install it or copy the file here"
    name = type(error).__name__
    return f"cannot be read ({name}); check the URL, the network and the storage options"
