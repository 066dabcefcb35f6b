"""Annotations: the tables of some images, as one value."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.tables import HUMAN, LABEL_TABLES, REJECTIONS, TABLES, VERDICT_ROWS

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Annotations:
    """One Arrow table per field, each in its schema of `schemas.tables`."""

    images: pa.Table
    texts: pa.Table
    regions: pa.Table
    phrases: pa.Table
    verdicts: pa.Table
    problems: pa.Table

    @classmethod
    def of(cls, **rows: Iterable[Row]) -> Self:
        """From rows as dicts; a column that a row lacks is NULL, an unknown column is an error."""
        return cls(**{name: table_of(name, rows.pop(name, ())) for name in TABLES}, **rows)

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Rows of all parts, in order."""
        if not parts:
            return cls.of()
        return cls(
            **{
                field.name: pa.concat_tables([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            }
        )

    def with_tables(self, **tables: pa.Table) -> Self:
        """A copy with some tables replaced."""
        return replace(self, **tables)

    def labels(self, kind: str) -> pa.Table:
        """The table of a kind of label: text, region or phrase."""
        table: pa.Table = getattr(self, LABEL_TABLES[kind])
        return table


def table_of(name: str, rows: Iterable[Row]) -> pa.Table:
    """Rows as dicts → a table in the schema of that name."""
    schema = TABLES[name]
    rows = list(rows)
    if unknown := {column for row in rows for column in row} - set(schema.names):
        raise KeyError(f"{name} has no column {sorted(unknown)}")
    return pa.Table.from_pylist(rows, schema=schema)


def verdict_rows(
    labels: pa.Table,
    kind: str,
    rejected: np.ndarray,
    *,
    filter: str,
    verdict: str,
    values: np.ndarray | float,
    threshold: float | None,
    details: Sequence[str] | None = None,
) -> pa.Table:
    """Verdicts of one rule on the rows of `labels` where `rejected` (bool, one per row) is True.

    `values` and `details` have one entry per row of `labels`. A human label is never rejected: the
    rule's verdict on it becomes a flag.
    """
    picked = np.flatnonzero(rejected)
    chosen = labels.select(["image_id", "source", "label_no", "shard"]).take(picked)
    count = len(picked)
    verdicts = pc.if_else(pc.equal(chosen["source"], HUMAN), "flag", verdict)
    measured = np.broadcast_to(np.asarray(values, dtype=np.float64), len(labels))[picked]
    columns = {
        "image_id": chosen["image_id"],
        "kind": pa.repeat(kind, count),
        "source": chosen["source"],
        "label_no": chosen["label_no"],
        "shard": chosen["shard"],
        "filter": pa.repeat(filter, count),
        "verdict": verdicts,
        "value": pa.array(measured, pa.float64(), from_pandas=True),
        "threshold": pa.array([threshold] * count, pa.float64()),
        "detail": pa.array(
            [details[int(i)] for i in picked] if details else [None] * count, pa.string()
        ),
        "recipe": pa.nulls(count, pa.string()),
    }
    return pa.table(columns, schema=VERDICT_ROWS)


def rejected_keys(verdicts: pa.Table, kind: str) -> pa.Table:
    """Keys (image_id, source, label_no) of the labels of a kind that are not kept, each once."""
    mask = pc.and_(
        pc.equal(verdicts["kind"], kind),
        pc.is_in(verdicts["verdict"], pa.array(REJECTIONS)),
    )
    keys = verdicts.filter(mask).select(["image_id", "source", "label_no"])
    return keys.group_by(["image_id", "source", "label_no"]).aggregate([])


def kept(annotations: Annotations, kind: str) -> pa.Table:
    """The labels of a kind without a rejecting verdict; the order of the rows may change."""
    return annotations.labels(kind).join(
        rejected_keys(annotations.verdicts, kind),
        keys=["image_id", "source", "label_no"],
        join_type="left anti",
    )
