"""The store at many shards against plain Parquet files with a manifest, in the same run.

python benchmarks/store.py --shards 1000 --regions 1000000 --json store.json

Time and memory of commits, of the queries that people ask, and of a diff of two versions. Each is
measured in a process of its own, so that its peak of memory is its own. Seconds of the processor
are those of all threads: on a machine with other work they tell more than those of the clock.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb
from figures import write_figures
from store_shards import (
    KEY,
    RECIPE,
    REGIONS,
    commit_plainly,
    edit_shards,
    keep_entries,
    make_shards,
    read_entries,
)

from annotator.store import ShardCommit, Store

Spent = tuple[float, float]
"""Seconds by the clock and by the processor."""
ROUNDS = 3
PIECE = 500
"""Shards that are made before they are noted."""
QUERIES = {
    "count by category": "SELECT category, count(*) FROM {regions} GROUP BY 1",
    "join of ten shards": "SELECT count(*), avg(r.score) FROM {regions} r JOIN {texts} t "
    "USING (image_id) WHERE r.shard BETWEEN 'shard-00010' AND 'shard-00019' "
    "AND t.label_no = 0",
    "one image": "SELECT * FROM {regions} WHERE image_id = 'shard-00042/000007'",
    "score and category": "SELECT image_id, x0, y0, x1, y1 FROM {regions} "
    "WHERE score > 0.9 AND category = 'category 5'",
    "sum of a column": "SELECT sum(score) FROM {regions}",
}
KEPT = "SELECT category, count(*) FROM regions GROUP BY 1"
BY_HAND = (
    "SELECT count(*) FROM {before} b FULL JOIN {after} a USING ({key}) "
    "WHERE b.category IS DISTINCT FROM a.category OR b.score IS DISTINCT FROM a.score"
)


def main() -> None:
    """Print each figure beside that of the alternative."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--regions", type=int, default=1_000_000, help="in all shards together")
    parser.add_argument("--folder", type=Path, help="for the files, several GB for many rows")
    parser.add_argument("--made", type=Path, help="keep the parts here, and use those that are")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    images = max(arguments.regions // arguments.shards // REGIONS, 1)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        made = arguments.made or Path(folder) / "made"
        figures = measure(Path(folder), made, arguments.shards, images)
    for name, value in figures.items():
        print(f"{name:45} {value:,.4g}")
    if arguments.json:
        write_figures(arguments.json, figures)


def measure(folder: Path, made: Path, shards: int, images: int) -> dict[str, float]:
    """Seconds (`_s`), peaks of memory (`_mb`) and sizes (`_mb_on_disk`) of both ways."""
    entries, edited = made_shards(made, shards, images)
    figures = {"shards": shards, "regions": sum(entry.rows["regions"] for entry in entries)}
    figures["parts_mb_on_disk"] = megabytes(made)
    root, plain = folder / "tables", folder / "plain"
    figures |= measure_commits(folder, root, entries)
    figures |= apart("plain_commit", commit_plainly, plain, entries)
    for name, query in QUERIES.items():
        figures |= measure_query(name, query, root, plain)
    figures |= apart("kept count by category", ask, root, KEPT)
    figures |= apart("second_commit", commit, root, edited)
    figures |= apart("count by category at version 2", ask, root, in_lake(QUERIES_FIRST), 2)
    figures |= apart("diff", diff, root)
    commit_plainly(folder / "plain_second", edited)
    by_hand = BY_HAND.format(
        before=of_files(plain, "regions"),
        after=of_files(folder / "plain_second", "regions"),
        key=", ".join(KEY),
    )
    figures |= apart("plain_diff_by_key", ask_files, by_hand)
    return figures


def made_shards(
    made: Path, shards: int, images: int
) -> tuple[list[ShardCommit], list[ShardCommit]]:
    """Both versions of each shard; those that are there are not made again."""
    for start in range(0, shards, PIECE):
        if not (made / f"{start}.json").exists():
            numbers = range(start, min(start + PIECE, shards))
            entries = spread(partial(make_shards, made, images), numbers)
            keep_entries(made / f"{start}.json", entries, spread(edit_shards, entries))
    entries: list[ShardCommit] = []
    edited: list[ShardCommit] = []
    for start in range(0, shards, PIECE):
        first, second = read_entries(made / f"{start}.json")
        entries += first
        edited += second
    return entries, edited


QUERIES_FIRST = next(iter(QUERIES.values()))


def measure_commits(folder: Path, root: Path, entries: Sequence[ShardCommit]) -> dict[str, float]:
    """All shards but a hundredth at once, then that hundredth; smaller runs into new stores."""
    few = max(len(entries) // 100, 1)
    figures: dict[str, float] = {}
    for part in (100, 10):
        some = entries[: max(len(entries) // part, 1)]
        name = f"commit_of_{len(some)}_shards"
        figures |= apart(name, commit, folder / f"tables-{part}", some)
        figures[f"{name}_cpu_ms_per_shard"] = 1000 * figures[f"{name}_cpu_s"] / len(some)
    most = len(entries) - few
    name = f"commit_of_{most}_shards"
    figures |= apart(name, commit, root, entries[:most])
    figures[f"{name}_cpu_ms_per_shard"] = 1000 * figures[f"{name}_cpu_s"] / most
    figures |= apart(f"commit_of_{few}_more_shards", commit, root, entries[most:])
    figures |= apart("commit_of_nothing_new", commit, root, entries)
    figures["data_mb_on_disk"] = megabytes(root / "data")
    figures["catalogue_mb_on_disk"] = megabytes(root) - figures["data_mb_on_disk"]
    figures["lake_files"] = len([*root.glob("data/**/*.parquet")])
    return figures


def measure_query(name: str, query: str, root: Path, plain: Path) -> dict[str, float]:
    """In the lake, and over the plain files."""
    files = query.format(regions=of_files(plain, "regions"), texts=of_files(plain, "texts"))
    return {
        **apart(name, ask, root, in_lake(query)),
        **apart(f"plain {name}", ask_files, files),
    }


def in_lake(query: str) -> str:
    """Every candidate, as the files have them."""
    return query.format(regions="all_regions", texts="all_texts")


def of_files(plain: Path, table: str) -> str:
    """DuckDB's name for the files of a table."""
    return f"read_parquet('{plain}/{table}/*.parquet')"


def apart(name: str, work: Callable[..., Spent | None], *given: Any) -> dict[str, float]:
    """What it took in a new process; `work` may say itself how long."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        (seconds, processor), peak = pool.submit(timed, work, given).result()
    print(f"{name}: {seconds:.3g} s, {processor:.3g} s of the processor", file=sys.stderr)
    return {f"{name}_s": seconds, f"{name}_cpu_s": processor, f"{name}_peak_mb": peak}


def timed(work: Callable[..., Spent | None], given: tuple[Any, ...]) -> tuple[Spent, float]:
    """The peak of memory is what the system notes of this process."""
    started = now()
    said = work(*given)
    spent = since(started) if said is None else said
    status = Path("/proc/self/status").read_text().splitlines()
    [peak] = [int(line.split()[1]) for line in status if line.startswith("VmHWM:")]
    return spent, peak / 1024


def now() -> Spent:
    """By the clock and by the processor."""
    return time.perf_counter(), time.process_time()


def since(started: Spent) -> Spent:
    """Seconds."""
    return time.perf_counter() - started[0], time.process_time() - started[1]


def spread(work: Callable[[Any], list[ShardCommit]], over: Sequence[Any]) -> list[ShardCommit]:
    """By two processes."""
    pieces = [over[i : i + 50] for i in range(0, len(over), 50)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return [entry for entries in pool.map(work, pieces) for entry in entries]


def commit(root: Path, entries: Sequence[ShardCommit]) -> None:
    """One version, or none where all is in."""
    store = Store.create_or_open(root)
    store.commit(entries, recipes={RECIPE: {}}, message="benchmark", extra={"run": "benchmark"})


def ask(root: Path, query: str, version: int | None = None) -> Spent:
    """Of a query after a first one, in one connection."""
    with closing(Store.open(root).connect(version)) as lake:
        return warm(lake, query)


def ask_files(query: str) -> Spent:
    """The same, over plain files."""
    with closing(duckdb.connect()) as connection:
        connection.execute("SET enable_progress_bar = false")
        return warm(connection, query)


def warm(connection: duckdb.DuckDBPyConnection, query: str) -> Spent:
    """Medians of some rounds, the first not counted."""
    rounds = []
    for _ in range(ROUNDS + 1):
        started = now()
        connection.execute(query).fetchall()
        rounds.append(since(started))
    seconds, processor = zip(*rounds[1:], strict=True)
    return statistics.median(seconds), statistics.median(processor)


def diff(root: Path) -> None:
    """At label level, whatever the labels' numbers."""
    found = Store.open(root).diff(2, 3)
    changed = sum(row.relabelled for row in found.counts)
    assert changed == len(found.rows) > 0, "the second version differs in categories only"


def megabytes(folder: Path) -> float:
    """Of all its files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
