"""Where shards are: patterns → addresses, over fsspec; never through a shell."""

import hashlib
import math
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

import fsspec
from braceexpand import braceexpand

from annotator.errors import AnnotatorError, MissingDependency, ShardError
from annotator.shard_ref import SCENES, ShardRef
from schemas.ids import canonical_json

MAX_SHARDS_PER_PATTERN = 1_000_000
_SUFFIX = re.compile(r"\.(tar|tar\.gz|tgz)$", re.IGNORECASE)
_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)")
_GLOB = re.compile(r"[*?\[]")
_WEB = ("http://", "https://")
_EXTRAS = {"s3": "s3", "s3a": "s3", "http": "http", "https": "http"}
_BLOCK = 1 << 20


def expand_shards(patterns: Sequence[str], base: Path) -> list[ShardRef]:
    """Shards in the order of the patterns, those of one glob sorted, each once.

    Patterns: fsspec URLs or paths (relative to `base`), with brace ranges and globs, or
    `scenes://…`. A remote address without a glob is not looked up here: `read_shard` says when it
    is missing. ShardError names a pattern that finds nothing and two shards of one name.
    """
    found: dict[str, ShardRef] = {}
    for pattern in patterns:
        for ref in _expand(pattern, base):
            other = found.setdefault(ref.name, ref)
            if other.url != ref.url:
                raise ShardError(
                    f"two shards are named {ref.name!r}: {other.address} and {ref.address}; "
                    "ids are made of the name, so rename one of them"
                )
    return list(found.values())


def ref_of(url: str) -> ShardRef:
    """The shard at exactly this address; ShardError where the address has no base name."""
    path = urlsplit(url).path if "://" in url else url
    name = _SUFFIX.sub("", path.rpartition("/")[2] or urlsplit(url).netloc)
    if not name or path.endswith("/"):
        raise ShardError(f"{url!r} names no shard: an address ends in a file name such as a-0.tar")
    return ShardRef(url, name)


def open_stream(ref: ShardRef) -> IO[bytes]:
    """The shard's bytes, for reading from start to end; ShardError says why not."""
    fs, path = _filesystem(ref.url)
    try:
        return cast(IO[bytes], fs.open(path, "rb"))
    except AnnotatorError:
        raise
    except FileNotFoundError:
        raise ShardError(f"there is no shard at {ref.address}") from None
    except IsADirectoryError:
        raise ShardError(_folder_sentence(ref.address)) from None
    except Exception as error:
        raise ShardError(f"the shard {ref.address} cannot be opened: {error}") from error


def fingerprint(ref: ShardRef) -> dict[str, Any]:
    """Identity of the content without reading it, as JSON.

    Local: size and mtime_ns. Remote: the ETag, else size and time of the last change. Where a
    server tells neither, the sha256 of the whole content.
    """
    if ref.url.startswith(SCENES):
        from annotator.scenes.source import scenes_fingerprint

        return scenes_fingerprint(ref)
    fs, path = _filesystem(ref.url)
    if _is_local(fs):
        return _local_fingerprint(ref, Path(path))
    identity = _remote_fingerprint(_info(ref, fs, path), ref.url)
    return identity or {"sha256": shard_sha256(ref)}


def shard_sha256(ref: ShardRef) -> str:
    """Hex sha256 of the bytes of the shard; of the fingerprint for a shard that is computed."""
    if ref.url.startswith(SCENES):
        return hashlib.sha256(canonical_json(fingerprint(ref)).encode()).hexdigest()
    digest = hashlib.sha256()
    with open_stream(ref) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _expand(pattern: str, base: Path) -> Iterator[ShardRef]:
    if pattern.startswith(SCENES):
        from annotator.scenes.source import expand_scenes

        yield from expand_scenes(pattern)
        return
    if pattern.startswith("pipe:") or pattern.strip() == "":
        raise ShardError(
            f"the shard pattern {pattern!r} is refused: shards are read from files and URLs "
            "(a path, s3://, https://), never through a shell"
        )
    for address in _expand_braces(pattern, base):
        fs, path = _filesystem(address if "://" in address else str(base / address))
        yield from _local(pattern, Path(path)) if _is_local(fs) else _remote(pattern, address, fs)


