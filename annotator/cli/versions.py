"""`annotator log`, `annotator diff`, `annotator tag` and `annotator rollback`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from annotator.cli.options import Share, config_option, json_option, table_option
from annotator.cli.tables import (
    as_json,
    json_objects,
    open_table,
    print_json,
    print_table,
    store_option,
)

if TYPE_CHECKING:
    from annotator.store import Diff, Version

COUNTED = ("images", "texts", "regions", "phrases")
LOG_COLUMNS = ("version", "when", *COUNTED, "parent", "tags", "recipe", "model", "message")
SHORT = 12
"""Characters of a digest that the readable log shows."""


@click.command()
@table_option
@store_option
@config_option
@json_option
def log(table: str | None, store: Path | None, config: Path, as_json: bool) -> None:
    """List the versions of the tables: when, how many kept labels, and what was committed.

    Versions that `annotator expire` let go of are listed as expired: they can no longer be read.

    \b
    Example:
      annotator log --table demo
    """
    opened = open_table(table, store, config)
    names: dict[int, list[str]] = {}
    for name, number in opened.tags().items():
        names.setdefault(number, []).append(name)
    known = [*opened.expired_versions(), *opened.versions()]
    known.sort(key=lambda version: version.number, reverse=True)
    versions = [(version, names.get(version.number, [])) for version in known]
    if as_json:
        expired = [version.expired and version.expired.isoformat() for version in known]
        rows = [[*_log_values(*each), when] for each, when in zip(versions, expired, strict=True)]
        print_json([*LOG_COLUMNS, "expired"], rows)
        return
    print_table(LOG_COLUMNS, [_log_row(*each) for each in versions])
    click.echo(f"in DuckDB's own client: {opened.plain_duckdb()}", err=True)


def _log_values(version: "Version", tags: list[str]) -> list[Any]:
    extra = version.extra
    counts = [version.counts.get(name) for name in COUNTED]
    made_of = [tags, extra.get("recipes", []), extra.get("models", [])]
    when = version.when.isoformat()
    return [version.number, when, *counts, extra.get("parent"), *made_of, version.message]


def _log_row(version: "Version", tags: list[str]) -> list[Any]:
    number, _, *counts, parent, _, recipes, models, message = _log_values(version, tags)
    when = version.when.astimezone()  # the reader's own clock, as every other program shows it
    digests = [digest.removeprefix("sha256:")[:SHORT] for digest in models]
    words = [", ".join(names) for names in (tags, recipes, digests)]
    if version.expired:
        message = f"(expired) {message}"
    return [number, f"{when:%Y-%m-%d %H:%M:%S}", *counts, parent, *words, message]


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@table_option
@store_option
@config_option
@click.option("--rows", "with_rows", is_flag=True, help="Print each label that is not the same.")
@click.option(
    "--min-iou",
    type=Share(),
    default=0.5,
    show_default=True,
    help="How much the boxes of a label that moved must overlap.",
)
@json_option
def diff(
    before: str,
    after: str,
    table: str | None,
    store: Path | None,
    config: Path,
    with_rows: bool,
    min_iou: float,
    as_json: bool,
) -> None:
    """Count what changed from version A to version B, by kind, source and category.

    A and B are numbers, tags or times. Labels are matched by image, kind and place, whatever their
    numbers: same, added, removed, changed (moved, relabelled or rescored), rejected by a verdict,
    or restored. In SQL: SELECT * FROM changes(A, B).

    \b
    Example:
      annotator diff 1 2
      annotator diff gold 7 --rows
    """
    found = open_table(table, store, config).diff(before, after, min_iou=min_iou)
    if as_json:
        _print_diff_json(found, with_rows)
        return
    print_table(DIFF_COLUMNS, _count_rows(found))
    if with_rows:
        click.echo()
        print_table(ROW_COLUMNS, [_change_row(row) for row in found.rows.to_pylist()])


DIFF_COLUMNS = (
    *("kind", "source", "category", "before", "after", "same", "added", "removed", "changed"),
    *("moved", "relabelled", "rescored", "rejected", "restored"),
)
ROW_COLUMNS = ("change", "label", "now", "category", "words", "box", "iou", "score")


def _count_rows(found: "Diff") -> list[list[Any]]:
    return [[getattr(row, column) for column in DIFF_COLUMNS] for row in found.counts]


def _print_diff_json(found: "Diff", with_rows: bool) -> None:
    told: dict[str, Any] = {"counts": json_objects(DIFF_COLUMNS, _count_rows(found))}
    if with_rows:
        told["rows"] = found.rows.to_pylist()
    click.echo(json.dumps(told, indent=1, default=as_json, ensure_ascii=False))


def _change_row(row: dict[str, Any]) -> list[Any]:
    """For reading: what is the same is said once, what differs as `before → after`."""
    what = [name for name in ("moved", "relabelled", "rescored") if row[name]]
    change = row["change"] if row["change"] != "changed" else ", ".join(what)
    values = {
        side: {name: row[f"{name}_{side}"] for name in ("label_id", "category", "words", "score")}
        | {"box": _box(row, side)}
        for side in ("before", "after")
    }
    was, now = values["before"], values["after"]
    shown = [_arrow(was[name], now[name]) for name in ("category", "words", "box")]
    ids = [was["label_id"] or now["label_id"], now["label_id"] if was["label_id"] else None]
    return [change, *ids, *shown, row["iou"], _arrow(was["score"], now["score"])]


def _box(row: dict[str, Any], side: str) -> str | None:
    corners = [row[f"{edge}_{side}"] for edge in ("x0", "y0", "x1", "y1")]
    return None if None in corners else " ".join(f"{corner:.1f}" for corner in corners)


def _arrow(was: object, now: object) -> object:
    if was == now or now is None:
        return was
    if was is None:
        return now
    was, now = (f"{v:.3f}" if isinstance(v, float) else v for v in (was, now))
    return f"{was} → {now}"


@click.command()
@click.argument("name")
@click.argument("version", required=False)
@table_option
@store_option
@config_option
@click.option("--note", help="Why, in a few words.")
@click.option("--move", is_flag=True, help="Let a tag that is another version's move to this one.")
@click.option("--delete", is_flag=True, help="Remove the tag; the version stays.")
def tag(
    name: str,
    version: str | None,
    table: str | None,
    store: Path | None,
    config: Path,
    note: str | None,
    move: bool,
    delete: bool,
) -> None:
    """Give a version a name, the latest by default.

    \b
    Example:
      annotator tag gold 3 --note "checked by two people"
      annotator query --version gold "SELECT count(*) FROM regions"
    """
    opened = open_table(table, store, config)
    if delete:
        opened.remove_tag(name)
        click.echo(f"tag {name} removed", err=True)
        return
    tagged = opened.tag(name, version or opened.latest().number, note=note, move=move)
    click.echo(f"{name} is version {tagged.number}", err=True)


@click.command()
@click.argument("version")
@table_option
@store_option
@config_option
def rollback(version: str, table: str | None, store: Path | None, config: Path) -> None:
    """Make a new version that is equal to an older one; history stays.

    A run after it puts in again what differs from its own pipeline, from the stored parts.

    \b
    Example:
      annotator rollback 3
    """
    opened = open_table(table, store, config)
    number = opened.roll_back(version)
    latest = opened.latest().number
    if number is None:
        click.echo(f"nothing to do: version {latest} is equal to version {version}", err=True)
    else:
        click.echo(f"version {number} is equal to version {version}", err=True)
