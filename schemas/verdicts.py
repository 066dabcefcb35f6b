"""What a rule says of labels, as rows of `verdicts`."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.tables import HUMAN, VERDICT_ROWS


def verdict_rows(
    labels: pa.Table,
    kind: str,
    rejected: np.ndarray,
    *,
    filter: str,
    verdict: str,
    values: np.ndarray | float,
    threshold: np.ndarray | float | None,
    details: pa.Array | None,
) -> pa.Table:
    """Verdicts of one rule on the rows of `labels` where `rejected` (bool, one per row) is True.

    `values`, `details` and a `threshold` that is an array have one entry per row of `labels`; NaN
    becomes NULL. A human label is never rejected: the rule's verdict on it becomes a flag.
    """
    picked = np.flatnonzero(rejected)
    chosen = labels.select(["image_id", "source", "label_no", "shard"]).take(picked)
    count = len(picked)
    verdicts = pc.if_else(pc.fill_null(pc.equal(chosen["source"], HUMAN), False), "flag", verdict)
    limits = np.nan if threshold is None else threshold
    columns = {
        "image_id": chosen["image_id"],
        "kind": pa.repeat(kind, count),
        "source": chosen["source"],
        "label_no": chosen["label_no"],
        "shard": chosen["shard"],
        "filter": pa.repeat(filter, count),
        "verdict": verdicts,
        "value": _picked_numbers(values, len(labels), picked),
        "threshold": _picked_numbers(limits, len(labels), picked),
        "detail": pa.nulls(count, pa.string()) if details is None else details.take(picked),
        "recipe": pa.nulls(count, pa.string()),
    }
    return pa.table(columns, schema=VERDICT_ROWS)


def _picked_numbers(values: np.ndarray | float, rows: int, picked: np.ndarray) -> pa.Array:
    every = np.broadcast_to(np.asarray(values, dtype=np.float64), rows)
    return pa.array(every[picked], pa.float64(), from_pandas=True)
