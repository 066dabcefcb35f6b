"""Which label file belongs to which image of a folder."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from annotator.errors import ShardError
from annotator.human.coco_split import CocoSplit, LeftOut, Unmatched
from annotator.human.labels import UnreadableSidecar
from schemas.samples import IMAGE_SUFFIXES

LABEL_FOLDERS = ("annotations", "labels", "xml")
"""Searched beside the folder when no labels are named, whatever the case."""
BESIDE = ("txt", "json")
"""Suffixes that are packed as they are when they stand beside an image under its name."""
LABEL_SUFFIXES = (".xml", ".json")
OTHER_IMAGES = (".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".jfif", ".svg", ".psd")
"""Suffixes of images that are not read: named as left out, so that none is lost in silence."""


@dataclass
class PackPlan:
    """Images in order, and what goes with each: suffix → a file, or the bytes themselves."""

    images: list[Path]
    sidecars: dict[Path, dict[str, Path | bytes]] = field(default_factory=dict)
    label_files: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def leave_out(self, path: Path, reason: str) -> None:
        self.left_out.append(LeftOut(str(path), reason))

    def attach(self, image: Path, suffix: str, content: Path | bytes) -> None:
        self.sidecars.setdefault(image, {})[suffix] = content

    def keep_only(self, images: Iterable[Path]) -> None:
        """Drops the other images, and the label files that are theirs alone."""
        kept = set(images)
        dropped = [image for image in self.images if image not in kept]
        contents = [self.sidecars.pop(image, {}).values() for image in dropped]
        unused = {content for each in contents for content in each if isinstance(content, Path)}
        self.images = [image for image in self.images if image in kept]
        self.label_files = [path for path in self.label_files if path not in unused]

    @property
    def labelled(self) -> int:
        """Number of images that have a label file, be it an empty one."""
        return sum(not set(suffixes) <= set(BESIDE) for suffixes in self.sidecars.values())


def plan_packing(folder: Path, labels: Path | None) -> PackPlan:
    """Both paths absolute. ShardError: there is no folder, no image, or no such labels."""
    if not folder.is_dir():
        raise ShardError(f"{folder} is no folder of images")
    if labels is not None and not labels.exists():
        raise ShardError(f"there are no labels at {labels}")
    if labels is not None and labels.is_file() and labels.suffix.lower() not in LABEL_SUFFIXES:
        raise ShardError(f"{labels} is no label file: labels are Pascal VOC .xml or COCO .json")
    files = list(_files(folder))
    plan = PackPlan([path for path in files if path.suffix[1:].lower() in IMAGE_SUFFIXES])
    if not plan.images:
        raise ShardError(f"{folder} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    for path in files:
        if path.suffix.lower() in OTHER_IMAGES:
            plan.leave_out(path, f"images are read as {', '.join(IMAGE_SUFFIXES)}: convert it")
    beside = _attach_beside(plan)
    within = [path for root in _label_roots(folder, labels) for path in _files(root)]
    found = [path for path in dict.fromkeys(within) if path not in beside]
    _attach_voc(plan, [path for path in found if path.suffix.lower() == ".xml"])
    guesses = [] if labels else sorted(folder.parent.glob("*.json"))
    _attach_coco(plan, [path for path in found if path.suffix.lower() == ".json"], guesses)
    return plan


def read_keys(path: Path) -> dict[str, None]:
    """The lines of a file of keys, each once. ShardError: it cannot be read, or names none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ShardError(f"the keys of {path} cannot be read: {reason}") from error
    keys = dict.fromkeys(key for line in lines if (key := line.strip()))
    if not keys:
        raise ShardError(f"{path} names no key: write one per line, such as photos/cat")
    return keys


def _files(root: Path) -> Iterator[Path]:
    """Files below, sorted, hidden ones and those in hidden folders left out."""
    if root.is_file():
        yield root
        return
    for path in sorted(root.rglob("*"), key=lambda path: path.parts):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if not hidden and path.is_file():
            yield path


def _label_roots(folder: Path, labels: Path | None) -> list[Path]:
    if labels is not None:
        return [labels, folder]
    siblings = sorted(path for path in folder.parent.glob("*") if path.is_dir())
    return [folder, *(path for path in siblings if path.name.lower() in LABEL_FOLDERS)]


def _attach_beside(plan: PackPlan) -> set[Path]:
    """Files that stand beside an image under its name, which are no one else's."""
    taken: set[Path] = set()
    for image in plan.images:
        for suffix in BESIDE:
            path = image.with_suffix(f".{suffix}")
            if path.is_file():
                plan.attach(image, suffix, path)
                taken.add(path)
    return taken


def _attach_voc(plan: PackPlan, paths: list[Path]) -> None:
    by_stem = defaultdict(list)
    for image in plan.images:
        by_stem[image.stem].append(image)
    for path in paths:
        try:
            image = _nearest(path.with_suffix(""), by_stem[path.stem])
        except Unmatched as error:
            plan.leave_out(path, str(error))
            continue
        if "xml" in plan.sidecars.get(image, {}):
            plan.leave_out(path, f"{image.name} already has another label file of that name")
            continue
        plan.attach(image, "xml", path)
        plan.label_files.append(path)


def _attach_coco(plan: PackPlan, paths: list[Path], guesses: list[Path]) -> None:
    """`guesses` are not worth a word when they are no COCO documents."""
    by_name = defaultdict(list)
    for image in plan.images:
        by_name[image.name].append(image)
    split = CocoSplit()
    for path in dict.fromkeys([*paths, *guesses]):
        try:
            split.add(path, partial(_image_of, path.parent, by_name))
            plan.label_files.append(path)
        except UnreadableSidecar as error:
            if path in paths:
                plan.leave_out(path, str(error))
    plan.left_out += split.left_out
    for image, document in split.documents.items():
        text = json.dumps(document.to_json(), separators=(",", ":"))
        plan.attach(image, "coco.json", text.encode())


def _image_of(beside: Path, by_name: dict[str, list[Path]], file_name: str) -> Path:
    """The image of a COCO file_name: relative to its document, else by the end of its path."""
    path = beside / file_name.replace("\\", "/")
    candidates = by_name.get(path.name, [])
    return path if path in candidates else _nearest(path, candidates)


def _nearest(name: Path, candidates: list[Path]) -> Path:
    """The candidate whose folders end like those of `name`; Unmatched where none stands out."""
    if not candidates:
        raise Unmatched(f"no image is named {name.name!r}")
    ranked = sorted(candidates, key=lambda image: _shared(name, image), reverse=True)
    if len(ranked) > 1 and _shared(name, ranked[0]) == _shared(name, ranked[1]):
        raise Unmatched(f"{len(candidates)} images are named {name.name!r}: which one is meant?")
    return ranked[0]


def _shared(name: Path, image: Path) -> tuple[int, int]:
    """Number of folders that two paths share at their ends, then at their beginnings."""
    ours, theirs = name.parent.parts, image.parent.parts
    return _common(ours[::-1], theirs[::-1]), _common(ours, theirs)


def _common(ours: tuple[str, ...], theirs: tuple[str, ...]) -> int:
    pairs = zip(ours, theirs, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs)))
