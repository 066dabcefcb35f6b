"""The command line: parse, call the library, print. Verbs load their module only when called."""

import importlib
import sys
from collections.abc import Sequence

import click

from annotator.errors import AnnotatorError

VERBS = {
    "run": "annotator.cli.run",
    "plan": "annotator.cli.run",
    "check": "annotator.cli.check",
    "shards": "annotator.cli.shards",
    "query": "annotator.cli.tables",
    "log": "annotator.cli.tables",
    "diff": "annotator.cli.tables",
    "labels": "annotator.cli.labels",
    "train": "annotator.cli.train",
}
"""Verb → the module that defines a click command of that name."""


class _Verbs(click.Group):
    """Imports a verb's module when the verb is used, so that `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(VERBS[cmd_name]), cmd_name)
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="annotator")
def cli() -> None:
    """Turn shards of images into versioned tables of labels, and into better models."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit codes: 0 done, 1 the user can mend it, 2 usage, 3 our bug, 130 Ctrl-C."""
    try:
        cli.main(args=arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except AnnotatorError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
