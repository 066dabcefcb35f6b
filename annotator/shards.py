"""WebDataset shards, read strictly: one pass, one sample in memory, nothing lost in silence.

Keys and suffixes are WebDataset's: `a/b.v1.JPG` has the key `a/b` and the suffix `v1.jpg`. `./` and
a leading `/` are dropped from keys, `..` becomes `__`.

The members of a sample stand together. Where they do not, a group without an image waits for its
image (all sidecars first, then all images: read as meant); a member that comes after its sample was
handed out is set aside as `duplicate_key` with its text (all images first, then all sidecars).

Kinds of Problem: truncated · damaged · data_after_end · no_samples · duplicate_member ·
duplicate_key · unusable_name · not_a_file · pickle · too_large.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

from annotator.shard_addresses import (
    expand_shards,
    fingerprint,
    open_stream,
    ref_of,
    shard_sha256,
)
from annotator.shard_ref import SCENES, ShardRef
from annotator.tar_stream import DAMAGE, Archive, Member, TarBytes
from schemas.samples import IMAGE_SUFFIXES, Problem, Sample

__all__ = [
    "ShardRef",
    "ShardReport",
    "count_images",
    "expand_shards",
    "fingerprint",
    "inspect_shard",
    "read_shard",
    "ref_of",
    "shard_sha256",
]

MAX_MEMBER_BYTES = 256 << 20
MAX_SAMPLE_BYTES = 512 << 20
MAX_WAITING_BYTES = 64 << 20
MAX_PAYLOAD_BYTES = 1 << 20
PICKLES = frozenset({"pickle", "pkl", "pyd", "pth", "pt", "joblib", "dill"})
"""Last part of a suffix whose usual readers run code; such members are never read."""
TEXTS = frozenset({"json", "xml", "txt", "cls", "csv", "yaml", "yml"})


@dataclass(frozen=True)
class ShardReport:
    """Counts of one shard; `images` are samples with a member of an image suffix."""

    ref: ShardRef
    samples: int
    images: int
    size: int
    suffixes: dict[str, int]
    problems: list[Problem]


@dataclass
class _Group:
    """Members of one key that stood together so far."""

    key: str
    members: dict[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(map(len, self.members.values()))

    @property
    def has_image(self) -> bool:
        return any(suffix in IMAGE_SUFFIXES for suffix in self.members)


def read_shard(ref: ShardRef) -> Iterator[Sample | Problem]:
    """Samples, and what was set aside, in the order of the shard.

    Damage costs the members it hit and is yielded as a Problem. ShardError: the shard is missing,
    is no tar at all, or the connection broke (so that a part of a shard never passes for all).
    """
    if ref.url.startswith(SCENES):
        from annotator.scenes.source import read_scenes

        yield from read_scenes(ref)
        return
    with closing(open_stream(ref)) as stream:
        yield from _Reading(ref).run(TarBytes(stream, ref.address))


def count_images(ref: ShardRef) -> int | None:
    """Samples with an image; None for a remote shard, which would have to be fetched."""
    if ref.url.startswith(SCENES):
        from annotator.scenes.source import parse_shard

        return parse_shard(ref.url).count
    return None if "://" in ref.url else inspect_shard(ref).images


def inspect_shard(ref: ShardRef) -> ShardReport:
    """Reads the whole shard; pixels are not decoded."""
    samples = images = size = 0
    suffixes: Counter[str] = Counter()
    problems: list[Problem] = []
    for item in read_shard(ref):
        if isinstance(item, Problem):
            problems.append(item)
            continue
        samples += 1
        images += item.image_bytes() is not None
        size += sum(map(len, item.members.values()))
        suffixes.update(item.members.keys())
    return ShardReport(ref, samples, images, size, dict(sorted(suffixes.items())), problems)


class _Reading:
    """One pass over one shard."""

    def __init__(self, ref: ShardRef) -> None:
        self._ref = ref
        self._group: _Group | None = None
        self._waiting: dict[str, _Group] = {}
        self._yielded: set[str] = set()

    def run(self, source: TarBytes) -> Iterator[Sample | Problem]:
        notes: list[tuple[str, str]] = []
        members = 0
        cut: str | None
        try:
            archive = Archive.over(source, notes)
            for member in archive.read_members():
                members += 1
                yield from self._reported(notes)
                yield from self._take(member)
            cut = archive.ending
        except DAMAGE as error:
            cut = f"cut off inside a member ({error})"
        last = self._group.key if self._group else None
        yield from self._finish()
        yield from self._reported(notes)
        if cut or source.gzip_fault:
            yield self._problem("truncated", _cut_sentence(source, cut, last), last)
        elif not members:
            yield self._problem("no_samples", "the shard holds no member at all")

    def _reported(self, notes: list[tuple[str, str]]) -> Iterator[Problem]:
        yield from (self._problem(kind, detail) for kind, detail in notes)
        notes.clear()

    def _take(self, member: Member) -> Iterator[Sample | Problem]:
        if member.is_folder:
            return
        named = _key_and_suffix(member.name)
        if refusal := _refusal(member, named):
            kind, detail = refusal
            yield self._problem(kind, f"{member.name}: {detail}", named[0] if named else None)
            return
        assert named is not None
        key, suffix = named
        if self._group is None or self._group.key != key:
            yield from self._close_group()
            if key in self._yielded:
                yield self._late(member, key, suffix)
                return
            self._group = self._waiting.pop(key, None) or _Group(key)
        yield from self._add(self._group, member, suffix)

    def _add(self, group: _Group, member: Member, suffix: str) -> Iterator[Problem]:
        if suffix in group.members:
            detail = f"{member.name}: the sample already has a member {suffix!r}; the first is kept"
            payload = _payload(member, suffix)
            yield self._problem("duplicate_member", detail, group.key, payload)
        elif group.size + member.size > MAX_SAMPLE_BYTES:
            detail = f"{member.name}: the sample would exceed {MAX_SAMPLE_BYTES} bytes"
            yield self._problem("too_large", detail, group.key)
        else:
            group.members[suffix] = member.read()

    def _late(self, member: Member, key: str, suffix: str) -> Problem:
        detail = (
            f"{member.name}: an earlier sample of this shard has this key and is kept; "
            "members of one sample must stand together, keys must be unique"
        )
        return self._problem("duplicate_key", detail, key, _payload(member, suffix))

    def _close_group(self) -> Iterator[Sample]:
        group, self._group = self._group, None
        if group is None or not group.members:
            return
        waiting = sum(other.size for other in self._waiting.values()) if not group.has_image else 0
        if group.has_image or waiting + group.size > MAX_WAITING_BYTES:
            yield self._sample(group)
        else:
            self._waiting[group.key] = group

    def _finish(self) -> Iterator[Sample]:
        yield from self._close_group()
        yield from (self._sample(group) for group in self._waiting.values())
        self._waiting = {}

    def _sample(self, group: _Group) -> Sample:
        self._yielded.add(group.key)
        return Sample(self._ref.name, group.key, group.members, self._ref.address)

    def _problem(
        self, kind: str, detail: str, key: str | None = None, payload: str | None = None
    ) -> Problem:
        return Problem(self._ref.name, kind, detail, key, payload)


def _key_and_suffix(name: str) -> tuple[str, str] | None:
    """None where WebDataset would find no key or no suffix."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    stem, dot, suffix = parts[-1].partition(".") if parts else ("", "", "")
    if not (stem and dot and suffix):
        return None
    folders = ["__" if part == ".." else part for part in parts[:-1]]
    return "/".join([*folders, stem]), suffix.lower()


def _refusal(member: Member, named: tuple[str, str] | None) -> tuple[str, str] | None:
    """Kind of problem and why this member is not part of any sample."""
    if not member.is_plain_file:
        return "not_a_file", "a link or a device, not a plain file"
    if named is None:
        return "unusable_name", "hidden, or without a dot: no key and suffix in it"
    if named[1].rpartition(".")[2] in PICKLES:
        return "pickle", "opening such a file may run code; it was not read"
    if member.size > MAX_MEMBER_BYTES:
        return "too_large", f"{member.size} bytes, at most {MAX_MEMBER_BYTES} are read"
    return None


def _payload(member: Member, suffix: str) -> str | None:
    if suffix.rpartition(".")[2] not in TEXTS or member.size > MAX_PAYLOAD_BYTES:
        return None
    return member.read().decode("utf-8", "replace")


def _cut_sentence(source: TarBytes, cut: str | None, key: str | None) -> str:
    where = f"; the last sample {key!r} may lack members or be lost" if key else ""
    fault = f"; the compression is broken: {source.gzip_fault}" if source.gzip_fault else ""
    return f"the shard is {cut or 'not whole'}: what came after is lost{where}{fault}"
