"""`annotator judge`: new rules for candidates that are there already."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from annotator.cli.options import config_option, executor_option, json_option, workers_option
from annotator.cli.planned import plan_text
from annotator.cli.run import print_failed, print_result
from annotator.cli.tables import print_table
from annotator.cli.words import counted

if TYPE_CHECKING:
    from annotator.rejudge import Preview

MOST = 20
"""Rows of a table that are printed: free words make thousands of categories."""


@click.command()
@click.argument("name", required=False)
@config_option
@click.option("--dry-run", is_flag=True, help="Print what would change; commit nothing.")
@executor_option
@workers_option
@json_option
def judge(
    name: str | None,
    config: Path,
    dry_run: bool,
    executor_name: str,
    workers: int,
    as_json: bool,
) -> None:
    """Judge the stored candidates of a pipeline by its rules of now, and commit a version.

    No model runs. Change thresholds in the pipelines file, look with --dry-run at the labels that
    would be rejected or kept again, then judge. Older versions still answer.

    \b
    Example:
      annotator judge demo --dry-run
      annotator judge demo
      annotator judge demo --executor dask --workers 2
    """
    from annotator import rejudge
    from annotator.config import load_config

    plan = rejudge.plan_judging(load_config(config), name)
    click.echo(plan_text(plan), err=True)
    if not dry_run:
        print_result(rejudge.judge(plan, executor_name, workers), as_json)
        return
    found = rejudge.preview(plan, executor_name, workers)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        _print_preview(found)
    print_failed(found.failed)


def _print_preview(found: "Preview") -> None:
    from annotator.summary import render

    click.echo(
        f"{found.plan.name}: {counted(found.shards, 'shard')} would differ from version "
        f"{found.version}; nothing was committed\n\n{render(found.summary)}"
    )
    changed = [row for row in found.diff.counts if row.same < max(row.before, row.after)]
    if not changed:
        click.echo("\nno label would change")
        return
    rules = [[rule.filter, rule.rejected, rule.restored] for rule in found.rules]
    _print_most(("rule", "rejects newly", "no longer rejects"), rules)
    changed.sort(key=lambda row: row.same - max(row.before, row.after))
    columns = ("kind", "source", "category", "before", "after", "rejected", "restored")
    others = [name for name in ("added", "removed") if any(getattr(row, name) for row in changed)]
    names = [*columns, *others]
    _print_most(names, [[getattr(row, name) for name in names] for row in changed])


def _print_most(columns: "tuple[str, ...] | list[str]", rows: list[list[Any]]) -> None:
    if not rows:
        return
    click.echo()
    print_table(columns, rows[:MOST])
    if len(rows) > MOST:
        click.echo(f"… {len(rows) - MOST:,} more: --json prints them all")
