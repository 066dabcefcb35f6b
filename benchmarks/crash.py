"""Kill `annotator run` and `annotator judge` at random moments; what is there then, and at the end?

    python benchmarks/crash.py --kills 100 --shards 40 --json crash.json

Each store makes three versions: `run`; `judge` by other rules; `run` by another recipe. On the way
the whole process group gets SIGKILL: while shards are worked on, between the last part and the
commit, and during the commit. After each kill the tables must be those of the version before or of
the new one, and every finished version those of a store that nobody disturbed, value by value.
What a kill met is told by what the dead process left behind, not by when it was meant to die.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crash_project import Project, Rows, Step, compare, make_shards, rows_at, steps, told
from figures import write_figures

from annotator.store import Store

WORK, BETWEEN, COMMIT, AFTER = "work", "between part and commit", "commit", "after the commit"
MEANT = (WORK, WORK, BETWEEN, COMMIT, COMMIT)
"""How often each phase is aimed at."""
WRONG = ("doubled", "lost", "foreign", "differing", "versions")
"""Rows, and stores whose versions say other things of themselves."""
KILLS_PER_STEP = 4
POLL = 0.01


@dataclass(frozen=True)
class Reference:
    """A store that nobody disturbed: rows and words of each version, its parts then, and seconds
    from the start to the first part, between parts, from the last to the commit, and of that."""

    rows: tuple[Rows, ...]
    told: list[tuple[object, ...]]
    parts: tuple[int, ...]
    start: float
    part: float
    gap: float
    commit: float


def main() -> None:
    """Print what was killed, and what that did to the tables; exit 1 where it did anything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--versions", type=int, default=3, help="how many each store makes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--no-model", action="store_true", help="labels of people only: a third of the time"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    if arguments.kills < 1:
        parser.error("--kills: 1 at least")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        shards = Path(folder) / "shards"
        make_shards(shards, arguments.shards)
        made = steps(shards, not arguments.no_model)[: arguments.versions]
        crashes = Crashes(Path(folder), made, arguments.seed)
        for measured in crashes.measure(arguments.kills):
            figures = {"shards": arguments.shards, **measured}
            if arguments.json:
                options = {"seed": arguments.seed, "model": not arguments.no_model}
                write_figures(arguments.json, {**options, **figures})
    print_figures(figures)
    sys.exit(any(figures["found"][what] for what in WRONG))


class Crashes:
    """Kills, and what was found after them."""

    def __init__(self, folder: Path, made: tuple[Step, ...], seed: int) -> None:
        self.folder, self.steps, self.random = folder, made, random.Random(seed)
        self.killed: Counter[str] = Counter()
        self.after: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.reference = undisturbed(Project(folder / "undisturbed"), made)

    def measure(self, kills: int) -> Iterator[dict[str, Any]]:
        """The figures after each store."""
        stores = 0
        while self.killed.total() < kills:
            self._one_store(Project(self.folder / f"store-{stores}"), kills, 1 + stores % 2)
            stores += 1
            print(f"{self.killed.total()} of {kills} kills", file=sys.stderr)
            yield self._figures(stores)

    def _figures(self, stores: int) -> dict[str, Any]:
        return {
            "stores": stores,
            "kills": self.killed.total(),
            "killed_in": dict(self.killed),
            "tables_after_a_kill": dict(self.after),
            "found": {what: self.found[what] for what in ("rows", *WRONG)},
            "seconds": {
                name: getattr(self.reference, name) for name in ("start", "part", "gap", "commit")
            },
        }

    def _one_store(self, project: Project, kills: int, workers: int) -> None:
        for number, step in enumerate(self.steps, 1):
            for phase in sorted(
                self.random.sample(MEANT, KILLS_PER_STEP), key=lambda phase: phase != WORK
            ):
                if self.killed.total() < kills and project.version() < number:
                    self._kill(project, step, number, phase, workers)
            project.finish(step, workers)
            self.found += compare(rows_at(project.root, number), self.reference.rows[number - 1])
        for number in range(1, len(self.steps) + 1):
            self.found += compare(rows_at(project.root, number), self.reference.rows[number - 1])
        self.found["versions"] += told(project.root) != self.reference.told

    def _kill(self, project: Project, step: Step, number: int, phase: str, workers: int) -> None:
        """Start the step, kill it in that phase, and look at what it leaves."""
        claims, wanted = project.claims(), self.reference.parts[number - 1]
        moments = self._moments(project, wanted, claims)
        process = project.begin(step, workers)
        until(moments[phase], process)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if process.returncode == -signal.SIGKILL:  # else it had ended by itself
            self.killed[self._met(project, number, wanted, claims)] += 1
            self._look(project, number)

    def _moments(
        self, project: Project, wanted: int, claims: set[str]
    ) -> dict[str, Iterator[bool]]:
        """Phase → whether its random moment has come, asked again and again."""
        there, known = project.parts(), self.reference
        target = self.random.randrange(there, max(wanted, there + 1))
        begin = known.start if target == there else known.part

        def all_there() -> bool:
            return project.parts() >= wanted

        return {
            WORK: after(lambda: project.parts() >= target, self.random.uniform(0, begin)),
            BETWEEN: after(all_there, self.random.uniform(0, known.gap)),
            COMMIT: after(
                lambda: all_there() and project.claims() > claims,
                self.random.uniform(0, known.commit),
            ),
        }

    def _met(self, project: Project, number: int, wanted: int, claims: set[str]) -> str:
        if project.version() >= number:
            return AFTER
        if project.claims() > claims:
            return COMMIT
        return BETWEEN if project.parts() >= wanted else WORK

    def _look(self, project: Project, number: int) -> None:
        """The tables are those of the version before or of this one, and nothing else."""
        version = project.version()
        self.after["the new version" if version == number else "the version before"] += 1
        if not number - 1 <= version <= number:
            raise RuntimeError(f"a kill left version {version} while {number} was made")
        if version:
            self.found += compare(rows_at(project.root, version), self.reference.rows[version - 1])
        elif project.root.joinpath("catalog.sqlite").is_file():
            Store.open(project.root).connect().close()


