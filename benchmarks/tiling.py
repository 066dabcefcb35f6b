"""A large image as one and by tiles: what is found, what merging leaves of it, what it costs.

    python benchmarks/tiling.py [--images 2] [--tile-size 384] [--json FILE]

An image is 24 drawn scenes of one colour side by side, 1920 x 1280 pixels, so that everything on it
is known. `od` is asked by the embedded checkpoint, and what it finds judged by filter_duplicates,
which merges what several tiles show and drops what an edge has cut.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from figures import write_figures
from PIL import Image

from annotator.embedded.export import CHECKPOINT
from annotator.evaluation.detection import count_right
from annotator.evaluation.scenes import unseen_scene
from annotator.evaluation.tables import found_and_true
from annotator.scenes import world
from annotator.scenes.draw import Scene
from schemas.annotations import Annotations, kept_mask
from schemas.samples import Sample
from stages.base import Model, finish
from stages.filter_duplicates import FilterDuplicates
from stages.florence2.stage import Florence2

SIDE, COLUMNS, ROWS = 320, 6, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--tile-size", type=int, default=384)
    parser.add_argument("--json", type=Path, help="file for the figures")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    pictures = list(mosaics(chosen.images))
    figures = {}
    for tiling in ("never", "auto"):
        options: dict[str, Any] = {"model": "embedded", "tasks": ["od"], "batch_size": 32}
        if tiling == "auto":
            options |= {"tiling": tiling, "tile_size": chosen.tile_size}
        figures[tiling] = measure(Florence2(**options), pictures)
        for name, figure in figures[tiling].items():
            print(f"{tiling:<8}{name:<20}{figure:>10.3f}")
    if chosen.json:
        write_figures(chosen.json, figures)


def mosaics(count: int) -> Iterator[tuple[Image.Image, list[dict[str, Any]]]]:
    """Each with its true regions."""
    number = 0
    for background in list(world.BACKGROUNDS)[:count]:
        whole = Image.new("RGB", (COLUMNS * SIDE, ROWS * SIDE))
        true: list[dict[str, Any]] = []
        for place in range(COLUMNS * ROWS):
            while not fits(scene := unseen_scene(number, 0.5), background):
                number += 1
            number += 1
            x, y = place % COLUMNS * SIDE, place // COLUMNS * SIDE
            whole.paste(scene.image, (x, y))
            for thing in scene.things:
                x0, y0, x1, y1 = thing.bbox_xyxy
                box = {"x0": x0 + x, "y0": y0 + y, "x1": x1 + x, "y1": y1 + y}
                true.append({**box, "category": thing.category, "label_no": len(true)})
        yield whole, true


def fits(scene: Scene, background: str) -> bool:
    look = (scene.image.size, scene.background, scene.texture)
    return look == ((SIDE, SIDE), background, "flat")


def measure(
    stage: Florence2, pictures: list[tuple[Image.Image, list[dict[str, Any]]]]
) -> dict[str, float]:
    session = stage.open({"embedded": Model(checkpoint=str(CHECKPOINT), device="cpu")})
    samples = [Sample("m", str(i), {}, image=image) for i, (image, _) in enumerate(pictures)]
    started = time.process_time()
    found = finish(session.propose(samples, Annotations.of()))
    seconds = time.process_time() - started
    keys = [{"image_id": sample.image_id, "shard": sample.shard} for sample in samples]
    facts = Annotations.of(
        images=[
            {**key, "width": image.width, "height": image.height}
            for key, (image, _) in zip(keys, pictures, strict=True)
        ],
        regions=[
            {**key, "source": "truth", "task": "od", "shape": "box", **row}
            for key, (_, rows) in zip(keys, pictures, strict=True)
            for row in rows
        ],
    )
    found = found.with_tables(images=facts.images)
    judged = found.with_tables(verdicts=FilterDuplicates().judge(found))
    figures: dict[str, float] = {"seconds per image": seconds / len(samples)}
    kept = found.regions.filter(kept_mask(judged, "region"))
    for name, regions in {"proposed": found.regions, "kept": kept}.items():
        counts = count_right(*found_and_true(regions, facts.regions))
        figures[f"{name}: boxes"] = counts.found
        figures[f"{name}: precision"] = counts.precision or 0.0
        figures[f"{name}: recall"] = counts.recall or 0.0
    return {"true boxes": len(facts.regions), **figures}


if __name__ == "__main__":
    main()
