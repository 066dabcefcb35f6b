"""A text against the whole data set: the least sure (T9), copies and near copies (T12)."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import is_in, numbers
from schemas.quantiles import count_scores_by
from schemas.tables import HUMAN
from stages.base import Finding
from stages.filter_texts import form
from stages.language import near_copies, templates

Counts = Mapping[str, int]


def count_scores_by_maker(texts: pa.Table) -> dict[str, dict[str, int]]:
    """Of the texts that people did not write, by `source/task`."""
    model = texts.filter(pc.fill_null(pc.not_equal(texts["source"], HUMAN), True))
    return count_scores_by(_made_by(model), numbers(model["score"]))


def unsure(texts: pa.Table, limits: Mapping[str, float | None]) -> Iterator[Finding]:
    made, scores = _made_by(texts), numbers(texts["score"])
    for maker, limit in limits.items():
        if limit is not None:
            low = is_in(made, (maker,)) & (scores < np.float32(limit))
            yield Finding("t9_confidence", "quarantine", low, scores, limit)


def count_copies(texts: pa.Table) -> tuple[dict[str, int], dict[str, int]]:
    """How often each caption is said, and each band of near copies."""
    said = templates.plain(form.captions(texts))
    return templates.count_copies(said), near_copies.count_near(said)


def copies(
    captions: pa.ChunkedArray, copied: Counts, shared: Counts, most: int
) -> Iterator[Finding]:
    none = np.zeros(len(captions))
    said = templates.plain(captions) if copied or shared else None
    times = templates.copies(said, copied) if copied else none
    yield Finding("t12_copies", "flag", times > most, times, most)
    near = near_copies.near_copies(said, shared) if shared else none
    yield Finding("t12_near_copies", "flag", (near > most) & (times <= most), near, most)


def _made_by(texts: pa.Table) -> pa.Array:
    made = pc.binary_join_element_wise(texts["source"], texts["task"], "/", null_handling="replace")
    return made.combine_chunks()
