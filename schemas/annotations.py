"""Annotations: the tables of some images, as one value."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.boxes import pixels_to_fractional_bins
from schemas.columns import (
    Column,
    Flags,
    Numbers,
    Rows,
    finite_rows,
    is_in,
    numbers,
)
from schemas.keys import KEY, LabelKeys
from schemas.tables import LABEL_TABLES, REJECTIONS, TABLES

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
        copy = replace(self, **tables)
        if tables.keys().isdisjoint(("images", "regions")):
            copy._measured.update(self._measured)
        copy._keys.update({k: v for k, v in self._keys.items() if LABEL_TABLES[k] not in tables})
        return copy

    @cached_property
    def _kept(self) -> dict[str, Flags]:
        """`kept_mask` by kind, once it was asked for: rule after rule asks again."""
        return {}

    @cached_property
    def _keys(self) -> dict[str, LabelKeys]:
        """What `kept_mask` compares by, likewise."""
        return {}

    @cached_property
    def _measured(self) -> dict[str, Numbers]:
        """`region_bins` and the `image_sizes` of regions, likewise."""
        return {}

    def _once(self, name: str, measure: Callable[[], Numbers]) -> Numbers:
        if name not in self._measured:
            found = measure()
            found.flags.writeable = False
            self._measured[name] = found
        return self._measured[name]

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


def kept_mask(annotations: Annotations, kind: str) -> Flags:
    """One bool per row of the labels of a kind, in their order: without a rejecting verdict?

    Read-only, as whoever asks next gets the same array.
    """
    if kind not in annotations._kept:
        mask = _kept_mask(annotations, kind)
        mask.flags.writeable = False
        annotations._kept[kind] = mask
    return annotations._kept[kind]


def _kept_mask(annotations: Annotations, kind: str) -> Flags:
    labels, verdicts = annotations.labels(kind), annotations.verdicts
    rejecting = is_in(verdicts["verdict"], REJECTIONS) & is_in(verdicts["kind"], (kind,))
    if not rejecting.any():
        return np.ones(len(labels), dtype=bool)
    if kind not in annotations._keys:
        annotations._keys[kind] = LabelKeys.of(labels)
    keys = annotations._keys[kind]
    return ~keys.among(keys.find(verdicts.select(KEY).filter(pa.array(rejecting))))


def rows_of(labels: pa.Table, image_id: Column, source: Column, label_no: Column) -> Rows:
    """Row of `labels` for each key, -1 where there is none."""
    found = pc.index_in(_joined(image_id, source, label_no), value_set=_keys(labels))
    return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def score_ranks(labels: pa.Table) -> Rows:
    """0 for the best score, then downwards; of equal scores the lower label_no is better, and a
    label without a score is worse than any."""
    score = np.nan_to_num(numbers(labels["score"]), nan=-np.inf)
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[np.lexsort((numbers(labels["label_no"]), -score))] = np.arange(len(labels))
    return ranks


def local_ids(labels: pa.Table, kind: str) -> pa.Array:
    """`ids.local_id` of every row."""
    number = pc.cast(labels["label_no"], pa.string())
    joined = pc.binary_join_element_wise(
        labels["source"], kind, number, "/", null_handling="replace"
    )
    return joined.combine_chunks()


def region_labels(regions: pa.Table) -> pa.Array:
    """The category or else the text of each, NULL where it has neither."""
    return pc.coalesce(regions["category"], regions["text"]).combine_chunks()


def bbox_xyxy(regions: pa.Table) -> Numbers:
    """Shape (n, 4), pixels; NaN where a coordinate is NULL."""
    return np.stack([numbers(regions[name]) for name in ("x0", "y0", "x1", "y1")], axis=1)


def image_sizes(annotations: Annotations, labels: pa.Table) -> Numbers:
    """Shape (n, 2): width and height of the image of each label, NaN where they are unknown or
    not positive. Read-only, as `kept_mask` is."""
    if labels is not annotations.regions:
        return _image_sizes(annotations, labels)
    return annotations._once("sizes", lambda: _image_sizes(annotations, labels))


def _image_sizes(annotations: Annotations, labels: pa.Table) -> Numbers:
    images = annotations.images
    row = pc.index_in(labels["image_id"], value_set=images["image_id"].combine_chunks())
    sizes = np.stack([numbers(images[side].take(row)) for side in ("width", "height")], axis=1)
    return np.where((sizes > 0).all(axis=1, keepdims=True), sizes, np.nan)


def region_bins(annotations: Annotations) -> Numbers:
    """Shape (n, 4): every region on the scale of bins, to a thousandth; NaN throughout where a
    coordinate is not finite or the image has no size. Read-only, as `kept_mask` is."""
    return annotations._once("bins", lambda: _region_bins(annotations))


def _region_bins(annotations: Annotations) -> Numbers:
    regions = annotations.regions
    pixels, sizes = bbox_xyxy(regions), image_sizes(annotations, regions)
    measurable = finite_rows(pixels) & finite_rows(sizes)
    return pixels_to_fractional_bins(np.where(measurable[:, None], pixels, np.nan), sizes)


def image_states(annotations: Annotations) -> pa.Table:
    """The images with their final state: `failed` and `verified` stay as they are, every other
    image is `empty` (no label of any source), `filtered` (none kept) or `labelled`."""
    images = annotations.images
    found = [annotations.labels(kind)["image_id"] for kind in LABEL_TABLES]
    standing = [
        ids.filter(pa.array(kept_mask(annotations, kind)))
        for kind, ids in zip(LABEL_TABLES, found, strict=True)
    ]
    states = pc.case_when(
        pc.make_struct(
            pc.fill_null(pc.is_in(images["state"], pa.array(["failed", "verified"])), False),
            _among(images, standing),
            _among(images, found),
        ),
        images["state"],
        "labelled",
        "filtered",
        "empty",
    )
    return images.set_column(images.schema.get_field_index("state"), "state", states)


def _keys(labels: pa.Table) -> pa.Array:
    return _joined(labels["image_id"], labels["source"], labels["label_no"])


def _joined(image_id: Column, source: Column, label_no: Column) -> pa.Array:
    number = pc.cast(label_no, pa.string())
    joined = pc.binary_join_element_wise(image_id, source, number, "\n", null_handling="replace")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _among(images: pa.Table, image_ids: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    together = pa.chunked_array([chunk for ids in image_ids for chunk in ids.chunks], pa.string())
    return pc.is_in(images["image_id"], value_set=together.combine_chunks())
