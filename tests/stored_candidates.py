"""A project whose candidates are stored already, made up: pipelines run on it without a model."""

from pathlib import Path
from typing import Any

import numpy as np

from annotator.config import load_config
from annotator.parts import write_part
from annotator.plan import plan_run
from annotator.worker import CANDIDATES
from schemas.annotations import table_of

PIPELINES = """
version: 1
models:
  embedded: {{checkpoint: embedded}}
pipelines:
  drawn:
    shards: ["scenes://2?seed=0", "scenes://2?seed=1", "scenes://1?seed=2"]
    propose:
      - stage: florence2
        model: embedded
        tasks: [caption, od, caption_to_phrase_grounding]
    judge: {judge}
"""
CATEGORIES = ("cat", "cup", "dog")
REGIONS = 12
"""Of each image, a box of 1 to 200 bins on each side."""


def make_project(folder: Path, judge: str) -> Path:
    """Its pipelines file, with the candidates of every shard stored."""
    config = write_pipelines(folder, judge)
    plan = plan_run(load_config(config))
    for number, shard in enumerate(plan.shards):
        rows = candidate_rows(shard.name, shard.images or 0, shard.task.recipe, number)
        write_part(
            shard.task.parts,
            shard.name,
            shard.task.candidates_key,
            {name: table_of(name, rows.get(name, [])) for name in CANDIDATES},
            url=shard.task.ref.address,
            fingerprint=shard.task.fingerprint,
        )
    return config


def write_pipelines(folder: Path, judge: str) -> Path:
    folder.mkdir(exist_ok=True)
    config = folder / "pipelines.yaml"
    config.write_text(PIPELINES.format(judge=judge))
    return config


def candidate_rows(
    shard: str, images: int, recipe: str, seed: int
) -> dict[str, list[dict[str, Any]]]:
    random = np.random.default_rng(seed)
    made = {"shard": shard, "recipe": recipe, "round": 0}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in CANDIDATES}
    for key in (f"{number:06d}" for number in range(images)):
        label = {**made, "image_id": f"{shard}/{key}", "source": "model"}
        rows["images"].append(
            {**made, "image_id": f"{shard}/{key}", "key": key, "width": 1000, "height": 1000}
        )
        caption = {**label, "label_no": 0, "task": "caption", "level": "brief"}
        rows["texts"].append({**caption, "text": "a cat on a mat", "score": random.random()})
        for number in range(REGIONS):
            x0, y0, width, height = random.integers([0, 0, 1, 1], [800, 800, 200, 200])
            box = {"x0": x0, "y0": y0, "x1": x0 + width, "y1": y0 + height, "shape": "box"}
            said = {"task": "od", "category": CATEGORIES[number % len(CATEGORIES)]}
            rows["regions"].append(
                {**label, **box, **said, "label_no": number, "score": random.random()}
            )
        tied = {"text_source": "model", "text_no": 0, "region_source": "model", "region_no": 0}
        span = {"char_start": 0, "char_end": 5, "phrase": "a cat"}
        rows["phrases"].append({**label, **tied, **span, "label_no": 0})
    return rows