def _expand_braces(pattern: str, base: Path) -> list[str]:
    if "://" not in pattern:
        pattern = str(Path(pattern).expanduser())
        if (base / pattern).is_file():
            return [pattern]
    spans = [abs(int(last) - int(first)) + 1 for first, last in _RANGE.findall(pattern)]
    if math.prod(spans) > MAX_SHARDS_PER_PATTERN:
        raise ShardError(
            f"the shard pattern {pattern!r} names over {MAX_SHARDS_PER_PATTERN} shards"
        )
    try:
        return list(braceexpand(pattern))
    except ValueError:
        raise ShardError(f"the shard pattern {pattern!r} has a brace without its partner") from None


def _local(pattern: str, path: Path) -> Iterator[ShardRef]:
    if path.is_file():
        yield ref_of(str(path))
    elif path.is_dir():
        raise ShardError(_folder_sentence(pattern))
    elif _GLOB.search(str(path)):
        matches = sorted(fsspec.filesystem("file").glob(str(path)))
        if not matches:
            raise ShardError(f"the shard pattern {pattern!r} matches no file: {path}")
        yield from (ref_of(match) for match in matches if Path(match).is_file())
    else:
        raise ShardError(f"there is no shard at {path} (pattern {pattern!r})")


def _remote(pattern: str, address: str, fs: Any) -> Iterator[ShardRef]:
    wild = "*" in address if address.startswith(_WEB) else _GLOB.search(address)
    if not wild:
        yield ref_of(address)
        return
    try:
        matches = sorted(fs.unstrip_protocol(match) for match in fs.glob(address))
    except Exception as error:
        raise ShardError(f"the shard pattern {pattern!r} cannot be listed: {error}") from error
    if not matches:
        raise ShardError(f"the shard pattern {pattern!r} matches nothing")
    yield from map(ref_of, matches)


def _folder_sentence(where: str) -> str:
    return (
        f"{where} is a folder: name its shards ({where.rstrip('/')}/*.tar), "
        "or make some of its images with `annotator shards pack`"
    )


def _filesystem(url: str) -> tuple[Any, str]:
    protocol = url.partition("://")[0]
    try:
        return cast(tuple[Any, str], fsspec.core.url_to_fs(url))
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        how = f": pip install 'annotator[{extra}]'" if extra else f" ({error})"
        raise MissingDependency(f"reading {protocol}:// needs another package{how}") from error
    except ValueError as error:
        raise ShardError(f"the shard address {url!r} is not understood: {error}") from error
    except OSError as error:  # some file systems connect at once
        raise ShardError(f"the shard {ref_of(url).address} cannot be reached: {error}") from error


def _is_local(fs: Any) -> bool:
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def _local_fingerprint(ref: ShardRef, path: Path) -> dict[str, Any]:
    try:
        status = path.stat()
    except OSError as error:
        raise ShardError(f"the shard {ref.address} is not readable: {error.strerror}") from error
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _info(ref: ShardRef, fs: Any, path: str) -> dict[str, Any]:
    fs.invalidate_cache()
    try:
        return cast(dict[str, Any], fs.info(path))
    except FileNotFoundError:
        raise ShardError(f"there is no shard at {ref.address}") from None
    except Exception as error:
        raise ShardError(f"the shard {ref.address} cannot be looked up: {error}") from error


def _remote_fingerprint(info: dict[str, Any], url: str) -> dict[str, Any]:
    """Empty where there is no ETag and no date."""
    if etag := info.get("ETag") or info.get("etag"):
        return {"etag": str(etag).strip('"')}
    dates = (info.get(name) for name in ("LastModified", "last_modified", "mtime", "created"))
    changed = next((date for date in dates if date is not None), None)
    if changed is None and url.startswith(_WEB):
        changed = _last_modified(url)
    return {"size": info.get("size"), "changed": str(changed)} if changed is not None else {}


def _last_modified(url: str) -> str | None:
    """fsspec keeps no Last-Modified of a web server, so we ask for it."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, method="HEAD"), timeout=30
        ) as reply:
            return cast("str | None", reply.headers.get("Last-Modified"))
    except (urllib.error.URLError, TimeoutError):
        return None
