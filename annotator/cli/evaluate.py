"""`annotator evaluate`."""

import json
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from annotator.cli.models import find_model
from annotator.cli.options import Share, config_option, json_option, table_option, version_option
from annotator.cli.tables import open_table, print_table
from annotator.cli.words import counted

if TYPE_CHECKING:
    from annotator.evaluation.human import Agreement
    from annotator.evaluation.scenes import Reached
    from annotator.store import Store

OPTIONS = {
    "scenes": ("model", "scenes", "difficulty"),
    "human": ("table", "version", "category", "min_score"),
}
"""Options that go with one kind of truth only."""


@click.command()
@click.option(
    "--on",
    "truth",
    type=click.Choice(list(OPTIONS)),
    required=True,
    help="scenes: a checkpoint on drawn scenes; human: a version against the boxes of people.",
)
@click.option("--model", default="embedded", show_default=True, help="A model, folder or Hub id.")
@click.option(
    "--scenes", type=click.IntRange(1), default=500, show_default=True, help="How many scenes."
)
@click.option(
    "--difficulty",
    type=Share(),
    default=0.5,
    show_default=True,
    help="More, smaller and overlapping things.",
)
@table_option
@version_option
@click.option("--category", multiple=True, help="Only this category; may be given several times.")
@click.option(
    "--min-score",
    type=Share(),
    default=0.0,
    show_default=True,
    help="Only the model's boxes that are at least so sure.",
)
@config_option
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    truth: str,
    model: str,
    scenes: int,
    difficulty: float,
    table: str | None,
    version: str | None,
    category: tuple[str, ...],
    min_score: float,
    config: Path,
    as_json: bool,
) -> None:
    """Measure a checkpoint on scenes whose truth is known, or a version against people's boxes.

    Training never draws these scenes. The boxes of people count as exhaustive on their images.

    \b
    Example:
      annotator evaluate --on scenes --model embedded
      annotator evaluate --on human --table bccd_test
    """
    _check_options(ctx, truth)
    if truth == "scenes":
        _on_scenes(model, config, scenes, difficulty, as_json)
    else:
        _on_human(open_table(table, None, config), version, category, min_score, as_json)


def _check_options(ctx: click.Context, truth: str) -> None:
    for other, names in OPTIONS.items():
        for name in names:
            if other != truth and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                flag = name.replace("_", "-")
                raise click.UsageError(f"--{flag} goes with --on {other}, not with --on {truth}")


def _on_scenes(model: str, config: Path, scenes: int, difficulty: float, as_json: bool) -> None:
    from annotator.evaluation.scenes import evaluate_scenes
    from stages.florence2.loading import load_checkpoint

    checkpoint = load_checkpoint(find_model(model, config))
    started = time.monotonic()
    reached = evaluate_scenes(checkpoint, scenes, difficulty)
    seconds = time.monotonic() - started
    if as_json:
        about = {"model": model, "digest": checkpoint.digest, "revision": checkpoint.revision}
        asked = {"scenes": scenes, "difficulty": difficulty, "seconds": round(seconds, 1)}
        _print_json({**about, **asked, "figures": list(map(_figure, reached))})
        return
    rows = [
        [r.measure.task, r.measure.words, _share(r.value), _share(r.measure.target, ""), r.asked]
        for r in reached
    ]
    print_table(["task", "measure", "reached", "target", "asked"], rows)
    click.echo(
        f"{model} ({checkpoint.digest[:12]}) on {counted(scenes, 'unseen scene')} of difficulty "
        f"{difficulty:g} in {seconds:.0f} s; a place is right at IoU 0.5",
        err=True,
    )


def _figure(reached: "Reached") -> dict[str, Any]:
    return {**asdict(reached.measure), "value": reached.value, "asked": reached.asked}


def _on_human(
    store: "Store",
    version: str | None,
    categories: Sequence[str],
    min_score: float,
    as_json: bool,
) -> None:
    from annotator.evaluation.human import evaluate_human

    taken = (store.latest() if version is None else store.version(version)).number
    with closing(store.connect(taken)) as connection:
        found = evaluate_human(connection, categories, min_score)
    rows = [*found.categories, found.every]
    if as_json:
        of = {"table": store.root.name, "version": taken, "images": found.images}
        _print_json({**of, "exhaustive": True, "figures": list(map(_agreement, rows))})
        return
    head = ["category", "people", "model", "AP@.50", "AP@[.50:.95]", "precision", "recall"]
    print_table(head, list(map(_agreement_row, rows)))
    click.echo(
        f"{counted(found.images, 'image')} with human boxes, which count as exhaustive: what the "
        "model found besides is wrong",
        err=True,
    )


def _agreement(row: "Agreement") -> dict[str, Any]:
    shares = {"precision": row.counts.precision, "recall": row.counts.recall}
    return {"category": row.name, "ap_50": row.ap_50, "ap": row.ap, **asdict(row.counts), **shares}


def _agreement_row(row: "Agreement") -> list[Any]:
    counts = row.counts
    shares = [row.ap_50, row.ap, counts.precision, counts.recall]
    return [row.name, counts.true, counts.found, *map(_share, shares)]


def _share(value: float | None, unknown: str = "-") -> str:
    return unknown if value is None else f"{value:.3f}"


def _print_json(report: dict[str, Any]) -> None:
    click.echo(json.dumps(report, indent=2))
