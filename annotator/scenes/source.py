"""`scenes://N?seed=0&difficulty=0.5&human=0.25&noise=0.1`: the synthetic world as shards."""

import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import PIL
from shapely import Polygon

from annotator.errors import ShardError
from annotator.scenes import language, world
from annotator.scenes.draw import Scene, Thing, draw_scene
from annotator.scenes.noise import noisy_things
from annotator.shard_ref import SCENES, ShardRef
from schemas.samples import Sample

SCENES_PER_SHARD = 32
MOST_SCENES = 10_000_000
"""Of one address: its shards are listed at once."""
BEHAVIOUR = 2
"""Raised by hand when the same address begins to give other images or other truth."""
_EXAMPLE = "scenes://64?seed=0&difficulty=0.5&human=0.25&noise=0.1"


@dataclass(frozen=True)
class Address:
    """Scenes `start` to `start + count` of a seed; `human` is the share with a label file.

    `noise` in [0, 1] is how careless the person was who is said to have labelled: with probability
    noise / 2 each a thing is left out, and one that is not goes under another kind; each edge of
    a box is off by a normal deviate of standard deviation noise / 4 of the side (`noise.py`, to
    the letter). The caption stays true. The mistakes are fixed by shard and key.
    """

    start: int
    count: int
    seed: int = 0
    difficulty: float = 0.5
    human: float = 0.0
    noise: float = 0.0

    @property
    def url(self) -> str:
        """All in the path: an address is shown and stored without its query."""
        options = f"seed={self.seed}/difficulty={self.difficulty}/human={self.human}"
        noise = f"/noise={self.noise}" if self.noise else ""
        return f"{SCENES}{self.start}+{self.count}/{options}{noise}"


def expand_scenes(url: str) -> list[ShardRef]:
    """Shards of 32 scenes; ShardError names what is wrong with the address."""
    parts = urlsplit(url)
    total = _number(url, "N", parts.netloc, int)
    if not 1 <= total <= MOST_SCENES or parts.path.strip("/") or parts.fragment:
        raise ShardError(f"{url!r} must ask for 1 to {MOST_SCENES:,} scenes, as in {_EXAMPLE}")
    options = _options(url, parse_qsl(parts.query, keep_blank_values=True))
    if options.get("noise") and not options.get("human"):
        raise ShardError(f"{url!r} has noise but no human labels: add human=, as in {_EXAMPLE}")
    return [
        ref_of(Address(start, min(SCENES_PER_SHARD, total - start), **options))
        for start in range(0, total, SCENES_PER_SHARD)
    ]


def read_scenes(ref: ShardRef) -> Iterator[Sample]:
    """Each scene as `png`, and `coco.json` where a person is said to have labelled it."""
    address = parse_shard(ref.url)
    for key, scene in scenes_of(address):
        members = {"png": _png(scene)}
        if has_human_labels(ref.name, key, address.human):
            things = noisy_things(scene, address.noise, f"{ref.name}/{key}")
            members["coco.json"] = coco_document(key, scene, things)
        yield Sample(ref.name, key, members, ref.address)


def scenes_fingerprint(ref: ShardRef) -> dict[str, Any]:
    """What fixes the bytes: the address, the generator's behaviour and the library that draws."""
    return {"scenes": parse_shard(ref.url).url, "behaviour": BEHAVIOUR, "pillow": PIL.__version__}


def scenes_of(address: Address) -> Iterator[tuple[str, Scene]]:
    """Key and scene, in order."""
    for number in range(address.start, address.start + address.count):
        yield f"{number:06d}", draw_scene(f"{address.seed}-{number}", address.difficulty)


def parse_shard(url: str) -> Address:
    """The address of one shard, as `expand_scenes` writes it."""
    parts = urlsplit(url)
    start, plus, count = parts.netloc.partition("+")
    pairs = [part.partition("=")[::2] for part in parts.path.strip("/").split("/")]
    if not plus:
        raise ShardError(f"{url!r} is not one shard of scenes: list them with {_EXAMPLE}")
    options = _options(url, pairs)
    return Address(_number(url, "start", start, int), _number(url, "count", count, int), **options)


def has_human_labels(shard: str, key: str, share: float) -> bool:
    """Chosen by the hash of the key: the same scenes each time, and more of them as it grows."""
    digest = hashlib.sha256(f"{shard}/{key}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32 < share


def coco_document(key: str, scene: Scene, things: Sequence[Thing]) -> bytes:
    """The things as boxes with polygons, and the brief caption, as COCO JSON of one image."""
    width, height = scene.image.size
    image = {"id": 1, "file_name": f"{key}.png", "width": width, "height": height}
    annotations: list[dict[str, Any]] = [
        {
            "id": number,
            "image_id": 1,
            "category_id": world.KINDS.index(thing.category) + 1,
            "bbox": _xywh(thing.bbox_xyxy),
            "segmentation": [[round(value, 2) for value in thing.outline]],
            "area": round(Polygon(np.reshape(thing.outline, (-1, 2))).area, 2),
            "iscrowd": 0,
        }
        for number, thing in enumerate(things, 1)
    ]
    caption = language.brief_caption(scene).text
    annotations.append({"id": len(annotations) + 1, "image_id": 1, "caption": caption})
    categories = [{"id": number, "name": kind} for number, kind in enumerate(world.KINDS, 1)]
    document = {"images": [image], "annotations": annotations, "categories": categories}
    return json.dumps(document, separators=(",", ":")).encode()


def ref_of(address: Address) -> ShardRef:
    number = address.start // SCENES_PER_SHARD
    return ShardRef(address.url, f"scenes-{address.seed}-{number:06d}")


def _options(url: str, pairs: list[Any]) -> dict[str, Any]:
    kinds = {"seed": int, "difficulty": float, "human": float, "noise": float}
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key not in kinds:
            raise ShardError(f"{url!r} has {key!r}, which scenes do not know: write {_EXAMPLE}")
        if key in found:
            raise ShardError(f"{url!r} has {key!r} twice: write it once, as in {_EXAMPLE}")
        found[key] = _number(url, key, value, kinds[key])
        if key == "seed" and found[key] < 0:
            raise ShardError(f"{url!r}: seed must not be negative, as in {_EXAMPLE}")
        if key != "seed" and not 0 <= found[key] <= 1:
            raise ShardError(f"{url!r}: {key} must lie between 0 and 1, as in {_EXAMPLE}")
    return found


def _number(url: str, name: str, text: str, kind: type) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not math.isfinite(value):
        raise ShardError(f"{url!r}: {name} is {text!r}, no number; write {_EXAMPLE}")
    return value


def _png(scene: Scene) -> bytes:
    buffer = io.BytesIO()
    scene.image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _xywh(bbox_xyxy: tuple[float, float, float, float]) -> list[float]:
    x0, y0, x1, y1 = bbox_xyxy
    return [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)]
