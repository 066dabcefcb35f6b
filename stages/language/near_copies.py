"""Texts that say nearly the same: MinHash over their pairs of words, in bands.

Two texts share a band with probability 1 - (1 - s^8)^4, where s is the share of their pairs of
words that are in both: 0.90 for s = 0.9, 0.52 for 0.8, 0.02 for 0.5.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.columns import Numbers
from stages.language.templates import MOST_COPIED

_BANDS, _ROWS = 4, 8
_Hashes = NDArray[np.uint64]
_ODD = np.uint64(0x9E3779B97F4A7C15)
_SALTS = np.arange(1, _BANDS * _ROWS + 1, dtype=np.uint64) * _ODD
_NONE = np.uint64(0)


def count_near(said: pa.Array) -> dict[str, int]:
    """How many `plain` texts share each band, the commonest first."""
    bands, of_row = _bands(said)
    names, times = np.unique(bands[of_row].ravel(), return_counts=True)
    order = np.lexsort((names, -times))
    first = order[names[order] != _NONE][:MOST_COPIED]
    named = [f"{name:016x}" for name in names[first].tolist()]
    return dict(zip(named, times[first].tolist(), strict=True))


def near_copies(said: pa.Array, counted: Mapping[str, int]) -> Numbers:
    """How many texts of the data set share a band with each `plain` text, 0 where none was
    counted."""
    bands, of_row = _bands(said)
    names = np.array([int(name, 16) for name in counted], dtype=np.uint64)
    order = np.argsort(names)
    names = np.append(names[order], np.iinfo(np.uint64).max)
    times = np.append(np.array(list(counted.values()), dtype=np.float64)[order], 0)
    place = np.minimum(np.searchsorted(names, bands), len(names) - 1)
    found = np.where(names[place] == bands, times[place], 0).max(axis=1, initial=0)
    return np.asarray(found[of_row])


def _bands(said: pa.Array) -> tuple[_Hashes, NDArray[np.int64]]:
    """Shape (distinct texts + 1, bands): 0 where a text has no words; and the place of each row."""
    encoded = said.dictionary_encode()
    of_row = pc.fill_null(pc.cast(encoded.indices, pa.int64()), -1).to_numpy()
    words = pc.split_pattern(encoded.dictionary, " ")
    row = pc.list_parent_indices(words).to_numpy().astype(np.int64)
    pairs = _pairs(_hashed(pc.list_flatten(words)), row)
    bands = np.zeros((len(encoded.dictionary) + 1, _BANDS), dtype=np.uint64)
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    factors = _mixed(_SALTS) | np.uint64(1)
    for band in range(_BANDS if len(starts) else 0):
        for factor in factors[band * _ROWS : (band + 1) * _ROWS]:
            least = np.minimum.reduceat(pairs * factor, starts)
            bands[row[starts], band] = _mixed(bands[row[starts], band] * _ODD + least)
    return bands, of_row


def _pairs(word: _Hashes, row: NDArray[np.int64]) -> _Hashes:
    """Of each word and the next of its text; the last word of a text stands for its pair again."""
    following = np.append(row[1:], -1) == row
    paired = _mixed(word * _ODD + np.roll(word, -1))
    before = np.roll(paired, 1)
    first = np.diff(row, prepend=-1) != 0
    return np.where(following, paired, np.where(first, word, before))


def _hashed(words: pa.Array) -> _Hashes:
    """Each distinct word once; equal in every shard and on every machine."""
    encoded = words.dictionary_encode()
    digests = [hashlib.blake2b(w.encode(), digest_size=8) for w in encoded.dictionary.to_pylist()]
    known = np.frombuffer(b"".join(d.digest() for d in digests), dtype="<u8").astype(np.uint64)
    return np.asarray(known[encoded.indices.to_numpy()])


def _mixed(codes: _Hashes) -> _Hashes:
    """The finaliser of SplitMix64: every bit of a code moves every bit of its hash."""
    codes = (codes ^ (codes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    codes = (codes ^ (codes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return codes ^ (codes >> np.uint64(31))
