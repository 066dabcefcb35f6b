"""`annotator run` and `annotator plan`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from annotator.cli.options import config_option, executor_option, json_option, workers_option
from annotator.cli.planned import plan_in_full, plan_json, plan_text
from annotator.cli.words import counted

if TYPE_CHECKING:
    from annotator.runner import RunResult
    from annotator.summary import Summary

SUMMED = ("propose", "judge")
"""Steps whose seconds are summed over the workers."""
limit_option = click.option("--limit", type=click.IntRange(1), help="Only the first N shards.")


@click.command()
@click.argument("name", required=False)
@config_option
@executor_option
@workers_option
@limit_option
@json_option
def run(
    name: str | None,
    config: Path,
    executor_name: str,
    workers: int,
    limit: int | None,
    as_json: bool,
) -> None:
    """Run a pipeline (the first by default) and commit one version of its tables.

    Stop it whenever you like: run again, and only what is missing is done.

    \b
    Example:
      annotator run demo
      annotator run demo --executor dask --workers 2
    """
    from annotator.config import load_config
    from annotator.plan import plan_run
    from annotator.runner import execute

    plan = plan_run(load_config(config), name, limit=limit)
    click.echo(plan_text(plan), err=True)
    print_result(execute(plan, executor_name, workers), as_json)


@click.command()
@click.argument("name", required=False)
@config_option
@limit_option
@json_option
def plan(name: str | None, config: Path, limit: int | None, as_json: bool) -> None:
    """Print what `run` would do: what is new, what is reused. Runs no model, writes no table.

    Then the rules that labels are held to: every judge with its options, a profile written out, and
    the constants that were measured over all shards.

    \b
    Example:
      annotator plan demo
    """
    from annotator.config import load_config
    from annotator.plan import plan_run

    planned = plan_run(load_config(config), name, limit=limit)
    if as_json:
        click.echo(json.dumps(plan_json(planned), indent=2))
    else:
        click.echo(plan_in_full(planned))


def print_result(result: "RunResult", as_json: bool) -> None:
    """What the tables hold now; exit code 1 where a shard failed."""
    from annotator.store import Store
    from annotator.summary import summarise

    store = Store.open(result.plan.table)
    with store.connect(result.current) as connection:
        summary = summarise(connection, result.plan.judges) if result.current else None
    if as_json:
        click.echo(_run_json(result, summary))
    else:
        click.echo(_run_text(result, summary, store.plain_duckdb()))
    print_failed(result.failed)


def print_failed(failed: Mapping[str, str]) -> None:
    """Why each shard failed; exit code 1 where one did."""
    for shard, error in failed.items():
        click.echo(f"shard {shard} failed: {error}", err=True)
    if failed:
        raise SystemExit(1)


def _run_text(result: "RunResult", summary: "Summary | None", plain_duckdb: str) -> str:
    from annotator.summary import render

    if summary is None:
        return f"{result.plan.name}: nothing was committed"
    new = (
        f"version {result.version}" if result.version else f"nothing new, version {result.current}"
    )
    images = counted(sum(summary.images.values()), "image")
    times = " · ".join(
        f"{step} {seconds:.1f} s"
        + (" over all workers" if result.workers > 1 and step in SUMMED else "")
        for step, seconds in result.seconds.items()
    )
    return "\n".join(
        [
            f"{result.plan.name}: {new} · {images} in {counted(summary.shards, 'shard')}",
            "",
            render(summary),
            "",
            f"time     {times}",
            f"tables   {plain_duckdb}",
        ]
    )


def _run_json(result: "RunResult", summary: "Summary | None") -> str:
    report: dict[str, Any] = {
        "pipeline": result.plan.name,
        "table": str(result.plan.table),
        "version": result.version,
        "current": result.current,
        "failed": result.failed,
        "seconds": result.seconds,
        "workers": result.workers,
        "summary": summary.to_json() if summary else None,
    }
    return json.dumps(report, indent=2)
