"""filter_phrases: triplets whose words, box or number do not hold together."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from schemas.annotations import Annotations, kept_mask, local_ids, score_ranks
from schemas.boxes import (
    BINS,
    area,
    competing_pairs,
    losing_pairs,
    per_row,
    suppressing_pairs,
)
from schemas.columns import Flags, Numbers, Rows, finite_rows, flags, is_in, numbers
from stages.base import Finding, Judge, Model
from stages.language import (
    ABSTRACT_NOUNS,
    CHUNKER,
    SCENE_NOUNS,
    UNGROUNDABLE,
    comparable,
    normalised,
    parser_identity,
)
from stages.language.alignment import align
from stages.language.senses import compatible
from stages.triplets import Triplets

_SEVERAL = r"\b(?:and|or)\b|,"
_ONE = r"^(?:an?|one|this|that|each|every|another) "


class FilterPhrases(Judge):
    """Each phrase with the text that says it and the region that shows it. Each filter's name
    begins with its rule, G1 to G12. Not built: G7 (another task sees the thing too), G8 (it scores
    above things that are absent), G11 (a description of the place says the same colour).

    A phrase whose text or region is missing or not kept ties nothing to nothing (`orphan`), so this
    stage reads best after those that judge texts and regions.
    """

    behaviour: ClassVar[int] = 4
    needs: ClassVar[frozenset[str]] = frozenset({"phrases"})

    stage: Literal["filter_phrases"] = "filter_phrases"
    parser: str = Field(
        CHUNKER,
        description="what finds the noun phrases: `chunker`, which ships with the package, or the "
        "name or folder of a spaCy pipeline",
    )
    one_token_off: bool = Field(
        True,
        description="G1: flag, and do not drop, a phrase whose caption says it but for one token "
        "that is not the last, which may be a plural; GRIT's rule, the one token is ours",
    )
    banned_phrases: tuple[str, ...] | None = Field(
        UNGROUNDABLE,
        description="G2: phrases that name no thing; drop. After Florence-2's own processor",
    )
    banned_heads: tuple[str, ...] | None = Field(
        ABSTRACT_NOUNS,
        description="G2: main nouns that no box can hold; drop. GRIT's rule, list ours",
    )
    noun_phrase: bool = Field(
        True,
        description="G3: drop a phrase without a noun; flag one with words before its noun phrase, "
        "the detail is the noun phrase and its characters. FLD-5B's rule",
    )
    min_label_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description="G4: score of a phrase's words; quarantine below. FLD-5B's rule; it publishes "
        "no number, and none fits every model",
    )
    min_location_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description="G4: the same for the four edges of its box, each with its neighbouring bins",
    )
    max_area: float | None = Field(
        0.95,
        ge=0,
        le=1,
        description="G5: share of the image; quarantine above, but for one scene noun of a "
        "caption. SA-1B's number",
    )
    scene_nouns: tuple[str, ...] = Field(
        SCENE_NOUNS, description="G5: main nouns that may fill the image; ours"
    )
    collapse_iou: float | None = Field(
        0.95,
        ge=0,
        le=1,
        description="G6: different main nouns of one caption at this overlap or more: keep the "
        "better score, unless one is inside the other; drop. After GRIT's suppression across "
        "phrases, the number is ours",
    )
    contained: bool = Field(
        True,
        description="G9: flag a phrase inside a longer one of its caption that does not join "
        "several things. GRIT's rule",
    )
    number: bool = Field(
        True,
        description="G10: flag phrases whose numeral, plural or article says another number of "
        "boxes than they have; ours",
    )

    def identity(self, models: Mapping[str, Model]) -> dict[str, Any]:
        """With the parser's version, as its nouns depend on it."""
        return {**super().identity(models), "parser": parser_identity(self.parser)}

    def judge(self, annotations: Annotations) -> pa.Table:
        triplets = Triplets.of(annotations, self.parser)
        so_far = annotations.verdicts
        for findings in (self._alone, self._scenes, self._collapse, self._together):
            kept = kept_mask(annotations.with_tables(verdicts=so_far), "phrase")
            found = self.verdicts(triplets.phrases, "phrase", findings(triplets, kept))
            so_far = pa.concat_tables([so_far, found])
        kept = kept_mask(annotations.with_tables(verdicts=so_far), "phrase")
        empty = self.verdicts(annotations.texts, "text", [_empty(triplets, kept)])
        return pa.concat_tables([so_far.slice(len(annotations.verdicts)), empty])

    def _alone(self, triplets: Triplets, _: Flags) -> Iterator[Finding]:
        yield from _orphans(triplets)
        yield from self._span(triplets)
        yield from self._words(triplets)
        for name, score, limit in (
            ("label", numbers(triplets.phrases["label_score"]), self.min_label_score),
            ("location", triplets.of_region("windowed_location_score"), self.min_location_score),
        ):
            if limit is not None:
                low = score < np.float32(limit)
                yield Finding(f"g4_{name}_score", "quarantine", low, score, limit)

    def _span(self, triplets: Triplets) -> Iterator[Finding]:
        phrase = triplets.phrases["phrase"].combine_chunks()
        aligned = align(triplets.caption, phrase, *triplets.span)
        near = np.zeros(len(phrase), dtype=bool)
        near[~aligned.exact] = [span is not None for span in aligned.near]
        edits, most = np.where(near, 1, 2), int(self.one_token_off)
        wrong = (triplets.text_row >= 0) & ~aligned.exact
        yield Finding("g1_span", "drop", wrong & (edits > most), edits, most)
        if self.one_token_off:
            row = np.cumsum(~aligned.exact) - 1
            places = pa.array(
                [_spelt(*span) if span else None for span in aligned.near], pa.string()
            )
            said_as = places.take(pa.array(row, mask=aligned.exact))
            yield Finding("g1_inexact", "flag", wrong & near, edits, 0, said_as)

    def _words(self, triplets: Triplets) -> Iterator[Finding]:
        plain, head = normalised(triplets.phrases["phrase"]), triplets.head
        silent = is_in(pc.fill_null(plain, ""), ("",))
        nameless = silent
        if self.banned_phrases is not None:
            banned = is_in(plain, normalised(pa.array(self.banned_phrases, pa.string())))
            nameless = silent | banned
            yield Finding("g2_banned", "drop", nameless, 1, 0, plain)
        if self.banned_heads is not None:
            abstract = is_in(head, comparable(pa.array(self.banned_heads, pa.string())))
            yield Finding("g2_abstract", "drop", abstract & ~nameless, 1, 0, head)
        if self.noun_phrase:
            none = (triplets.parsed.main_tokens() < 0) & ~nameless
            yield Finding("g3_noun_phrase", "drop", none, 0, 1, plain)
            before, trimmed = _trimmed(triplets)
            yield Finding("g3_fragment", "flag", (before > 0) & ~nameless, before, 0, trimmed)

    def _scenes(self, triplets: Triplets, kept: Flags) -> Iterator[Finding]:
        if (limit := self.max_area) is None:
            return
        share = np.nan_to_num(area(triplets.bins)) / BINS**2
        full = share > limit
        scene = is_in(triplets.head, comparable(pa.array(self.scene_nouns, pa.string())))
        yield Finding("g5_max_area", "quarantine", full & ~scene, share, limit, triplets.head)
        rank = _rank_within(triplets, full & scene & kept)
        yield Finding("g5_one_scene", "quarantine", rank > 1, rank, 1, triplets.head)

    def _collapse(self, triplets: Triplets, kept: Flags) -> Iterator[Finding]:
        if (limit := self.collapse_iou) is None:
            return
        phrases, bins = triplets.phrases, triplets.bins
        among = kept & finite_rows(bins)
        pairs = competing_pairs(bins, triplets.caption_code, score_ranks(phrases), among)
        one, other = (triplets.head.take(pa.array(row)) for row in (pairs.winner, pairs.loser))
        nameless = flags(pc.and_(pc.is_null(one), pc.is_null(other)))
        within = _inside(triplets, pairs.winner, pairs.loser)
        within |= _inside(triplets, pairs.loser, pairs.winner)
        apart = ~compatible(one, other) & ~nameless & ~within
        by = suppressing_pairs(pairs, len(phrases), apart & (pairs.iou >= limit))
        partner = local_ids(phrases, "phrase").take(pa.array(per_row(pairs.winner, by)))
        yield Finding("g6_collapse", "drop", by >= 0, per_row(pairs.iou, by), limit, partner)

    def _together(self, triplets: Triplets, kept: Flags) -> Iterator[Finding]:
        if self.contained:
            yield _contained(triplets, kept)
        if self.number:
            said, exact = _said_number(triplets)
            boxes = np.bincount(triplets.mention, kept)[triplets.mention]
            wrong = np.where(exact, boxes != said, boxes < said) & kept & ~np.isnan(said)
            yield Finding("g10_number", "flag", wrong, boxes, said)


