"""A folder of images with label files beside them → WebDataset shards, byte for byte repeatable."""

import io
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from annotator.errors import ShardError
from annotator.human.coco_split import LeftOut
from annotator.pack_plan import PackPlan, plan_packing, read_keys
from annotator.shards import MAX_MEMBER_BYTES


@dataclass(frozen=True)
class PackSummary:
    """`labelled`: images with a label file; `label_files`: those that were used."""

    images: int
    labelled: int
    shards: tuple[Path, ...]
    label_files: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


def pack_folder(
    folder: Path,
    output: Path,
    *,
    labels: Path | None = None,
    only: Path | None = None,
    prefix: str | None = None,
    samples_per_shard: int = 64,
) -> PackSummary:
    """Writes PREFIX-000000.tar … into `output`; the prefix is the folder's name if not given.

    Images are found recursively, hidden files are not looked at. `labels` is a label file or a
    folder of them; without it, those in the folder, in an `annotations` or `labels` folder beside
    it, and COCO documents beside it are found. Pascal VOC goes in unchanged as `xml`; COCO
    documents are split into one `coco.json` per image. `only` is a file with one key per line:
    no other image is packed, and the keys are the same as without it. ShardError says why nothing
    can be written.
    """
    if samples_per_shard < 1:
        raise ShardError(f"samples per shard must be 1 or more, not {samples_per_shard}")
    folder = folder.expanduser().resolve()
    prefix = _checked_prefix(folder, prefix)
    plan = plan_packing(folder, labels.expanduser().resolve() if labels else None)
    keys = _keys(folder, plan.images)
    if only is not None:
        keys = _chosen(keys, only, folder)
        plan.keep_only(keys.values())
    small = set(_small_enough(plan))
    names = [(key, image) for key, image in keys.items() if image in small]
    batches = [names[at : at + samples_per_shard] for at in range(0, len(names), samples_per_shard)]
    shards = [output / f"{prefix}-{number:06d}.tar" for number in range(len(batches))]
    _prepare(output, prefix, shards)
    for shard, batch in zip(shards, batches, strict=True):
        _write_shard(shard, batch, plan)
    files, left_out = tuple(plan.label_files), tuple(plan.left_out)
    return PackSummary(len(names), plan.labelled, tuple(shards), files, left_out)


def _checked_prefix(folder: Path, prefix: str | None) -> str:
    if prefix is None:
        prefix = re.sub(r"[^\w.-]+", "-", folder.name).strip("-.") or "shard"
    if not re.fullmatch(r"\w[\w.-]*", prefix):
        raise ShardError(f"the prefix {prefix!r} should be letters, digits, '-', '_' and '.'")
    return prefix


def _small_enough(plan: PackPlan) -> Iterator[Path]:
    """Images that the reader will take; the others are left out by name."""
    for image in plan.images:
        if (size := image.stat().st_size) > MAX_MEMBER_BYTES:
            plan.leave_out(image, f"{size} bytes, at most {MAX_MEMBER_BYTES} are read from a shard")
        else:
            yield image


def _keys(folder: Path, images: Iterable[Path]) -> dict[str, Path]:
    """Key and image: the path below the folder without its suffix, dot-free so that it reads back.

    `a.b.jpg` gets the key `a_b`; where that is taken already, `a_b-2`.
    """
    keys: dict[str, Path] = {}
    for image in images:
        path = image.relative_to(folder)
        stem = path.stem.replace(".", "_")
        wanted = key = (path.parent / stem).as_posix().encode("utf-8", "replace").decode()
        number = 1
        while key in keys:
            number += 1
            key = f"{wanted}-{number}"
        keys[key] = image
    return keys


def _chosen(keys: dict[str, Path], only: Path, folder: Path) -> dict[str, Path]:
    wanted = read_keys(only)
    if missing := [key for key in wanted if key not in keys]:
        raise ShardError(
            f"{only} names {missing[0]!r}, which is no image of {folder} ({len(missing)} of "
            f"{len(wanted)} keys are not found): a key is the path below the folder without its "
            "extension, with '_' for each dot in the name"
        )
    return {key: image for key, image in keys.items() if key in wanted}


def _prepare(output: Path, prefix: str, shards: list[Path]) -> None:
    """Shards of an earlier, longer packing would be read together with the new ones."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShardError(f"the folder {output} cannot be made: {error.strerror}") from error
    pattern = re.compile(re.escape(prefix) + r"-\d{6,}\.tar")
    old = sorted(path for path in output.iterdir() if pattern.fullmatch(path.name))
    if stale := [path for path in old if path not in shards]:
        raise ShardError(
            f"{output} holds shards of an earlier packing that would remain, such as "
            f"{stale[0].name}: remove them, or choose another --prefix or --output"
        )


def _write_shard(shard: Path, batch: list[tuple[str, Path]], plan: PackPlan) -> None:
    unfinished = shard.with_name(f".{shard.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for key, image in batch:
                    _write_sample(archive, key, image, plan)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(shard)
    except OSError as error:
        where = error.filename or shard
        raise ShardError(f"packing stopped at {where}: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _write_sample(archive: tarfile.TarFile, key: str, image: Path, plan: PackPlan) -> None:
    _write_member(archive, f"{key}{image.suffix.lower()}", image.read_bytes())
    for suffix, source in sorted(plan.sidecars.get(image, {}).items()):
        content = source if isinstance(source, bytes) else source.read_bytes()
        _write_member(archive, f"{key}.{suffix}", content)


def _write_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Owner, mode and time are the same for all: equal folders make equal shards."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    header.mode = 0o644
    header.mtime = 0
    archive.addfile(header, io.BytesIO(content))
