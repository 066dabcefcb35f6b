"""One-to-one matching of labels from pairs that are alike, for all images at once."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def match_best_first(before: Numbers, after: Numbers, likeness: NDArray[np.float64]) -> Numbers:
    """Shape (m,): which of the n pairs are chosen, each row of either side at most once.

    As if the pairs were taken greedily from the most alike down; of equals the earlier pair goes
    first. Each turn takes, everywhere at once, the pairs that are the best of both their rows.
    """
    left = np.lexsort((np.arange(len(likeness)), -likeness))
    chosen = [np.empty(0, np.int64)]
    while len(left):
        best = _first_of_each(before[left]) & _first_of_each(after[left])
        taken = left[best]
        chosen.append(taken)
        used = np.isin(before[left], before[taken]) | np.isin(after[left], after[taken])
        left = left[~used]
    return np.concatenate(chosen)


def _first_of_each(rows: Numbers) -> NDArray[np.bool_]:
    """Whether a number is the first of its kind in the array."""
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(rows, return_index=True)[1]] = True
    return first
