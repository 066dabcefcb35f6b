"""Phrases with what they tie together, as arrays: what the judges of triplets compute with."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from schemas.annotations import Annotations, region_bins, region_labels, rows_of
from schemas.boxes import Floats
from schemas.columns import Flags, Numbers, Rows, dense, group_codes, numbers
from stages.language import language_named, normalised, parse
from stages.language.parse import Kind, Parsed
from stages.witnesses import Places


@dataclass(frozen=True)
class Triplets:
    """One entry per row of `phrases`."""

    annotations: Annotations
    parser: str
    parsed: Parsed
    text_row: Rows
    """Row of the text that says it and of the region that shows it, -1 where there is none."""
    region_row: Rows

    @classmethod
    def of(cls, annotations: Annotations, parser: str) -> "Triplets":
        phrases = annotations.phrases
        rows = [
            rows_of(
                annotations.labels(kind),
                phrases["image_id"],
                phrases[f"{kind}_source"],
                phrases[f"{kind}_no"],
            )
            for kind in ("text", "region")
        ]
        parsed = parse(language_named(parser), phrases["phrase"])
        return cls(annotations, parser, parsed, *rows)

    @property
    def phrases(self) -> pa.Table:
        return self.annotations.phrases

    @cached_property
    def head(self) -> pa.Array:
        """Lemma of the main noun, NULL where there is none."""
        return self.parsed.heads()

    @cached_property
    def plain(self) -> pa.Array:
        """What each phrase says, `normalised`."""
        return normalised(self.phrases["phrase"])

    @cached_property
    def bins(self) -> Floats:
        """Shape (n, 4): the box of each phrase in bins, NaN where it has none."""
        every = np.vstack([region_bins(self.annotations), np.full((1, 4), np.nan)])
        return np.asarray(every[self.region_row])

    @cached_property
    def labels(self) -> pa.Array:
        """What each region says, NULL where it says nothing."""
        return region_labels(self.annotations.regions)

    @cached_property
    def named(self) -> Parsed:
        """`labels`, parsed."""
        return parse(language_named(self.parser), self.labels)

    @cached_property
    def places(self) -> tuple[Places, Places]:
        """Of the phrases and of all regions, whose nouns can be compared."""
        regions, count = self.annotations.regions, len(self.phrases)
        every = Places.of(
            pa.concat_arrays([t["image_id"].combine_chunks() for t in (self.phrases, regions)]),
            np.concatenate([self.bins, region_bins(self.annotations)]),
            pa.concat_arrays([self.head, self.named.heads()]),
        )
        return every.rows(np.arange(count)), every.rows(np.arange(count, count + len(regions)))

    @cached_property
    def caption(self) -> pa.DictionaryArray:
        """The text that says it, NULL where there is none."""
        row = pa.array(self.text_row, mask=self.text_row < 0)
        texts = self.annotations.texts["text"].combine_chunks()
        return pa.DictionaryArray.from_arrays(row, texts)

    @cached_property
    def span(self) -> tuple[Numbers, Numbers]:
        """Characters [start, end) of its caption, NaN where it was not found there."""
        return numbers(self.phrases["char_start"]), numbers(self.phrases["char_end"])

    @cached_property
    def caption_code(self) -> Rows:
        """Equal for phrases of one caption."""
        return group_codes([self.phrases[name] for name in ("image_id", "text_source", "text_no")])

    @cached_property
    def mention(self) -> Rows:
        """Equal for rows that say the same words at the same place of one caption."""
        places = [self.phrases[name] for name in ("char_start", "char_end", "phrase")]
        return dense(self.caption_code * (len(self.phrases) + 1) + group_codes(places))

    def inside(self, one: Rows, other: Rows) -> Flags:
        """Pair by pair of rows: does the span of one lie in the span of the other?"""
        start, end = self.span
        return np.asarray((start[other] <= start[one]) & (end[one] <= end[other]))

    def of_region(self, column: str) -> Numbers:
        """A number of the region that shows it, NaN where there is none."""
        return np.append(numbers(self.annotations.regions[column]), np.nan)[self.region_row]

    def of_main_noun(self, values: np.ndarray) -> Numbers:
        """A value per token → that of the main noun, NaN where there is none."""
        main = self.parsed.main_tokens()
        return np.append(values.astype(np.float64), np.nan)[main]


def missing_attributes(phrases: Parsed, said: Parsed) -> Rows:
    """Row by row how many attributes of a phrase, numerals aside, are not among the words said; 0
    where nothing was said."""
    tokens = phrases.tokens
    words = pa.concat_arrays([tokens.lemma, said.tokens.lemma]).dictionary_encode()
    code, size = words.indices.to_numpy().astype(np.int64), len(words.dictionary) + 1
    attributes = np.flatnonzero((tokens.kind == Kind.ATTRIBUTE) & np.isnan(tokens.count))
    row, token = phrases.per_row(attributes)
    wanted = said.row[row] * size + code[token]
    told = said.tokens.text * size + code[len(tokens) :]
    missing = (said.row[row] >= 0) & ~np.isin(wanted, told)
    return np.asarray(np.bincount(row[missing], minlength=len(phrases.row)))
