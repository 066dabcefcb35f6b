"""`annotator query`, `annotator log` and `annotator diff`."""

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import count
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from annotator.cli.options import config_option, json_option, table_option

if TYPE_CHECKING:
    from annotator.store import DiffRow, Store, Version

MAX_CELL = 60
MAX_ROWS = 1000
"""Rows that the readable format prints; the others print them all."""

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder of tables.  [default: the one pipelines.yaml names]",
)


@click.command()
@click.argument("sql")
@table_option
@store_option
@config_option
@click.option("--version", type=click.IntRange(1), help="Version to ask.  [default: the latest]")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How to print the rows.",
)
def query(
    sql: str,
    table: str | None,
    store: Path | None,
    config: Path,
    version: int | None,
    format_name: str,
) -> None:
    """Ask the tables in SQL (DuckDB's). Read-only.

    Views texts, regions, phrases hold the labels that are kept; all_texts, all_regions,
    all_phrases hold every candidate; verdicts says why some are gone. v2.regions is of version 2.

    \b
    Example:
      annotator query "SELECT category, count(*) FROM regions GROUP BY 1"
      annotator query --format csv "SELECT filter, count(*) AS n FROM verdicts GROUP BY 1"
    """
    from annotator.query import run_query

    rows = run_query(open_table(table, store, config), sql, version)
    columns = [column.to_pylist() for column in rows.columns]
    FORMATS[format_name](rows.column_names, list(zip(*columns, strict=True)))


@click.command()
@table_option
@store_option
@config_option
def log(table: str | None, store: Path | None, config: Path) -> None:
    """List the versions of the tables: when, how many kept labels, and what was committed.

    \b
    Example:
      annotator log --table demo
    """
    opened = open_table(table, store, config)
    columns = ["version", "when", "images", "texts", "regions", "phrases", "message"]
    print_table(columns, [_log_row(version) for version in reversed(opened.versions())])
    click.echo(f"in DuckDB's own client: {opened.plain_duckdb()}", err=True)


def _log_row(version: "Version") -> list[Any]:
    counts = [version.counts.get(name) for name in ("images", "texts", "regions", "phrases")]
    when = version.when.astimezone()  # the reader's own clock, as every other program shows it
    return [version.number, f"{when:%Y-%m-%d %H:%M:%S}", *counts, version.message]


@click.command()
@click.argument("before", metavar="A", type=click.IntRange(1))
@click.argument("after", metavar="B", type=click.IntRange(1))
@table_option
@store_option
@config_option
@json_option
def diff(
    before: int,
    after: int,
    table: str | None,
    store: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Count what changed from version A to version B, by kind, source and category.

    Kept labels are matched by image and content; one that changed is removed and added.

    \b
    Example:
      annotator diff 1 2
    """
    rows = open_table(table, store, config).diff(before, after)
    if as_json:
        print_json(DIFF_COLUMNS, [_diff_row(row) for row in rows])
        return
    named = {"before": f"in {before}", "after": f"in {after}"}
    print_table([named.get(c, c) for c in DIFF_COLUMNS], [_diff_row(row) for row in rows])


DIFF_COLUMNS = ("kind", "source", "group", "before", "after", "same", "added", "removed")


def _diff_row(row: "DiffRow") -> list[Any]:
    return [getattr(row, column) for column in DIFF_COLUMNS]


def open_table(table: str | None, store: Path | None, config: Path) -> "Store":
    """The table that the options name, or the only one there is."""
    from annotator.store import Store, is_store

    if table is not None and is_store(Path(table)):
        return Store.open(Path(table))
    return Store.open(_named_table(table, store, config))


def _named_table(table: str | None, store: Path | None, config: Path) -> Path:
    from annotator.config import load_config

    if store is None:
        loaded = load_config(config)
        if table is not None:
            return loaded.store_folder(table)
        store = loaded.resolve(loaded.store)
    return store / table if table is not None else _only_table(store)


def _only_table(store: Path) -> Path:
    from annotator.errors import StoreError
    from annotator.store import is_store

    found = sorted(p for p in store.iterdir() if is_store(p)) if store.is_dir() else []
    if not found:
        raise StoreError(f"{store}: no tables here yet: `annotator run` makes them")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise StoreError(f"{store} holds several tables: choose with --table one of {names}")
    return found[0]


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Aligned for reading: numbers to the right, NULL by that name, long values cut."""
    shown = [[_cell(value) for value in row] for row in rows[:MAX_ROWS]]
    lines = [list(columns), *shown]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    right = [all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    for line in [lines[0], ["─" * width for width in widths], *shown]:
        cells = zip(line, widths, right, strict=True)
        padded = [cell.rjust(w) if to_right else cell.ljust(w) for cell, w, to_right in cells]
        click.echo("  ".join(padded).rstrip())
    if len(rows) > MAX_ROWS:
        click.echo(f"{MAX_ROWS:,} of {len(rows):,} rows; --format csv prints all", err=True)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, Number) and not isinstance(value, bool))


def _cell(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = " ".join(str(value).split())
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"


def print_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """NULL is an empty field, a list or struct its JSON."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_field(value) for value in row])


def _csv_field(value: object) -> object:
    return json.dumps(value, default=_as_json) if isinstance(value, (list, dict)) else value


def print_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """An array with one object per row; what JSON has no number for is null."""
    names = _distinct(columns)
    objects = [dict(zip(names, map(_json_value, row), strict=True)) for row in rows]
    click.echo(json.dumps(objects, indent=1, default=_as_json, ensure_ascii=False))


def _distinct(names: Sequence[str]) -> list[str]:
    """`a, a` → `a, a_1`, as DuckDB's own DataFrames: an object of JSON has each name once."""
    found: list[str] = []
    for name in names:
        free = (f"{name}_{number}" if number else name for number in count())
        found.append(next(new for new in free if new not in found))
    return found


def _json_value(value: object) -> object:
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def _as_json(value: object) -> object:
    """DuckDB's sums of integers and its literals with a point are decimals."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)


FORMATS: Mapping[str, Callable[[Sequence[str], Sequence[Sequence[Any]]], None]] = {
    "table": print_table,
    "csv": print_csv,
    "json": print_json,
}
