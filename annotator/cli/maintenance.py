"""`annotator gc`, `annotator compact` and `annotator expire`: keep tables small."""

import json
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from annotator.cli.options import config_option, json_option
from annotator.cli.tables import json_objects, open_table, print_table, store_option
from annotator.cli.words import counted, in_bytes

if TYPE_CHECKING:
    from annotator.store import Garbage, Version
    from annotator.store.lake_files import TableFiles

REASONS = {
    "released": "of expired versions, or compacted",
    "stray": "of a commit that did not end",
    "unfinished": "of a worker that did not end",
    "superseded": "parts of expired versions only, or made twice",
    "uncommitted": "parts that no version took in",
}
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


class Age(click.ParamType[timedelta]):
    """`30d`, `12h`, `90m`, `20s`; `0` is no age at all."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        if value == "0":
            return timedelta()
        if found := re.fullmatch(r"(\d{1,5})([dhms])", value):
            return timedelta(**{_UNITS[found[2]]: int(found[1])})
        return self.fail(f"{value!r} is no age: write 30d, 12h, 90m or 0", param, ctx)


@click.command()
@click.argument("name", required=False)
@store_option
@config_option
@click.option(
    "--older-than",
    type=Age(),
    default="1d",
    show_default=True,
    help="Leave what is younger: a run may be writing it, a query reading it.",
)
@click.option(
    "--uncommitted",
    is_flag=True,
    help="Complete parts that no version took in, too: a run that is taken up again needs them.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted; delete nothing.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.option("--files", "with_files", is_flag=True, help="Print each file.")
@json_option
def gc(
    name: str | None,
    store: Path | None,
    config: Path,
    older_than: timedelta,
    uncommitted: bool,
    dry_run: bool,
    yes: bool,
    with_files: bool,
    as_json: bool,
) -> None:
    """Delete what no version of the tables needs, after saying what.

    NAME is a table or pipeline, or the path of a table's folder. What runs left when they were
    killed, and files of versions that `annotator expire` let go of or `annotator compact` merged.

    \b
    Example:
      annotator gc demo --dry-run
      annotator gc demo --yes
    """
    opened = open_table(name, store, config)
    deleted = yes and not dry_run
    act = opened.sweep if deleted else opened.find_garbage
    found = act(older_than, uncommitted=uncommitted)
    if as_json:
        counts = {"bytes": found.bytes, "young": found.young, "waiting": found.waiting}
        told = {"deleted": deleted, **counts, "files": found.by_reason()}
        click.echo(json.dumps(told, indent=1))
        return
    _print_garbage(found, with_files)
    if deleted or dry_run or not any(found.by_reason().values()):
        click.echo(_summed_up(found, "deleted" if deleted else "would be deleted"), err=True)
        return
    click.echo(_summed_up(found, "can be deleted"), err=True)
    if not sys.stdin.isatty():
        raise click.UsageError("nothing was deleted: --yes deletes, --dry-run only looks")
    if click.confirm("delete them?", err=True):
        found = opened.sweep(older_than, uncommitted=uncommitted)
        click.echo(_summed_up(found, "deleted"), err=True)


def _print_garbage(found: "Garbage", with_files: bool) -> None:
    reasons = {reason: files for reason, files in found.by_reason().items() if files}
    if reasons:
        rows = [[len(files), reason, REASONS[reason]] for reason, files in reasons.items()]
        print_table(("files", "reason", "what"), rows)
    if with_files:
        for files in reasons.values():
            click.echo("\n".join(files))


def _summed_up(found: "Garbage", done: str) -> str:
    files = sum(map(len, found.by_reason().values()))
    said = [f"{counted(files, 'file')} {done}, {in_bytes(found.bytes)} freed"]
    if found.young:
        said.append(f"{counted(found.young, 'file')} left as too young (--older-than)")
    if found.waiting:
        parts = counted(found.waiting, "complete part")
        said.append(f"{parts} left for a run to take in (--uncommitted)")
    return "; ".join(said)


@click.command()
@click.argument("name", required=False)
@store_option
@config_option
@json_option
def compact(name: str | None, store: Path | None, config: Path, as_json: bool) -> None:
    """Write small files of the tables together; every version answers as before.

    NAME is a table or pipeline, or the path of a table's folder. Queries are quicker on few files.
    The old ones stay a day for queries that are reading them, until `annotator gc`.

    \b
    Example:
      annotator compact demo
      annotator gc demo
    """
    done = open_table(name, store, config).compact()
    columns = ("table", "files", "files_after", "bytes", "bytes_after")
    rows = [
        [
            each.before.table,
            each.before.files,
            each.after.files,
            each.before.bytes,
            each.after.bytes,
        ]
        for each in done
    ]
    if as_json:
        click.echo(json.dumps(json_objects(columns, rows), indent=1))
        return
    print_table(columns, rows)
    if all(each.before == each.after for each in done):
        click.echo("nothing to write together", err=True)
        return
    before, after = ([getattr(each, side) for each in done] for side in ("before", "after"))
    click.echo(
        f"{_together(before)} became {_together(after)}; `annotator gc` deletes the old ones a "
        "day from now",
        err=True,
    )


def _together(tables: "list[TableFiles]") -> str:
    files = counted(sum(each.files for each in tables), "file")
    return f"{files} of {in_bytes(sum(each.bytes for each in tables))}"


@click.command()
@click.argument("name", required=False)
@store_option
@config_option
@click.option("--keep-last", type=click.IntRange(1), help="Keep so many of the latest versions.")
@click.option("--older-than", type=Age(), help="Let go only of versions that are older, as 30d.")
@click.option("--dry-run", is_flag=True, help="Say which versions would go; change nothing.")
@json_option
def expire(
    name: str | None,
    store: Path | None,
    config: Path,
    keep_last: int | None,
    older_than: timedelta | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Let go of old versions by rule; tagged ones stay, and so does the latest.

    NAME is a table or pipeline, or the path of a table's folder. An expired version cannot be read
    again; `annotator log` still lists it. `annotator gc` then frees the disk. Of two rules a
    version that goes meets both.

    \b
    Example:
      annotator expire demo --keep-last 10 --dry-run
      annotator expire demo --older-than 30d
    """
    if keep_last is None and older_than is None:
        raise click.UsageError("say which versions: --keep-last N, --older-than AGE, or both")
    done = open_table(name, store, config).expire(
        keep_last=keep_last or 1, older_than=older_than or timedelta(), dry_run=dry_run
    )
    if as_json:
        told = {"dry_run": dry_run, "expired": _numbers(done.expired), "kept": _numbers(done.kept)}
        click.echo(json.dumps(told | {"files": done.files, "bytes": done.bytes}, indent=1))
        return
    columns = ("version", "when", "message")
    if done.expired:
        rows = [
            [v.number, f"{v.when.astimezone():%Y-%m-%d %H:%M:%S}", v.message] for v in done.expired
        ]
        print_table(columns, rows)
    click.echo(
        f"{counted(len(done.expired), 'version')} {'would go' if dry_run else 'expired'}, "
        f"{len(done.kept):,} stay; {counted(done.files, 'file')} for `annotator gc`, "
        f"{in_bytes(done.bytes)} freed then",
        err=True,
    )


def _numbers(versions: "tuple[Version, ...]") -> list[int]:
    return [version.number for version in versions]
