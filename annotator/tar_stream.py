"""A tar read as a stream, which tells damage and truncation from the end of the archive."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Self, cast

from annotator.errors import AnnotatorError, ShardError

DAMAGE = (tarfile.TarError, EOFError, zlib.error, ValueError)
"""What `tarfile` raises on broken archives; a broken connection is a ShardError instead."""
MAX_EXTENSION_BYTES = 1 << 20
"""A longer pax header or long name is taken for damage: tarfile would read it into memory."""
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_BUFFER = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"
# Raised by tarfile since Python 3.0, but unknown to typeshed.
_ZeroBlock: type[tarfile.HeaderError] = tarfile.EOFHeaderError  # type: ignore[attr-defined]
_NoHeader: type[tarfile.HeaderError] = tarfile.InvalidHeaderError  # type: ignore[attr-defined]
_CutHeader: type[tarfile.HeaderError] = tarfile.TruncatedHeaderError  # type: ignore[attr-defined]
_CutExtension: type[tarfile.HeaderError] = tarfile.SubsequentHeaderError  # type: ignore[attr-defined]


class TarBytes(io.RawIOBase):
    """The uncompressed bytes of a .tar or .tar.gz, told apart by their first bytes.

    ShardError: the stream is empty, begins with no tar header, or fails while being read.
    `gzip_fault` says what is wrong with the compression; the bytes then end there.
    """

    gzip_fault: str | None = None

    def __init__(self, stream: IO[bytes], address: str) -> None:
        plain = io.BufferedReader(_Guarded(stream, address), _BUFFER)
        zipped = plain.peek(2)[:2] == _GZIP_MAGIC
        self._read_some = gzip.GzipFile(fileobj=plain).read1 if zipped else plain.read1
        self._ahead = self._first_block()
        _check_first_block(self._ahead, address)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes, fewer only at the end."""
        pieces, missing = [self._ahead[:size]], size - len(self._ahead[:size])
        self._ahead = self._ahead[size:]
        while missing > 0 and (piece := self._read_piece(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def _first_block(self) -> bytes:
        self._ahead = b""
        return self.read(tarfile.BLOCKSIZE)

    def _read_piece(self, size: int) -> bytes:
        try:
            return self._read_some(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.gzip_fault = str(error)
            return b""


class _Guarded(io.RawIOBase):
    """A failing disk or connection is no damage to set aside: the shard has to be read again."""

    def __init__(self, stream: IO[bytes], address: str) -> None:
        self._stream = stream
        self._address = address

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # BufferedReader's
        try:
            piece = self._stream.read(len(buffer))
        except AnnotatorError:
            raise
        except Exception as error:
            raise ShardError(f"reading {self._address} failed: {error!r}; run again") from error
        buffer[: len(piece)] = piece
        return len(piece)


class Member:
    """One entry of the archive; `read` before the next one is taken, or never."""

    def __init__(self, archive: "Archive", header: tarfile.TarInfo) -> None:
        self._archive = archive
        self._header = header
        self.name = header.name
        self.size = header.size
        self.is_folder = header.isdir()
        self.is_plain_file = header.isreg() and not header.issparse()

    def read(self) -> bytes:
        content = self._archive.extractfile(self._header)
        assert content is not None, "read() is for plain files"
        return content.read()


class Archive(tarfile.TarFile):
    """Reads on after damage and after an early end, and puts both into `notes`: kind, detail."""

    notes: list[tuple[str, str]]

    tarinfo: type[tarfile.TarInfo]
    members: list[tarfile.TarInfo]

    def __init__(self, *args: object, **kwargs: object) -> None:
        self._zero_blocks = 0
        self._damaged_blocks = 0
        self._cut_header = False
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    @classmethod
    def over(cls, source: TarBytes, notes: list[tuple[str, str]]) -> Self:
        archive = cls.open(
            fileobj=cast(IO[bytes], source),
            mode="r|",
            tarinfo=_Header,
            ignore_zeros=True,
            encoding="utf-8",
            errors="replace",
        )
        archive.notes = notes
        return archive

    def read_members(self) -> Iterator[Member]:
        """Every member; those of DAMAGE are raised where the archive cannot be followed further."""
        while (header := self.next()) is not None:
            self.members.clear()  # tarfile would keep every header
            self._note_damage()
            if self._zero_blocks:
                detail = f"members after the end of the archive were read too, from {header.name!r}"
                self.notes.append(("data_after_end", detail))
                self._zero_blocks = 0
            yield Member(self, header)
        self._note_damage()

    @property
    def ending(self) -> str | None:
        """What is wrong with the end, once all members were read; None for a proper end."""
        if self._zero_blocks:
            return None
        if self._cut_header:
            return "cut off inside a header"
        return "cut off between two members (no end-of-archive blocks)"

    def note_fault(self, fault: tarfile.HeaderError) -> None:
        """Called by the header reader, because `next` keeps it to itself."""
        self._zero_blocks += isinstance(fault, _ZeroBlock)
        self._damaged_blocks += isinstance(fault, _NoHeader | _CutExtension)
        self._cut_header |= isinstance(fault, _CutHeader)

    def _note_damage(self) -> None:
        if self._damaged_blocks:
            detail = (
                f"{self._damaged_blocks} blocks of {tarfile.BLOCKSIZE} bytes before offset "
                f"{self.offset} are no tar header: a member may be lost here"
            )
            self.notes.append(("damaged", detail))
            self._damaged_blocks = 0


class _Header(tarfile.TarInfo):
    """Reports why a block is no header: `TarFile.next` takes most damage for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > MAX_EXTENSION_BYTES):
            raise _NoHeader(f"a header of type {header.type!r} claims {header.size} bytes")
        return header

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except _CutExtension as fault:
            cast(Archive, tarfile).note_fault(fault)
            raise _NoHeader(str(fault)) from fault
        except (_ZeroBlock, _NoHeader, _CutHeader) as fault:
            cast(Archive, tarfile).note_fault(fault)
            raise


def _check_first_block(block: bytes, address: str) -> None:
    if not block:
        raise ShardError(f"the shard {address} is empty: 0 bytes; download or pack it again")
    if not block.strip(b"\0"):
        return
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except tarfile.HeaderError:
        kind = "a web page" if block.lstrip()[:1] == b"<" else "something else"
        raise ShardError(
            f"the shard {address} is no tar (nor .tar.gz) but {kind}: "
            f"it begins with {block[:16]!r}; download or pack it again"
        ) from None
