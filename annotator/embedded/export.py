"""Make a trained checkpoint small enough to ship: 16-bit files that load as 32-bit weights.

Example:
    python -m annotator.embedded.export checkpoints/new/checkpoint annotator/embedded/checkpoint
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from annotator.training import generation_settings, save_checkpoint

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""The one that ships."""


def export_checkpoint(trained: Path, output: Path) -> None:
    """Rounds the weights to 16 bits; plain `from_pretrained` loads them as float32."""
    model: Any = Florence2ForConditionalGeneration.from_pretrained(trained, dtype=torch.float16)
    save_checkpoint(
        model, AutoProcessor.from_pretrained(trained), generation_settings(trained), output
    )
    path = output / "config.json"
    config = json.loads(path.read_text())
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trained", type=Path, help="the folder `checkpoint` of a training")
    parser.add_argument("output", type=Path, help="replaced where it exists")
    options = parser.parse_args()
    export_checkpoint(options.trained, options.output)


if __name__ == "__main__":
    main()
