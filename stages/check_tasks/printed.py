"""Captions against the text in their image: parroted words (T8), misquoted ones (X5)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import Annotations, kept_mask
from schemas.columns import Rows, is_in
from stages.base import Finding
from stages.check_tasks.texts import Captions
from stages.language import Kind, language_named, parse
from stages.language.quotes import found_in, quotations


@dataclass(frozen=True, slots=True)
class Printed:
    """What stands written in the images: `text` per distinct image, `row` of each text's image,
    -1 where nothing was read in it."""

    text: pa.Array
    row: Rows

    @classmethod
    def of(cls, annotations: Annotations) -> "Printed":
        texts, regions = annotations.texts, annotations.regions
        read = pa.array(is_in(texts["level"], ("ocr",)) & kept_mask(annotations, "text"))
        lines = pa.array(is_in(regions["shape"], ("quad",)) & kept_mask(annotations, "region"))
        parts = [
            labels.filter(chosen).select(["image_id", "text"])
            for labels, chosen in ((texts, read), (regions, lines))
        ]
        said = pa.concat_tables(parts).drop_null()
        together = said.group_by("image_id", use_threads=False).aggregate([("text", "list")])
        joined = pc.binary_join(together["text_list"], " ").combine_chunks()
        known = together["image_id"].combine_chunks()
        row = pc.fill_null(pc.index_in(texts["image_id"], value_set=known), -1)
        return cls(joined, row.to_numpy().astype(np.int64))


def parroted(captions: Captions, printed: Printed, limit: float) -> Iterator[Finding]:
    if not len(printed.text):
        return
    tokens = captions.parsed.tokens
    row, token = captions.parsed.per_row(np.flatnonzero(tokens.kind != Kind.OTHER))
    read = parse(language_named(captions.parser), pc.utf8_lower(printed.text)).tokens
    words = read.lemma.dictionary_encode()
    code, size = words.indices.to_numpy().astype(np.int64), len(words.dictionary) + 1
    mine = pc.fill_null(pc.index_in(tokens.lemma, value_set=words.dictionary), size - 1)
    said = printed.row[row] * size + mine.to_numpy()[token]
    copied = np.isin(said, read.text * size + code)
    count = np.bincount(row, minlength=len(captions.said))
    share = np.bincount(row[copied], minlength=len(captions.said)) / np.maximum(count, 1)
    yield Finding("t8_parrot", "flag", share > limit, share, limit)


def misquoted(captions: Captions, printed: Printed, limit: float) -> Iterator[Finding]:
    if not len(printed.text):
        return
    row, quoted = quotations(captions.annotations.texts["text"])
    among = captions.said[row]
    row, quoted = row[among], quoted.filter(pa.array(among))
    place = printed.row[row]
    read = pc.fill_null(printed.text.take(pa.array(place, mask=place < 0)), "")
    likeness = found_in(quoted, read)
    worst = np.lexsort((np.arange(len(row)), likeness, row))
    worst = worst[np.flatnonzero(np.diff(row[worst], prepend=-1))]
    least, quote = np.ones(len(captions.said)), np.full(len(captions.said), -1)
    least[row[worst]], quote[row[worst]] = likeness[worst], worst
    details = quoted.take(pa.array(quote, mask=quote < 0))
    yield Finding("x5_quotation", "flag", least < limit, least, limit, details)