def _orphans(triplets: Triplets) -> Iterator[Finding]:
    phrases = triplets.phrases
    for kind, row in (("text", triplets.text_row), ("region", triplets.region_row)):
        stands = np.append(kept_mask(triplets.annotations, kind), False)[row]
        number = pc.cast(phrases[f"{kind}_no"], pa.string())
        names = pc.binary_join_element_wise(phrases[f"{kind}_source"], kind, number, "/")
        yield Finding("orphan", "quarantine", ~stands, 0, 1, names.combine_chunks())


def _trimmed(triplets: Triplets) -> tuple[Numbers, pa.Array]:
    """Tokens before the first noun phrase, and the characters of the caption that are left."""
    parsed, tokens = triplets.parsed, triplets.parsed.tokens
    begins = np.flatnonzero((tokens.phrase >= 0) & (np.diff(tokens.phrase, prepend=-2) != 0))
    first = np.searchsorted(tokens.text, parsed.row)
    noun = np.append(begins, -1)[np.searchsorted(begins, first)]
    before = np.where(parsed.main_tokens() >= 0, noun - first, 0)
    start, end = triplets.span
    start = start + np.append(tokens.start, 0)[noun]
    known = (before > 0) & ~np.isnan(start) & ~np.isnan(end)
    places = [_spelt(*span) for span in zip(start[known], end[known], strict=True)]
    of_row = pa.array(np.cumsum(known) - 1, mask=~known)
    return before.astype(np.float64), pa.array(places, pa.string()).take(of_row)


