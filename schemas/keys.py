"""Keys of labels as numbers, so that they need not be compared as text."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Flags, Rows

KEY = ["image_id", "source", "label_no"]


@dataclass(frozen=True, slots=True)
class LabelKeys:
    """Labels by number: `code` is equal where image, source and label_no are."""

    images: pa.Array
    sources: pa.Array
    last: int
    code: Rows

    @classmethod
    def of(cls, labels: pa.Table) -> "LabelKeys":
        image, source = (
            labels[name].combine_chunks().dictionary_encode(null_encoding="encode")
            for name in KEY[:2]
        )
        number = _numbered(labels)
        last = int(number.max(initial=0))
        places = image.indices.to_numpy().astype(np.int64) * len(source.dictionary)
        code = (places + source.indices.to_numpy()) * (last + 1) + number
        return cls(image.dictionary, source.dictionary, last, code)

    def find(self, rows: pa.Table) -> Rows:
        """The codes of those of the rows that are labels."""
        image, source = (
            pc.fill_null(pc.index_in(rows[name], value_set=known), -1).to_numpy().astype(np.int64)
            for name, known in zip(KEY, (self.images, self.sources), strict=False)
        )
        number = _numbered(rows)
        known = (image >= 0) & (source >= 0) & (number >= 0) & (number <= self.last)
        codes = (image * len(self.sources) + source) * (self.last + 1) + number
        return np.asarray(codes[known])

    def among(self, codes: Rows) -> Flags:
        """Label by label: is its code one of these?"""
        return np.asarray(np.isin(self.code, codes))


def _numbered(rows: pa.Table) -> Rows:
    """label_no from 1, 0 for NULL."""
    return np.asarray(pc.fill_null(pc.cast(rows["label_no"], pa.int64()), -1).to_numpy() + 1)
