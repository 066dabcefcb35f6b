"""Exit codes and words of the command line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import duckdb
import pytest

import annotator.cli
from annotator.cli import main
from annotator.errors import AnnotatorError
from stages.errors import StageError

ROOT = Path(__file__).parent.parent
CONFIG = """\
version: 1
models:
  florence: {checkpoint: owner/name, revision: abc}
pipelines:
  first:
    shards: a.tar
    propose:
      - {stage: florence2, model: florence, tasks: [od]}
    judge:
      - stage: merge_human
  second:
    shards: b.tar
    table: first
    round: 1
    propose: []
trainings:
  better: {table: first, model: florence, output: out}
"""


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Makes `annotator plan` fail with an exception."""

    def install(error: BaseException) -> None:
        @click.command()
        def plan() -> None:
            raise error

        real = annotator.cli._Verbs.get_command
        monkeypatch.setattr(
            annotator.cli._Verbs,
            "get_command",
            lambda self, ctx, name: plan if name == "plan" else real(self, ctx, name),
        )

    return install


def test_help_and_version_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--help") == 0
    words = capsys.readouterr().out
    assert re.findall(r"^  (\w+)  ", words, re.MULTILINE) == list(annotator.cli.VERBS)
    assert exit_code("--version") == 0
    assert re.fullmatch(r"annotator, version \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["chek"], "Error: no command 'chek': did you mean 'check'?", id="a typo"),
        pytest.param(["check", "--shema"], "Error: No such option '--shema'", id="an option"),
        pytest.param(["--shema"], "Error: No such option '--shema'", id="an option of none"),
        pytest.param([], "Usage: annotator [OPTIONS] COMMAND", id="nothing"),
    ],
)
def test_a_wrong_use_is_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(*arguments) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(AnnotatorError("no shard"), "error: no shard\n", id="ours"),
        pytest.param(StageError("no checkpoint"), "error: no checkpoint\n", id="a stage's"),
        pytest.param(
            OSError(28, "No space left on device", "/data/part"),
            "error: /data/part: No space left on device\n",
            id="a full disk",
        ),
        pytest.param(
            duckdb.IOException('IO Error: Cannot open file "/t/data/a.parquet": gone\nLINE 1'),
            'error: the tables cannot be read: IO Error: Cannot open file "/t/data/a.parquet": '
            "gone; put the data file back from a copy, or remove all but parts/ from the table's "
            "folder and run again, which begins at version 1\n",
            id="a data file that is gone",
        ),
        pytest.param(
            duckdb.Error("TProtocolException: Invalid data"),
            "error: the tables cannot be read: TProtocolException: Invalid data; "
            "put the data file back from a copy, or remove all but parts/ from the table's "
            "folder and run again, which begins at version 1\n",
            id="a data file whose pages are spoilt",
        ),
        pytest.param(
            AnnotatorError("a.yaml:1: x\na.yaml:2: y"),
            "error:\na.yaml:1: x\na.yaml:2: y\n",
            id="several at once",
        ),
    ],
)
def test_what_the_user_can_mend_is_1_and_one_sentence(
    error: Exception, words: str, failing, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error)
    assert exit_code("plan") == 1
    assert capsys.readouterr().err == words


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort(), EOFError()])
def test_an_interruption_is_130(
    error: BaseException, failing, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error)
    assert exit_code("plan") == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ZeroDivisionError("of our own"), id="a bug"),
        pytest.param(duckdb.BinderException("Binder Error: no column"), id="our own SQL"),
        pytest.param(BrokenPipeError(32, "Broken pipe"), id="a connection, not our output"),
    ],
)
def test_our_bug_is_3_and_its_traceback_is_kept(
    error: Exception,
    failing,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(error)
    assert exit_code("plan") == 3
    (log,) = tmp_path.glob("annotator-bug-*.log")
    assert capsys.readouterr().err == (
        f"this is a bug of annotator: {type(error).__name__}: {error}\n"
        f"please report it with {log}\n"
    )
    kept = log.read_text(encoding="utf-8")
    assert kept.startswith("annotator plan\nPython 3.")
    assert re.search(r"^duckdb 1\.", kept, re.MULTILINE)
    assert "Traceback (most recent call last):" in kept
    assert kept.rstrip().endswith(f"{type(error).__name__}: {error}")


def test_a_bug_is_shown_where_it_cannot_be_kept(
    failing, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    failing(ZeroDivisionError("of our own"))
    assert exit_code("plan") == 3
    assert "ZeroDivisionError: of our own" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_mishap() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "annotator", "check", "--schema"],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_check_prints_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pipelines.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    assert exit_code("check", "--config", str(path)) == 0
    assert capsys.readouterr().out == (
        f"ok: {path}\n"
        "  pipeline first → first: florence2, merge_human\n"
        "  pipeline second → first (round 1): no stages\n"
        "  model florence: owner/name at abc\n"
        "  training better: first → out\n"
    )


def test_check_prints_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pipelines.yaml"
    path.write_text(CONFIG.replace("shards:", "shard:"), encoding="utf-8")
    assert exit_code("check", "--config", str(path)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "error:\n"
        f"{path}:5: pipelines.first: 'shards' is required\n"
        f"{path}:6: pipelines.first.shard: unknown option 'shard', did you mean 'shards'?\n"
        f"{path}:11: pipelines.second: 'shards' is required\n"
        f"{path}:12: pipelines.second.shard: unknown option 'shard', did you mean 'shards'?\n"
    )


def test_without_a_pipelines_file_check_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code("check") == 1
    assert capsys.readouterr().err == (
        f"error: no pipelines.yaml in {tmp_path}: run it where one is, or name it with --config\n"
    )