def undisturbed(project: Project, made: tuple[Step, ...]) -> Reference:
    """Each step once, with one worker, and the seconds of the first."""
    rows, parts, seconds = [], [], {}
    for number, step in enumerate(made, 1):
        if number == 1:
            seconds = timed(project, step)
        else:
            project.finish(step, 1)
        rows.append(rows_at(project.root, number))
        parts.append(project.parts())
    return Reference(tuple(rows), told(project.root), tuple(parts), **seconds)


def timed(project: Project, step: Step) -> dict[str, float]:
    """Seconds of the phases of the first step, looked at once more when it has ended."""
    process, started, times = project.begin(step, 1), time.perf_counter(), {}
    last, ended = 0, False
    while not ended:
        time.sleep(POLL)
        ended = process.poll() is not None
        now = time.perf_counter() - started
        if (parts := project.parts()) > last:
            times.setdefault("first", now)
            times["last"], last = now, parts
        if project.claims():
            times.setdefault("claimed", now)
        if project.version():
            times.setdefault("committed", now)
    project.ended(process)
    return {
        "start": times["first"],
        "part": (times["last"] - times["first"]) / last,
        "gap": times["claimed"] - times["last"],
        "commit": times["committed"] - times["claimed"],
    }


def after(sign: Callable[[], bool], seconds: float) -> Iterator[bool]:
    """Whether so many seconds have passed since there was a sign."""
    while not sign():
        yield False
    due = time.perf_counter() + seconds
    while time.perf_counter() < due:
        yield False
    yield True


def until(moment: Iterator[bool], process: subprocess.Popen[str]) -> None:
    """Wait for it, or for the end of the process."""
    while process.poll() is None and not next(moment):
        time.sleep(POLL)


def print_figures(figures: Mapping[str, Any]) -> None:
    """A table of the kills, and what was found after them."""
    print(f"{figures['kills']} kills, {figures['stores']} stores of {figures['shards']} shards")
    for phase in (WORK, BETWEEN, COMMIT, AFTER):
        print(f"  killed in: {phase:26} {figures['killed_in'].get(phase, 0):5}")
    for which, count in figures["tables_after_a_kill"].items():
        print(f"  tables after a kill: {which:16} {count:5}")
    found = figures["found"]
    print(f"{found['rows']:,} rows held against those of a store that nobody disturbed")
    for what in WRONG:
        print(f"  {what:37} {found[what]:5}")


if __name__ == "__main__":
    main()
