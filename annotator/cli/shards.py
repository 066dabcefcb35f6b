"""`annotator shards`: make shards from a folder, and look into shards."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from annotator.cli.words import counted

if TYPE_CHECKING:
    from annotator.human.coco_split import LeftOut
    from annotator.shards import ShardReport

SHOWN = 10


@click.group()
def shards() -> None:
    """Make WebDataset shards from images, and look into shards.

    \b
    Example:
      annotator shards pack photos --output shards
      annotator shards inspect "shards/photos-*.tar"
    """


@shards.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to fill.")
@click.option("--labels", type=click.Path(path_type=Path), help="Label file, or folder of them.")
@click.option(
    "--only", type=click.Path(path_type=Path), help="File of keys, one per line: pack no others."
)
@click.option("--prefix", help="Shards are named PREFIX-000000.tar.  [default: name of FOLDER]")
@click.option(
    "--samples-per-shard",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Images in one shard.",
)
def pack(
    folder: Path,
    output: Path,
    labels: Path | None,
    only: Path | None,
    prefix: str | None,
    samples_per_shard: int,
) -> None:
    """Pack the images of FOLDER, with Pascal VOC, COCO and txt labels, into shards.

    A key is an image's path below FOLDER without its extension.

    \b
    Example:
      annotator shards pack photos --output shards
      annotator shards pack bccd/images --only bccd/splits/train.txt --prefix bccd-train \\
          --output shards
    """
    from annotator.packing import pack_folder

    summary = pack_folder(
        folder,
        output,
        labels=labels,
        only=only,
        prefix=prefix,
        samples_per_shard=samples_per_shard,
    )
    for shard in summary.shards:
        click.echo(shard)
    click.echo(
        f"{counted(summary.images, 'image')} in {counted(len(summary.shards), 'shard')}, "
        f"{summary.labelled} with labels from {counted(len(summary.label_files), 'label file')}",
        err=True,
    )
    _say_left_out(summary.left_out)


@shards.command()
@click.argument("urls", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per shard.")
def inspect(urls: tuple[str, ...], as_json: bool) -> None:
    """Count what is in shards, and name what is wrong with them; URLS may be patterns.

    \b
    Example:
      annotator shards inspect "shards/photos-{000000..000002}.tar"
      annotator shards inspect --json s3://bucket/train-000000.tar
    """
    from annotator.errors import ShardError
    from annotator.shards import expand_shards, inspect_shard

    refs = expand_shards(urls, Path.cwd())
    unreadable = 0
    for ref in refs:
        try:
            report = inspect_shard(ref)
        except ShardError as error:
            click.echo(f"error: {error}", err=True)
            unreadable += 1
        else:
            _show(report, as_json)
    if unreadable:
        raise ShardError(f"{unreadable} of {counted(len(refs), 'shard')} cannot be read at all")


def _show(report: "ShardReport", as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_as_json(report), ensure_ascii=False))
        return
    members = ", ".join(f"{suffix} {count}" for suffix, count in report.suffixes.items())
    click.echo(
        f"{report.ref.address}: {counted(report.samples, 'sample')}, "
        f"{counted(report.images, 'image')}, {report.size / 1e6:.1f} MB ({members or 'empty'})"
    )
    for problem in report.problems[:SHOWN]:
        click.echo(f"  {problem.kind}: {problem.detail}")
    if len(report.problems) > SHOWN:
        click.echo(f"  … and {len(report.problems) - SHOWN} more problems: --json shows them all")


def _as_json(report: "ShardReport") -> dict[str, Any]:
    return {
        "url": report.ref.address,
        "name": report.ref.name,
        "samples": report.samples,
        "images": report.images,
        "bytes": report.size,
        "suffixes": report.suffixes,
        "problems": [
            {"kind": problem.kind, "key": problem.key, "detail": problem.detail}
            for problem in report.problems
        ],
    }


def _say_left_out(left_out: "Sequence[LeftOut]") -> None:
    if left_out:
        click.echo(f"left out: {counted(len(left_out), 'entry', 'entries')}", err=True)
    for entry in left_out[:SHOWN]:
        click.echo(f"  {entry.path}: {entry.reason}", err=True)
    if len(left_out) > SHOWN:
        click.echo(f"  … and {len(left_out) - SHOWN} more", err=True)
