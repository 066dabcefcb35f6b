import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.errors import AnnotatorError
from annotator.executors import executor
from stages import WORKER


def count_letters(task: str) -> Iterator[int | str]:
    yield len(task)
    yield task.upper()


def die_on_the_first_try(task: str) -> Iterator[int | str]:
    """The task is a path: its absence means that nobody has tried yet."""
    marker = Path(task)
    yield 1
    if marker.name.startswith("fatal") or not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield f"done {marker.name}"


def wait_to_be_seen(task: str) -> Iterator[int | str]:
    """The task is a path, which is there once somebody has seen the progress."""
    yield 1
    yield "seen" if appears(Path(task)) else "never seen"


def raise_or_go_on(task: str) -> Iterator[int | str]:
    """One task raises when the other has begun, which goes on for a minute."""
    path = Path(task)
    if path.name == "wrong":
        assert appears(path.with_name("long"))
        raise ValueError("wrong")
    path.touch()
    for _ in range(6000):
        yield 1
        time.sleep(0.01)
    path.with_name("ended").touch()
    yield "ended"


def meet_the_other(task: str) -> Iterator[int | str]:
    """The task is a path; two workers are there when there are two such."""
    Path(task).touch()
    assert all(appears(Path(task).with_name(letter)) for letter in "ab")
    yield os.environ[WORKER]


def appears(path: Path) -> bool:
    for _ in range(6000):
        if path.exists():
            return True
        time.sleep(0.01)
    return False


def give_up(task: str, reason: str) -> str:
    return f"{Path(task).name}: {reason}"


def results(name: str, work: object, tasks: list[str], workers: int) -> tuple[list[str], int]:
    events = list(executor(name)(work, give_up, tasks, workers))
    return sorted(e for e in events if isinstance(e, str)), sum(
        e for e in events if isinstance(e, int)
    )


@pytest.mark.parametrize(
    ("name", "workers"),
    [
        pytest.param("local", 1, id="in this process"),
        pytest.param("local", 2, id="a pool", marks=pytest.mark.slow),
        pytest.param("dask", 2, id="dask", marks=pytest.mark.slow),
    ],
)
def test_every_executor_gives_each_result_once_and_all_progress(name: str, workers: int) -> None:
    assert results(name, count_letters, ["a", "bb", "ccc"], workers) == (["A", "BB", "CCC"], 6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["local", "dask"])
def test_a_task_whose_worker_was_killed_is_done_again(name: str, tmp_path: Path) -> None:
    tasks = [str(tmp_path / letter) for letter in "abc"]
    done = results(name, die_on_the_first_try, tasks, 2)
    assert done == (["done a", "done b", "done c"], 3)


@pytest.mark.slow
def test_a_task_that_always_kills_its_worker_is_given_up_and_the_others_are_done(
    tmp_path: Path,
) -> None:
    (tmp_path / "good").touch()
    tasks = [str(tmp_path / "good"), str(tmp_path / "fatal")]
    done = results("local", die_on_the_first_try, tasks, 2)
    assert done == (["done good", "fatal: its worker died 3 times; is memory short?"], 1)


@pytest.mark.slow
def test_progress_within_a_task_is_seen_while_it_lasts(tmp_path: Path) -> None:
    tasks = [str(tmp_path / letter) for letter in "ab"]
    done = []
    for event in executor("local")(wait_to_be_seen, give_up, tasks, 2):
        if isinstance(event, int) and event > 0:
            for task in tasks:
                Path(task).touch()
        done.append(event)
    assert [event for event in done if isinstance(event, str)] == ["seen", "seen"]


@pytest.mark.slow
def test_nobody_waits_for_the_others_when_one_raises(tmp_path: Path) -> None:
    tasks = [str(tmp_path / name) for name in ("wrong", "long")]
    with pytest.raises(ValueError, match="wrong"):
        results("local", raise_or_go_on, tasks, 2)
    assert not (tmp_path / "ended").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["local", "dask"])
def test_workers_are_numbered(name: str, tmp_path: Path) -> None:
    tasks = [str(tmp_path / letter) for letter in "ab"]
    assert results(name, meet_the_other, tasks, 2) == (["0", "1"], 0)


KILLED_RUN = """
import os, sys
from annotator.executors import executor

def count(task):
    yield 1

if __name__ == "__main__":
    for _ in executor("local")(count, None, ["a"], 2):
        os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_workers_end_when_their_run_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(KILLED_RUN)
    # Its output ends when the last process does that could write to it: workers are among them.
    run = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, check=False)
    assert run.returncode == -signal.SIGKILL


def test_an_unknown_executor_is_named_with_those_that_there_are() -> None:
    with pytest.raises(
        AnnotatorError, match="no executor is called 'slurm': there are local, dask"
    ):
        executor("slurm")
