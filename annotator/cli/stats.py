"""`annotator stats`."""

import json
from pathlib import Path

import click

from annotator.cli.options import config_option, json_option, version_option
from annotator.cli.tables import open_table, store_option


@click.command()
@click.argument("name", required=False)
@version_option
@click.option(
    "--parser",
    default="chunker",
    show_default=True,
    help="What counts words: the one that ships with the package, or a spaCy pipeline's name.",
)
@store_option
@config_option
@json_option
def stats(
    name: str | None,
    version: str | None,
    parser: str,
    store: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Count a version as FLD-5B's paper counts its labels, and print both side by side.

    Texts, their tokens, objects, attributes, actions and complexities; regions and triplets, and
    the tokens of what they say; areas, aspects and centres of boxes. Of kept labels of any source.

    \b
    Example:
      annotator stats demo
      annotator stats demo --version 1 --json
      annotator stats photos --parser en_core_web_sm
    """
    from annotator.stats import stats_of
    from annotator.stats_text import render

    found = stats_of(open_table(name, store, config), version, parser)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        click.echo(render(found))
