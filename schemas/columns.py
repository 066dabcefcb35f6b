"""Arrow columns as numpy arrays: what a rule computes with."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Column: TypeAlias = pa.Array | pa.ChunkedArray
Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]


def flags(truths: Column) -> Flags:
    """NULL becomes False."""
    return np.asarray(pc.fill_null(truths, False).to_numpy(zero_copy_only=False), dtype=bool)


def numbers(column: Column) -> Numbers:
    """NULL becomes NaN."""
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False))


def finite_rows(table: NDArray[np.floating]) -> Flags:
    """Shape (n,): is every number of a row finite?"""
    return np.asarray(np.isfinite(table).all(axis=1))


def is_in(column: Column, values: Iterable[str] | pa.Array) -> Flags:
    """False for NULL."""
    if isinstance(values, tuple) and len(values) == 1:
        return flags(pc.equal(column, values[0]))
    wanted = values if isinstance(values, pa.Array) else pa.array(values, pa.string())
    return flags(pc.is_in(column, value_set=wanted.drop_null()))


def group_codes(columns: Sequence[Column]) -> Rows:
    """One number per row, 0 and up, equal where all columns are equal (NULL equals NULL)."""
    codes, size = np.zeros(len(columns[0]), dtype=np.int64), 1
    for column in columns:
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        encoded = whole.dictionary_encode(null_encoding="encode")
        distinct = max(len(encoded.dictionary), 1)
        if size * distinct > np.iinfo(np.int64).max:
            codes, size = dense(codes), len(codes)
        codes, size = codes * distinct + encoded.indices.to_numpy(), size * distinct
    return dense(codes)


def dense(codes: Rows) -> Rows:
    """The same groups in the same order, numbered from 0 without gaps."""
    size = int(codes.max(initial=0)) + 1
    if size > _SPARSE * (len(codes) + 1) or codes.min(initial=0) < 0:
        return np.asarray(np.unique(codes, return_inverse=True)[1], dtype=np.int64)
    there = np.zeros(size, dtype=bool)
    there[codes] = True
    return np.asarray((np.cumsum(there) - 1)[codes])


_SPARSE = 16
"""A table of so many places per row is quicker to fill than the rows are to sort."""
