"""The command line: parse, call the library, print. Verbs load their module only when called."""

import errno
import importlib
import os
import select
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import NamedTuple

import click

from annotator.errors import AnnotatorError


class Verb(NamedTuple):
    """`module` defines a click command with the verb's name; `summary` is its first line."""

    module: str
    summary: str


VERBS = {
    "run": Verb(
        "annotator.cli.run",
        "Run a pipeline (the first by default) and commit one version of its tables.",
    ),
    "plan": Verb(
        "annotator.cli.run",
        "Print what `run` would do: what is new, what is reused.",
    ),
    "judge": Verb(
        "annotator.cli.judge",
        "Judge the stored candidates of a pipeline by its rules of now, and commit a version.",
    ),
    "check": Verb(
        "annotator.cli.check",
        "Say what is wrong in pipelines.yaml: every mistake at once, with its line.",
    ),
    "shards": Verb(
        "annotator.cli.shards", "Make WebDataset shards from images, and look into shards."
    ),
    "query": Verb("annotator.cli.query", "Ask the tables in SQL (DuckDB's). Read-only."),
    "shell": Verb(
        "annotator.cli.query",
        "Ask the tables one SELECT after another, at a prompt. Read-only.",
    ),
    "why": Verb(
        "annotator.cli.why",
        "Say what is known of a label: what it says, who made it, and why it is kept or not.",
    ),
    "stats": Verb(
        "annotator.cli.stats",
        "Count a version as FLD-5B's paper counts its labels, and print both side by side.",
    ),
    "log": Verb(
        "annotator.cli.versions",
        "List the versions of the tables: when, how many kept labels, and what was committed.",
    ),
    "diff": Verb(
        "annotator.cli.versions",
        "Count what changed from version A to version B, by kind, source and category.",
    ),
    "tag": Verb(
        "annotator.cli.versions",
        "Give a version a name, the latest by default.",
    ),
    "rollback": Verb(
        "annotator.cli.versions",
        "Make a new version that is equal to an older one; history stays.",
    ),
    "expire": Verb(
        "annotator.cli.maintenance",
        "Let go of old versions by rule; tagged ones stay, and so does the latest.",
    ),
    "compact": Verb(
        "annotator.cli.maintenance",
        "Write small files of the tables together; every version answers as before.",
    ),
    "gc": Verb(
        "annotator.cli.maintenance",
        "Delete what no version of the tables needs, after saying what.",
    ),
    "labels": Verb("annotator.cli.labels", "Move labels from the tables to other programs."),
    "evaluate": Verb(
        "annotator.cli.evaluate",
        "Measure a checkpoint on scenes whose truth is known, or a version against people's boxes.",
    ),
    "train": Verb(
        "annotator.cli.train",
        "Fine-tune a checkpoint on a version of the tables (the first training by default).",
    ),
    "models": Verb("annotator.cli.models", "Make files for other runtimes from a checkpoint."),
}
DONE, MENDABLE, BUG, INTERRUPTED = 0, 1, 3, 130
READER_LEFT = 141
"""As a shell reports a program that SIGPIPE ended."""
_DAMAGE = (".parquet", "TProtocolException")
"""What DuckDB says of a spoilt data file: its name or, of a broken page header, not even that."""
_ENVIRONMENT = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS}


class _Verbs(click.Group):
    """Imports a verb's module when the verb is used, so that `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(VERBS[cmd_name].module)
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            close = get_close_matches(args[0], VERBS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(VERBS)}"
            ctx.fail(f"no command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="annotator")
def cli() -> None:
    """Turn shards of images into versioned tables of labels, and into better models.

    \b
    Example:
      annotator run demo
      annotator query --table demo "SELECT category, count(*) FROM regions GROUP BY 1"
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit codes: 0 done, 1 the user can mend it, 2 usage, 3 our bug, 130 Ctrl-C."""
    code = _exit_code(list(sys.argv[1:] if arguments is None else arguments))
    if code == READER_LEFT:
        # What is still in the buffers cannot be written: without this the shutdown tries.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, EOFError, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place that can say what happened
        return _failure(error, arguments)


def _run(arguments: list[str]) -> int:
    if "_ANNOTATOR_COMPLETE" in os.environ:
        cli.main(arguments, prog_name="annotator")
    # Not cli.main: it takes every broken pipe, a network connection's too, for a reader that left.
    try:
        with cli.make_context("annotator", arguments) as context:
            cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    sys.stdout.flush()
    return DONE


def _failure(error: Exception, arguments: Sequence[str]) -> int:
    if isinstance(error, BrokenPipeError) and _reader_left():
        return READER_LEFT
    if (sentence := _mendable(error)) is not None:
        # Several mistakes begin with their file and line, which terminals and editors follow.
        separator = "\n" if "\n" in sentence else " "
        click.echo(f"error:{separator}{sentence}", err=True)
        return MENDABLE
    from annotator.cli.bug import report_bug

    click.echo(report_bug(error, arguments), err=True)
    return BUG


def _reader_left() -> bool:
    """Whether it was our own output that broke, and not some connection."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a stream without a descriptor
            poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _mendable(error: Exception) -> str | None:
    """The sentence for the user, None where there is nothing that a user could do."""
    from stages.errors import StageError

    if isinstance(error, AnnotatorError | StageError):
        return str(error)
    if (sentence := _damage(error)) is not None:
        return sentence
    if isinstance(error, OSError) and error.errno in _ENVIRONMENT:
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return None


def _damage(error: Exception) -> str | None:
    """The sentence for a data file of the tables that is gone or spoilt; only reading finds out."""
    duckdb = sys.modules.get("duckdb")
    [said, *_] = str(error).splitlines() or [""]
    if duckdb is None or not isinstance(error, duckdb.Error):
        return None
    from annotator.store.sql import swept_meanwhile

    advice = swept_meanwhile(error)
    if advice is None and not any(sign in said for sign in _DAMAGE):
        return None
    return (
        f"the tables cannot be read: {said}; {f'{advice}; else ' if advice else ''}put the data "
        "file back from a copy, or remove all but parts/ from the table's folder and run again, "
        "which begins at version 1"
    )