def _spelt(start: float, end: float) -> str:
    return f"[{int(start)}, {int(end)})"


def _rank_within(triplets: Triplets, among: Flags) -> Numbers:
    """1 for the best score of those among one caption, then upwards; 0 for the others."""
    rows = np.flatnonzero(among)
    order = rows[np.lexsort((score_ranks(triplets.phrases)[rows], triplets.caption_code[rows]))]
    caption = triplets.caption_code[order]
    first = np.maximum.accumulate(
        np.where(np.diff(caption, prepend=-1) != 0, np.arange(len(order)), 0)
    )
    rank = np.zeros(len(among))
    rank[order] = np.arange(len(order)) - first + 1
    return rank


def _inside(triplets: Triplets, one: Rows, other: Rows) -> Flags:
    """Pair by pair: does the span of one lie in the span of the other?"""
    start, end = triplets.span
    return np.asarray((start[other] <= start[one]) & (end[one] <= end[other]))


def _contained(triplets: Triplets, kept: Flags) -> Finding:
    start, end = triplets.span
    line = np.stack([start, start * 0, end, end * 0 + 1], axis=1)
    length = np.nan_to_num(end - start)
    rank = np.empty(len(length), dtype=np.int64)
    rank[np.argsort(-length, kind="stable")] = np.arange(len(length))
    pairs = competing_pairs(line, triplets.caption_code, rank, kept & finite_rows(line))
    joins = flags(pc.match_substring_regex(normalised(triplets.phrases["phrase"]), _SEVERAL))
    shorter = length[pairs.loser] < length[pairs.winner]
    within = _inside(triplets, pairs.loser, pairs.winner) & shorter & ~joins[pairs.winner]
    by = losing_pairs(pairs, len(length), within)
    partner = local_ids(triplets.phrases, "phrase").take(pa.array(per_row(pairs.winner, by)))
    longer = per_row(length[pairs.winner], by)
    return Finding("g9_contained", "flag", by >= 0, longer, length, partner)


def _said_number(triplets: Triplets) -> tuple[Numbers, Flags]:
    """How many things a phrase says it names, NaN where it does not say; and whether it says so
    exactly or, by its plural alone, at the least."""
    tokens, main = triplets.parsed.tokens, triplets.parsed.main_tokens()
    numeral = np.flatnonzero((tokens.phrase >= 0) & (tokens.count >= 1))[::-1]
    of_phrase = np.full(tokens.phrase.max(initial=-1) + 2, np.nan)
    of_phrase[tokens.phrase[numeral]] = tokens.count[numeral]
    counted = of_phrase[np.append(tokens.phrase, -1)[main]]
    plural = triplets.of_main_noun(tokens.plural) == 1
    one = flags(pc.match_substring_regex(pc.utf8_lower(triplets.phrases["phrase"]), _ONE))
    one &= (main >= 0) & ~plural
    said = np.select([~np.isnan(counted), plural, one], [counted, 2, 1], np.nan)
    return said, ~np.isnan(counted) | one


def _empty(triplets: Triplets, kept: Flags) -> Finding:
    rows = len(triplets.annotations.texts)
    tied = triplets.text_row >= 0
    had = np.bincount(triplets.text_row[tied], minlength=rows)
    left = np.bincount(triplets.text_row[tied & kept], minlength=rows)
    return Finding("g12_empty", "flag", (had > 0) & (left == 0), left, 1)
