"""`annotator train`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from annotator.cli.options import config_option

if TYPE_CHECKING:
    from annotator.config import Config
    from annotator.fine_tuning import FineTuned


@click.command()
@click.argument("name", required=False)
@config_option
def train(name: str | None, config: Path) -> None:
    """Fine-tune a checkpoint on a version of the tables (the first training by default).

    What it learnt from is written to training.json in the new checkpoint.

    \b
    Example:
      annotator train
      annotator train better --config pipelines.yaml
    """
    from annotator.config import load_config
    from annotator.fine_tuning import fine_tune

    loaded = load_config(config)
    tuned = fine_tune(loaded, name)
    click.echo(_summary(tuned), err=True)
    click.echo(_next_step(tuned, loaded), err=True)
    click.echo(_model_lines(tuned, loaded.path.parent))


def _summary(tuned: "FineTuned") -> str:
    log, material = tuned.log, tuned.material
    lessons = ", ".join(f"{task} {count:,}" for task, count in material.lessons.items())
    lines = [
        f"{tuned.name}: learnt from version {tuned.version} of {tuned.table.name}",
        f"  lessons     {lessons} on {len(material.examples):,} images",
        f"  training    {len(log.losses):,} steps, {log.images:,} images in {log.seconds:.0f} s"
        f" ({log.images / max(log.seconds, 1e-9):.1f} images/s)",
        f"  loss        {log.losses[0]:.3f} at first, {log.losses[-1]:.3f} at last",
        f"  checkpoint  {tuned.output}",
    ]
    if material.dropped:
        lines.append(f"  cut         {material.dropped:,} labels found no room in their answer")
    if material.lost:
        lines.append(
            f"  lost        {material.lost:,} images have left their shard or changed in it"
        )
    return "\n".join([*lines, ""])


def _next_step(tuned: "FineTuned", config: "Config") -> str:
    paths = {name: config.resolve(model.checkpoint) for name, model in config.models.items()}
    names = [name for name, path in paths.items() if path == tuned.output]
    if names:
        return f"pipelines find it as model {names[0]}:"
    return "name it under `models` for the next pipeline:"


def _model_lines(tuned: "FineTuned", folder: Path) -> str:
    """YAML for pipelines.yaml in that folder; the path is relative where it can be."""
    inside = tuned.output.is_relative_to(folder)
    path = f"./{tuned.output.relative_to(folder)}" if inside else str(tuned.output)
    return f"  {tuned.name}:\n    checkpoint: {path}"
