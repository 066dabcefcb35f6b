"""The tables that a verb is about, and rows printed for reading or for scripts."""

import json
from collections.abc import Sequence
from decimal import Decimal
from itertools import count
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from annotator.store import Store

MAX_CELL = 60
MAX_ROWS = 1000
"""Rows that the readable format prints; the others print them all."""

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder of tables.  [default: the one pipelines.yaml names]",
)


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


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], total: int | None = None
) -> None:
    """Aligned for reading: numbers to the right, NULL by that name, long values cut.

    `total`: how many rows there are, where `rows` are only the first.
    """
    total = len(rows) if total is None else total
    rows = rows[:MAX_ROWS]
    shown = [[_cell(value) for value in row] for row in rows]
    lines = [list(columns), *shown]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    right = [all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    for line in [lines[0], ["─" * width for width in widths], *shown]:
        cells = zip(line, widths, right, strict=True)
        padded = [cell.rjust(w) if to_right else cell.ljust(w) for cell, w, to_right in cells]
        click.echo("  ".join(padded).rstrip())
    if total > len(rows):
        click.echo(f"{len(rows):,} of {total:,} rows; --format csv prints all", err=True)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, Number) and not isinstance(value, bool))


def _cell(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = " ".join(str(value).split())
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"


def print_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """An array with one object per row; what JSON has no number for is null."""
    objects = json_objects(columns, rows)
    click.echo(json.dumps(objects, indent=1, default=as_json, ensure_ascii=False))


def json_objects(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows as objects; of two columns of one name the second is numbered."""
    names = _distinct(columns)
    return [dict(zip(names, map(_json_value, row), strict=True)) for row in rows]


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


def as_json(value: object) -> object:
    """DuckDB's sums of integers and its literals with a point are decimals."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)
