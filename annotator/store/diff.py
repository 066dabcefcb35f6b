"""What became of the labels from one version to another, whatever their numbers.

Labels are matched by image, source and kind: equal ones first, then those that say the same at the
same place, then those at the same place, then those whose bounding boxes overlap most. Texts and
phrases without a box are matched by their words. Counts are of kept labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from annotator.store import diff_sql as sql
from annotator.store import ledger
from annotator.store.matching import match_best_first
from schemas.tables import LABEL_TABLES

MIN_IOU = 0.5
LABELS_AT_ONCE = 2_000_000
"""Labels of both versions that are held against each other at a time."""
SUMMED_AT_ONCE = 50_000_000
"""Labels of both versions whose images are searched for differences at a time."""


@dataclass(frozen=True)
class DiffRow:
    """Kept labels of one kind, source and category in two versions.

    `category` of a text is its level, of a region with free words its task; None for phrases.
    A label that was matched counts where it was before:

    before = same + removed + rejected + changed, where `changed` labels are `moved`,
    `relabelled`, `rescored`, or several of these. `rejected` labels are there still, but no longer
    kept; `restored` ones are kept again.
    """

    kind: str
    source: str
    category: str | None
    before: int
    after: int
    same: int
    added: int
    removed: int
    changed: int
    moved: int
    relabelled: int
    rescored: int
    rejected: int
    restored: int


@dataclass(frozen=True)
class Diff:
    """`counts` by kind, source and category; `rows`: each label that is not the same (CHANGES)."""

    counts: list[DiffRow]
    rows: pa.Table


def diff(connection: duckdb.DuckDBPyConnection, min_iou: float = MIN_IOU) -> Diff:
    """Of the two versions that are attached as `before` and `after`; `min_iou` in [0, 1]."""
    columns = ", ".join(f"{name} {kind}" for name, kind in sql.CHANGES.items())
    connection.execute(f"CREATE TEMP TABLE changes ({columns})")
    connection.execute(
        "CREATE TEMP TABLE totals (kind VARCHAR, source VARCHAR, category VARCHAR, before BIGINT)"
    )
    changed = ledger.changed(connection, *(_CURRENT.format(side=side) for side in sql.SIDES))
    for kind in LABEL_TABLES:
        connection.execute(f"INSERT INTO totals {sql.totals(kind)}")
        _compare_kind(connection, kind, changed, min_iou)
    counts = [DiffRow(*row) for row in connection.execute(sql.COUNTS).fetchall()]
    rows = connection.execute(
        "FROM changes ORDER BY kind, image_id, source, label_id_before, label_id_after"
    ).to_arrow_table()
    return Diff(counts, rows)


def _compare_kind(
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    changed: Mapping[str, Sequence[str]],
    min_iou: float,
) -> None:
    """Images that differ are found first: to sum up an image's labels is less than to match them.

    `changed`: table → shards whose rows of it come from other files.
    """
    sizes = _sizes(connection, kind)
    labels = {shard for t in sql.READS[kind] if t != "verdicts" for shard in changed[t]}
    for batch in _batches(sizes, sorted(labels | {*changed["verdicts"]}), SUMMED_AT_ONCE):
        all_of_them = sql.within(batch, sizes)
        with_labels = sql.within([shard for shard in batch if shard in labels], sizes)
        differing = sql.differing_images(kind, with_labels, all_of_them)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE differing AS {differing}")
        query = "SELECT coalesce(sum(rows), 0) FROM differing"
        [(rows,)] = connection.execute(query).fetchall()
        at_once = LABELS_AT_ONCE if rows > LABELS_AT_ONCE else SUMMED_AT_ONCE
        for piece in _batches(sizes, batch, at_once) if rows else ():
            _compare(connection, kind, sql.within(piece, sizes), min_iou)


def _sizes(connection: duckdb.DuckDBPyConnection, kind: str) -> dict[str, int]:
    """Shard → its labels in either version."""
    rows = f"coalesce((rows ->> '$.{LABEL_TABLES[kind]}')::BIGINT, 0)"
    each = " UNION ALL ".join(f"SELECT shard, {rows} AS n FROM {side}.ledger" for side in sql.SIDES)
    query = f"SELECT shard, 2 * max(n) FROM ({each}) GROUP BY shard"
    return dict(connection.execute(query).fetchall())


def _batches(sizes: Mapping[str, int], shards: Sequence[str], at_once: int) -> Iterator[list[str]]:
    """So many shards at a time that memory holds their labels."""
    batch: list[str] = []
    labels = 0
    for shard in shards:
        batch.append(shard)
        labels += sizes[shard]
        if labels >= at_once:
            yield batch
            batch, labels = [], 0
    if batch:
        yield batch


def _compare(connection: duckdb.DuckDBPyConnection, kind: str, shards: str, min_iou: float) -> None:
    """Adds to `changes` what differs in those shards."""
    unequal = sql.unequal_labels(kind, shards, "differing")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE unequal AS {unequal}")
    connection.execute("CREATE OR REPLACE TEMP TABLE rest AS FROM unequal")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE pairs (before BIGINT, after BIGINT, iou DOUBLE)"
    )
    for key, condition in sql.MATCHES[kind]:
        connection.execute(f"INSERT INTO pairs {sql.alike(key, condition)}")
        connection.execute(
            "DELETE FROM rest WHERE row IN (SELECT unnest([before, after]) FROM pairs)"
        )
    _pair_overlapping(connection, min_iou)
    connection.execute(f"INSERT INTO changes BY NAME {sql.changes(kind)}")


def _pair_overlapping(connection: duckdb.DuckDBPyConnection, min_iou: float) -> None:
    found = connection.execute(sql.overlapping(min_iou)).fetchnumpy()
    before, after = (np.asarray(found[side], np.int64) for side in sql.SIDES)
    chosen = match_best_first(before, after, np.asarray(found["likeness"], np.float64))
    iou = np.asarray(found["iou"], np.float64)[chosen]
    matched = pa.table({"before": before[chosen], "after": after[chosen], "iou": iou})
    connection.register("matched", matched)
    connection.execute("INSERT INTO pairs BY NAME FROM matched")
    connection.unregister("matched")


_CURRENT = "(SELECT shard, rows FROM {side}.ledger WHERE state = 'current')"
