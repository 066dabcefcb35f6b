"""What the ban on repeated runs of three tokens does to the labels of crowded images.

    python benchmarks/ngram_ban.py [--scenes 100] [--json FILE]
    python benchmarks/ngram_ban.py --checkpoint checkpoints/bccd-round-1 \\
        --shards "shards/bccd-test-*.tar"

Without --shards all tasks are asked about unseen scenes of difficulty 1 with five things or more,
then about those with three or four of one look. With it, `od` about images on which people drew
every box, by a checkpoint that has learnt of such. Greedily and with three beams, each with the ban
and without; what is likened is likened to greedy decoding without it.
"""

import argparse
from pathlib import Path

import torch
from figures import write_figures
from known_answers import Exam, Ways, decoding, table

from annotator.embedded.export import CHECKPOINT
from stages.base import Model
from stages.florence2.engine import Engine
from stages.florence2.loading import load_checkpoint

LONGEST = 320
"""Tokens: some forty boxes, as the pipeline `bccd`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default=str(CHECKPOINT), help="a folder")
    parser.add_argument("--shards", nargs="+", help="shards with the boxes of people")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--json", type=Path, help="file for the figures")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    figures = {}
    for name, exam in exams(chosen.shards, chosen.scenes).items():
        figures[name] = exam.take(ways(chosen.checkpoint))
        print(name, *table(figures[name]), "", sep="\n")
    if chosen.json:
        write_figures(chosen.json, figures)


def exams(shards: list[str] | None, scenes: int) -> dict[str, Exam]:
    """By what the images are."""
    if shards:
        exam = Exam.of_shards(shards)
        return {f"{len(exam.pictures)} labelled images": exam}
    return {
        f"{scenes} scenes with 5 to 7 things": Exam.of_scenes(
            scenes, 1.0, lambda scene: len(scene.things) >= 5
        ),
        f"{scenes} scenes with 3 or 4 things of one look": Exam.of_scenes(
            scenes, 1.0, lambda scene: sum(thing.grouped for thing in scene.things) >= 3
        ),
    }


def ways(checkpoint: str) -> Ways:
    """Greedy and three beams, each without the ban and with it."""
    loaded = load_checkpoint(Model(checkpoint=checkpoint, device="cpu"))
    return {
        f"{'greedy' if beams == 1 else f'{beams} beams'}{', banned' if ban else ''}": (
            lambda beams=beams, ban=ban: Engine(loaded, decoding(beams, ban, LONGEST), 32)
        )
        for beams in (1, 3)
        for ban in (0, 3)
    }


if __name__ == "__main__":
    main()
