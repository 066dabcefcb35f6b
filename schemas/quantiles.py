"""Quantiles of scores over many shards, from counts that add up."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from schemas.columns import Numbers

Counts = Mapping[str, int]
_FINEST, _STEP = 1e-5, 0.01
"""Negated logarithms of scores are told apart to one percent, from 0.00001 upwards."""


def count_scores(scores: Numbers) -> dict[str, int]:
    """How many scores in (0, 1] lie in each narrow interval of their logarithm, the best in `0`;
    NaN counts nowhere."""
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = -np.log(np.clip(scores, np.finfo(np.float32).tiny, 1))
        steps = np.log1p(surprise / _FINEST) / _STEP
    steps = np.ceil(np.round(steps[~np.isnan(steps)], 6)).astype(np.int64)
    found, times = np.unique(steps, return_counts=True)
    return {str(step): int(count) for step, count in zip(found, times, strict=True)}


def count_scores_by(key: pa.Array, scores: Numbers) -> dict[str, dict[str, int]]:
    """The same of each key apart; one that is NULL is none."""
    encoded = key.dictionary_encode()
    rows = np.flatnonzero(np.asarray(key.is_valid()))
    code = encoded.indices.take(pa.array(rows)).to_numpy()
    order = np.argsort(code, kind="stable")
    code, scores = code[order], scores[rows[order]]
    starts = np.flatnonzero(np.diff(code, prepend=-1))
    names = encoded.dictionary.take(pa.array(code[starts])).to_pylist()
    parts = np.split(scores, starts[1:]) if len(starts) else []
    return {name: count_scores(part) for name, part in zip(names, parts, strict=True)}


def lowest_share(counts: Iterable[Counts], share: float) -> float | None:
    """A score that at most this share of all scores lie below; None where that is no score."""
    together: Counter[int] = Counter()
    for part in counts:
        together.update({int(step): count for step, count in part.items()})
    room = share * together.total()
    below = 0
    limit = None
    for step in sorted(together, reverse=True):
        below += together[step]
        if below > room:
            break
        limit = step - 1
    return None if limit is None else math.exp(-_FINEST * math.expm1(limit * _STEP))


def lowest_shares(
    parts: Sequence[Mapping[str, Counts]], share: float, least: int = 0
) -> dict[str, float | None]:
    """The same of every key that all parts together have `least` scores of."""
    limits: dict[str, float | None] = {}
    for name in sorted({name for part in parts for name in part}):
        counts = [part[name] for part in parts if name in part]
        if sum(sum(count.values()) for count in counts) >= least:
            limits[name] = lowest_share(counts, share)
    return limits
