"""COCO documents about many images → one small COCO document per image."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotator.human.coco import Json, category_names, parse_coco
from annotator.human.labels import UnreadableSidecar


class Unmatched(ValueError):
    """No image, or more than one, is meant; the message says which."""


@dataclass(frozen=True)
class LeftOut:
    """A file, or an entry of it, that was not packed, and why."""

    path: str
    reason: str


@dataclass
class SmallDocument:
    """What the documents say about one image; `categories` holds those that are used."""

    image: dict[str, Any]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    categories: dict[Any, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A valid COCO document with one image."""
        return {
            "images": [self.image],
            "annotations": self.annotations,
            "categories": list(self.categories.values()),
        }


FindImage = Callable[[str], Path]
"""file_name of a document → the image; Unmatched says why not."""


class CocoSplit:
    """Gathers documents; an annotation that two of them hold (instances, keypoints) is one."""

    def __init__(self) -> None:
        self.documents: dict[Path, SmallDocument] = {}
        self.left_out: list[LeftOut] = []

    def add(self, path: Path, find_image: FindImage) -> None:
        """UnreadableSidecar where the file is no COCO document."""
        try:
            document = parse_coco(path.read_bytes())
        except OSError as error:
            raise UnreadableSidecar(f"not readable: {error.strerror}") from error
        by_image = defaultdict(list)
        for annotation in document["annotations"]:
            by_image[str(annotation.get("image_id"))].append(annotation)
        for image in document["images"]:
            annotations = by_image.pop(str(image.get("id")), [])
            self._add_image(path, document, image, annotations, find_image)
        if orphans := sum(map(len, by_image.values())):
            reason = f"{_count(orphans)} of {len(by_image)} image ids that it does not list"
            self.left_out.append(LeftOut(str(path), reason))

    def _add_image(
        self,
        path: Path,
        document: Json,
        image: dict[str, Any],
        annotations: list[dict[str, Any]],
        find_image: FindImage,
    ) -> None:
        try:
            target = find_image(str(image.get("file_name", "")))
        except Unmatched as error:
            self.left_out.append(LeftOut(str(path), f"{error}; {_count(len(annotations))}"))
            return
        small = self.documents.setdefault(target, SmallDocument(image))
        categories = {entry.get("id"): entry for entry in document.get("categories", [])}
        names = category_names(document)
        for annotation in annotations:
            entry = {**annotation, "image_id": small.image.get("id")}
            category_id = annotation.get("category_id")
            named = isinstance(category_id, int | str) and category_id in names
            if named:
                entry["category_id"] = _use_category(small, categories[category_id])
            _merge(small.annotations, entry, prefer_new=named)


def _use_category(small: SmallDocument, category: dict[str, Any]) -> Any:
    """The id under which the small document knows this name: another document may use it else."""
    wanted = category["id"]
    for number, known in small.categories.items():
        if known["name"] == category["name"]:
            return number
    if wanted in small.categories:
        wanted = max((n for n in small.categories if isinstance(n, int)), default=0) + 1
    small.categories[wanted] = {**category, "id": wanted}
    return wanted


def _merge(annotations: list[dict[str, Any]], new: dict[str, Any], *, prefer_new: bool) -> None:
    """Add, or complete the annotation with the same id and the same content."""
    for place, old in enumerate(annotations):
        same_id = old.get("id") is not None and old.get("id") == new.get("id")
        if same_id and all(old.get(name) == new.get(name) for name in ("bbox", "caption")):
            annotations[place] = {**old, **new} if prefer_new else {**new, **old}
            return
    annotations.append(new)


def _count(number: int) -> str:
    return f"{number} annotation{'' if number == 1 else 's'}"
