"""What a number format or a backend does to labels: how many stay, and what they are worth.

    python benchmarks/precision.py [--scenes 100] [--beams 1] [--ways bfloat16 …] [--json FILE]

All tasks are asked about unseen scenes in float32 by torch, and in the other ways. Of the labels in
float32 is said which share has the same words and a place that is near (IoU 0.9), alike (each
coordinate within a bin) or equal; beside it the figures against the scenes' truth.
"""

import argparse
from pathlib import Path

import torch
from figures import write_figures
from known_answers import Exam, decoding, table

from annotator.embedded.export import CHECKPOINT
from stages.base import Model
from stages.florence2.encoders import open_encoders
from stages.florence2.engine import Engine
from stages.florence2.loading import load_checkpoint

WAYS = {
    "float32": Model(checkpoint="", device="cpu"),
    "bfloat16": Model(checkpoint="", device="cpu", dtype="bfloat16"),
    "openvino float32": Model(checkpoint="", device="cpu", backend="openvino"),
    "openvino bfloat16": Model(checkpoint="", device="cpu", backend="openvino", dtype="bfloat16"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default=str(CHECKPOINT), help="a folder that knows scenes")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--difficulty", type=float, default=0.5)
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS)[1:], default=list(WAYS)[1:])
    parser.add_argument("--json", type=Path, help="file for the figures")
    chosen = parser.parse_args()
    torch.set_num_threads(1)

    def opened(way: str) -> Engine:
        model = WAYS[way].model_copy(update={"checkpoint": chosen.checkpoint})
        checkpoint = load_checkpoint(model)
        encoders = open_encoders(checkpoint, model.backend)
        return Engine(checkpoint, decoding(chosen.beams), 32, encoders)

    exam = Exam.of_scenes(chosen.scenes, chosen.difficulty)
    figures = exam.take({way: lambda way=way: opened(way) for way in ["float32", *chosen.ways]})
    print("\n".join(table(figures)))
    if chosen.json:
        asked = {"scenes": chosen.scenes, "difficulty": chosen.difficulty, "beams": chosen.beams}
        write_figures(chosen.json, {**asked, "ways": figures})


if __name__ == "__main__":
    main()
