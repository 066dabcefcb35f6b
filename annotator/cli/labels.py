"""`annotator labels`: labels as files for other programs."""

from pathlib import Path

import click

from annotator.cli.options import config_option, table_option, version_option
from annotator.cli.words import counted

FORMATS = ("jsonl", "coco")
SOURCES = ("human", "model", "web")


@click.group()
def labels() -> None:
    """Move labels from the tables to other programs.

    \b
    Example:
      annotator labels export --format coco --output regions.json
    """


@labels.command()
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    required=True,
    help="jsonl: all kept labels, one image a line; coco: kept regions that have a category.",
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="File to write.")
@table_option
@version_option
@click.option("--source", type=click.Choice(SOURCES), help="Only labels of this source.")
@config_option
def export(
    format_name: str,
    output: Path,
    table: str | None,
    version: str | None,
    source: str | None,
    config: Path,
) -> None:
    """Write the kept labels of a version to one file, as JSON Lines or COCO.

    \b
    Example:
      annotator labels export --format coco --output regions.json
      annotator labels export --format jsonl --output people.jsonl --table demo --source human
      annotator labels export --format jsonl --output gold.jsonl --version gold
    """
    from contextlib import closing

    from annotator.cli.tables import open_table
    from annotator.human.export import export_coco, export_jsonl

    write = {"jsonl": export_jsonl, "coco": export_coco}[format_name]
    with closing(open_table(table, None, config).connect(version)) as connection:
        written = write(connection, output, source)
    held = f"{counted(written.images, 'image')}, {counted(written.labels, 'label')}"
    click.echo(f"{output}: {held}", err=True)
