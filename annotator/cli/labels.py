"""`annotator labels`: labels as files for other programs."""

from pathlib import Path

import click

FORMATS = ("jsonl", "coco")


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
@click.option("--table", help="Table or pipeline by name, or the path of a table's folder.")
@click.option("--version", type=click.IntRange(1), help="Version to take.  [default: the latest]")
@click.option("--source", type=click.Choice(["human", "model"]), help="Only labels of this source.")
@click.option(
    "--config",
    default="pipelines.yaml",
    type=click.Path(path_type=Path),
    show_default=True,
    help="The pipelines file.",
)
def export(
    format_name: str,
    output: Path,
    table: str | None,
    version: int | None,
    source: str | None,
    config: Path,
) -> None:
    """Write the kept labels of a version to one file, as JSON Lines or COCO.

    \b
    Example:
      annotator labels export --format coco --output regions.json
      annotator labels export --format jsonl --output people.jsonl --table demo --source human
    """
    from contextlib import closing

    from annotator.cli.tables import open_table
    from annotator.human.export import export_coco, export_jsonl

    write = {"jsonl": export_jsonl, "coco": export_coco}[format_name]
    with closing(open_table(table, None, config).connect(version)) as connection:
        written = write(connection, output, source)
    click.echo(f"{output}: {written.images:,} images, {written.labels:,} labels", err=True)
