"""What would otherwise be said in review."""

import importlib
import inspect
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest

import annotator
from annotator.cli import VERBS, cli
from stages.base import Stage
from stages.catalogue import JUDGES, PROPOSERS

ROOT = Path(__file__).parent.parent
STAGES: dict[str, type[Stage]] = {**PROPOSERS, **JUDGES}
HEAVY = ("torch", "transformers", "dask", "distributed", "duckdb", "pyarrow", "pydantic")


def commands(verb: str) -> dict[str, click.Command]:
    """A verb and the verbs below it, by the words that call them."""
    context = click.Context(cli)
    command = cli.get_command(context, verb)
    assert command is not None
    below = command.commands if isinstance(command, click.Group) else {}
    return {verb: command, **{f"{verb} {name}": each for name, each in below.items()}}


HELP_OF_EVERY_VERB = """
import sys
from annotator.cli import VERBS, main
loaded = set()
for words in ([], *([verb] for verb in VERBS)):
    try:
        main([*words, "--help"])
    except SystemExit:
        pass
    new = {name.partition(".")[0] for name in sys.modules} - loaded
    loaded |= new
    print("modules:", *words, *new)
"""


def test_all_is_what_we_export() -> None:
    assert annotator.__all__ == ["load_config", "open_tables", "run"]
    for name in annotator.__all__:
        assert callable(getattr(annotator, name)), name
        assert name in dir(annotator)
    with pytest.raises(AttributeError, match="module 'annotator' has no attribute 'utils'"):
        annotator.utils  # noqa: B018 - the look-up is the test


def test_asking_for_help_loads_nothing_heavy() -> None:
    """In one fresh interpreter; the first verb that loads something heavy is named."""
    command = [sys.executable, "-c", HELP_OF_EVERY_VERB]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    after = [set(line.split()) for line in done.stdout.splitlines() if line.startswith("modules:")]
    assert "annotator" in after[0]
    assert len(after) == 1 + len(VERBS)
    for verb, loaded in zip(["annotator", *VERBS], after, strict=True):
        assert loaded.isdisjoint(HEAVY), verb


@pytest.mark.parametrize("name", STAGES)
def test_one_name_per_stage(name: str) -> None:
    stage = STAGES[name]
    camel_case = "".join(word.capitalize() for word in name.split("_"))
    assert stage.__name__ == camel_case
    assert stage.__module__ in (f"stages.{name}", f"stages.{name}.stage")
    assert stage.model_fields["stage"].default == name


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_is_documented(name: str) -> None:
    silent = [
        option
        for option, field in STAGES[name].model_fields.items()
        if option != "stage" and not field.description
    ]
    assert silent == [], "every option has a description"
    assert re.search(rf"^\| `{name}` \|", readme_section("Stages"), re.MULTILINE)


def readme_section(title: str) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, rest = text.partition(f"\n## {title}\n")
    assert rest, f"README.md has no section {title}"
    return rest.partition("\n## ")[0]


def test_every_stage_file_is_in_the_table_of_contents() -> None:
    tools = {"base", "catalogue", "errors", "language", "triplets", "witnesses"}
    there = {path.name.removesuffix(".py") for path in (ROOT / "stages").glob("[a-z]*")}
    assert there - tools == set(STAGES)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_summed_up_by_the_first_line_of_its_help(verb: str) -> None:
    assert (commands(verb)[verb].help or "").startswith(VERBS[verb].summary)


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_an_example_that_calls_it(verb: str) -> None:
    for name, command in commands(verb).items():
        _, _, example = inspect.cleandoc(command.help or "").partition("\b\nExample:\n")
        assert f"annotator {name}" in example, f"annotator {name} --help has no example"


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_a_command_is_explained(verb: str) -> None:
    for name, command in commands(verb).items():
        options = [each for each in command.params if isinstance(each, click.Option)]
        assert [each.name for each in options if not each.help] == [], name


@pytest.mark.parametrize("package", ["annotator", "stages", "schemas"])
def test_no_other_distribution_installs_our_names(package: str) -> None:
    assert set(packages_distributions().get(package, ["annotator"])) == {"annotator"}
    loaded = importlib.import_module(package).__file__
    assert loaded is not None
    assert Path(loaded).parent == ROOT / package
