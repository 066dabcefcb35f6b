"""The exact truth of a shard of scenes, as rows of the tables."""

import pyarrow as pa

from annotator.scenes.draw import Scene, Thing
from annotator.scenes.source import parse_shard, ref_of, scenes_of
from schemas.annotations import Row, table_of
from schemas.ids import image_id

TRUTH = "truth"
"""The source of these rows."""


def scene_truth(shard_url: str) -> pa.Table:
    """Regions (schema REGIONS) of all things of one shard's scenes, labelled by people or not."""
    address = parse_shard(shard_url)
    shard = ref_of(address).name
    return table_of(
        "regions", (row for key, scene in scenes_of(address) for row in _rows(shard, key, scene))
    )


def _rows(shard: str, key: str, scene: Scene) -> list[Row]:
    return [_row(shard, key, number, thing) for number, thing in enumerate(scene.things)]


def _row(shard: str, key: str, number: int, thing: Thing) -> Row:
    x0, y0, x1, y1 = thing.bbox_xyxy
    return {
        "image_id": image_id(shard, key),
        "source": TRUTH,
        "label_no": number,
        "shard": shard,
        "task": "od",
        "shape": "polygon",
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
        "points": [list(thing.outline)],
        "text": thing.category,
        "category": thing.category,
        "crowd": False,
    }
