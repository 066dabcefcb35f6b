"""`annotator why`: one label, in plain words."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from annotator.cli.options import config_option, json_option, table_option, version_option
from annotator.cli.tables import as_json as json_value
from annotator.cli.tables import json_objects, open_table, print_table, store_option

if TYPE_CHECKING:
    from annotator.explanation import Explanation

SAID = ("text", "category", "phrase", "level", "crowd", "task")
SCORES = (
    *("score", "min_token_score", "label_score", "location_score", "windowed_location_score"),
    *("location_spread", "end_score"),
)
CORNERS = ("x0", "y0", "x1", "y1")
VERDICT_COLUMNS = ("verdict", "filter", "value", "threshold", "detail")
WIDTH = 9


@click.command()
@click.argument("label_id")
@table_option
@store_option
@config_option
@version_option
@json_option
def why(
    label_id: str,
    table: str | None,
    store: Path | None,
    config: Path,
    version: str | None,
    as_json: bool,
) -> None:
    """Say what is known of a label: what it says, who made it, and why it is kept or not.

    Ids of labels stand in the column label_id, of all_texts, all_regions and all_phrases too.

    \b
    Example:
      annotator why cells-000000/cell0/model/region/3
      annotator why cells-000000/cell0/model/text/0 --version 1
    """
    from annotator.explanation import explain

    found = explain(open_table(table, store, config), label_id, version)
    if as_json:
        _print_json(found)
        return
    kept = f"not kept, by {', '.join(found.rejecting)}" if found.rejecting else "kept"
    click.echo(f"{label_id} in version {found.version}: {kept}\n")
    for name, value in _lines(found):
        click.echo(f"{name:{WIDTH}}  {value}")
    click.echo()
    if found.verdicts:
        rows = [[row[column] for column in VERDICT_COLUMNS] for row in found.verdicts]
        print_table(("verdict", "rule", *VERDICT_COLUMNS[2:]), rows)
    else:
        click.echo("no rule has anything to say against it")


def _lines(found: "Explanation") -> Iterator[tuple[str, str]]:
    label, image = found.label, found.image
    yield "kind", found.kind
    for name in SAID:
        if label.get(name) is not None:
            yield name, str(label[name])
    if label.get("x0") is not None:
        box = " ".join(f"{label[corner]:.1f}" for corner in CORNERS)
        yield label["shape"] or "box", f"{box} (x0 y0 x1 y1, pixels)"
    if label.get("char_start") is not None:
        yield "span", f"characters {label['char_start']} to {label['char_end']} of the text"
    yield "image", f"{label['image_id']}, {_image(image)}"
    yield from found.related.items()
    yield "source", label["source"]
    yield "recipe", _recipe(found)
    scores = [f"{name} {label[name]:.4g}" for name in SCORES if label.get(name) is not None]
    yield "scores", " · ".join(scores) or "none"
    if label.get("truncated"):
        yield "remark", "the model's answer was cut before its end"


def _image(image: dict[str, Any]) -> str:
    size = f"{image['width']} x {image['height']} pixels" if image.get("width") else "unknown size"
    return ", ".join([size, *(str(image[n]) for n in ("state", "url") if image.get(n))])


def _recipe(found: "Explanation") -> str:
    if found.label["recipe"] is None:
        return "none: no pipeline made it"
    words = [f"{found.label['recipe']}, round {found.label['round']}"]
    words += [f"stages {', '.join(found.stages)}"] if found.stages else []
    return ", ".join([*words, *(f"model {digest}" for digest in found.models)])


def _print_json(found: "Explanation") -> None:
    label, image = ((list(row), [list(row.values())]) for row in (found.label, found.image))
    verdicts = [list(row.values()) for row in found.verdicts]
    told = {
        "label_id": found.label_id,
        "version": found.version,
        "kind": found.kind,
        "kept": not found.rejecting,
        "label": json_objects(*label)[0],
        "image": json_objects(*image)[0],
        "related": found.related,
        "stages": found.stages,
        "models": found.models,
        "verdicts": json_objects(list(found.verdicts[0]), verdicts) if verdicts else [],
    }
    click.echo(json.dumps(told, indent=1, default=json_value, ensure_ascii=False))
