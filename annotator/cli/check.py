"""`annotator check`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from annotator.cli.options import config_option

if TYPE_CHECKING:
    from annotator.config import Config


@click.command()
@config_option
@click.option("--schema", is_flag=True, help="Print the JSON schema of the file, for editors.")
def check(config: Path, schema: bool) -> None:
    """Say what is wrong in pipelines.yaml: every mistake at once, with its line.

    \b
    Example:
      annotator check
      annotator check --schema > pipelines.schema.json
    """
    from annotator.config import Config, load_config

    if schema:
        click.echo(json.dumps(Config.model_json_schema(), indent=2))
    else:
        click.echo(_overview(config, load_config(config)))


def _overview(path: Path, config: "Config") -> str:
    lines = [f"ok: {path}"]
    for name, pipeline in config.pipelines.items():
        names = [step.stage for step in [*pipeline.propose, *pipeline.judges]]
        round_ = f" (round {pipeline.round})" if pipeline.round else ""
        steps = ", ".join(names) or "no stages"
        if isinstance(pipeline.judge, str):
            steps += f" (judged by the profile {pipeline.judge})"
        lines.append(f"  pipeline {name} → {pipeline.table or name}{round_}: {steps}")
    for name, model in config.models.items():
        revision = f" at {model.revision}" if model.revision else ""
        lines.append(f"  model {name}: {model.checkpoint}{revision}")
    for name, training in config.trainings.items():
        lines.append(f"  training {name}: {training.table} → {training.output}")
    return "\n".join(lines)
