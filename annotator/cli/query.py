"""`annotator query` and `annotator shell`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from annotator.cli.options import config_option, table_option, version_option
from annotator.cli.output import FORMATS, format_of, write_rows
from annotator.cli.tables import open_table, store_option
from annotator.errors import AnnotatorError

PROMPT, MORE = "annotator> ", "      ...> "
WELCOME = """\
SELECT ends with ; and may take several lines. Views: images, texts, captions, regions, phrases,
triplets, verdicts, problems, and with every candidate all_texts, all_regions, all_phrases;
v2.regions is of version 2, changes(1, 2) what differs. .quit or Ctrl-D leaves."""


@click.command()
@click.argument("sql")
@table_option
@store_option
@config_option
@version_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    help="How to write the rows.  [default: table, or the ending of --output]",
)
@click.option("--output", type=click.Path(path_type=Path), help="File to write.  [default: print]")
def query(
    sql: str,
    table: str | None,
    store: Path | None,
    config: Path,
    version: str | None,
    format_name: str | None,
    output: Path | None,
) -> None:
    """Ask the tables in SQL (DuckDB's). Read-only.

    Views texts, captions, regions, phrases, triplets hold the labels that are kept; all_texts,
    all_regions, all_phrases hold every candidate; verdicts says why some are gone. v2.regions is of
    version 2; changes(1, 2) has a row for each label that differs between the two.

    \b
    Example:
      annotator query "SELECT category, count(*) FROM regions GROUP BY 1"
      annotator query "FROM triplets" --output triplets.parquet
      annotator query --version gold --format csv "SELECT filter, count(*) FROM verdicts GROUP BY 1"
    """
    from annotator.query import stream_query

    chosen = format_of(format_name, output)
    with stream_query(open_table(table, store, config), sql, version) as batches:
        write_rows(batches, chosen, output)


@click.command()
@table_option
@store_option
@config_option
@version_option
def shell(table: str | None, store: Path | None, config: Path, version: str | None) -> None:
    """Ask the tables one SELECT after another, at a prompt. Read-only.

    The line that opens them in DuckDB's own client is printed first.

    \b
    Example:
      annotator shell --table demo
    """
    from annotator.query import stream_query

    opened = open_table(table, store, config)
    at_terminal = sys.stdin.isatty()
    if at_terminal:
        import readline  # noqa: F401 - input() then has a history and can be edited

        click.echo(f"{WELCOME}\nin DuckDB's own client: {opened.plain_duckdb()}", err=True)
    for sql in _statements(at_terminal):
        try:
            with stream_query(opened, sql, version) as batches:
                write_rows(batches, "table", None)
        except AnnotatorError as error:
            if not at_terminal:
                raise
            click.echo(f"error: {error}", err=True)


def _statements(at_terminal: bool) -> Iterator[str]:
    """What stands before each `;` at the end of a line, and before the end of the input."""
    lines: list[str] = []
    while (line := _line(at_terminal, MORE if lines else PROMPT)) is not None:
        if not lines and line.strip() in (".quit", ".exit", "exit", "quit"):
            return
        lines.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(lines)
            lines = []
        elif not "".join(lines).strip():
            lines = []
    if lines:
        yield "\n".join(lines)


def _line(at_terminal: bool, prompt: str) -> str | None:
    try:
        return input(prompt if at_terminal else "")
    except EOFError:
        return None
