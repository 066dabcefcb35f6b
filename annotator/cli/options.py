"""Options that several commands share."""

import math
from pathlib import Path
from typing import Any

import click

from annotator.executors import EXECUTORS


class Share(click.FloatRange):
    """A number from 0 to 1; click's own range lets `nan` through."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range 0<=x<=1.", param, ctx)
        return number


config_option = click.option(
    "--config",
    default="pipelines.yaml",
    type=click.Path(path_type=Path),
    show_default=True,
    help="The pipelines file.",
)
table_option = click.option(
    "--table", help="Table or pipeline by name, or the path of a table's folder."
)
executor_option = click.option(
    "--executor",
    "executor_name",
    type=click.Choice(list(EXECUTORS)),
    default="local",
    show_default=True,
    help="Who works on the shards: this machine, or a Dask cluster.",
)
workers_option = click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Worker processes."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
version_option = click.option(
    "--version", help="Version by number, tag or time (ISO 8601).  [default: the latest]"
)
