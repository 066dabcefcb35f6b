"""Options that several commands share."""

from pathlib import Path

import click

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
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
version_option = click.option(
    "--version", help="Version by number, tag or time (ISO 8601).  [default: the latest]"
)
