"""filter_texts: captions that are broken, of the wrong size, looping, empty of things, doubtful."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from schemas.annotations import Annotations
from schemas.columns import Flags, Numbers, flags, group_codes, is_in, numbers
from schemas.quantiles import count_scores, lowest_share
from schemas.tables import HUMAN
from stages.base import Finding, Judge, Model
from stages.language import CHUNKER, Kind, Parsed, language_named, parse, parser_identity
from stages.language.repetition import commonest_three_words, repeated_sentences
from stages.language.templates import copied_more_than, copies, count_copies, without_opening

CAPTION_LEVELS = ("brief", "detailed", "more_detailed")
"""From the shortest to the longest."""
MARKUP = (
    r"<loc_\d+>|</?s>|<pad>|<unk>|<mask>|<sep>|<and>"
    r"|</?(?:od|ocr|cap|n_?cap|d_?cap|grounding|seg|region_cap|region_to_desc?iption|proposal|poly)>"
    r"|<[A-Z]+(?:_[A-Z]+)*>"
)
"""Tokens of Florence-2 that are no words: places, tasks, padding."""

PerLevel = dict[str, int] | None


class FilterTexts(Judge):
    """Each text by itself. All rules but T1 and T9 read captions (`brief`, `detailed`,
    `more_detailed`), not OCR or descriptions of regions; a level that a mapping does not name is
    left alone. Each filter's name begins with its rule, T1 to T12.

    T2, T6, T7, T9 and T4's repeated words are off unless an option switches them on: of the
    captions of 500 drawn scenes they rejected more right than wrong ones (docs/judgement.md). On
    photographs they are not measured; their options name values to begin with.

    T9 and T12 need the whole data set: `t9_limits` and `t12_copied` are settled by the statistics
    pass, and without it these two rules say nothing.
    """

    behaviour: ClassVar[int] = 2
    needs: ClassVar[frozenset[str]] = frozenset({"texts"})

    stage: Literal["filter_texts"] = "filter_texts"
    parser: str = Field(
        CHUNKER,
        description="what T2 and T5 to T7 count with: `chunker`, which ships with the package, or "
        "the name or folder of a spaCy pipeline",
    )
    length: dict[str, tuple[int, int]] | None = Field(
        None,
        description="T2, caption level: fewest and most tokens, both allowed; quarantine. Off: on "
        "scenes it rejected 56 captions, none of them wrong. A third to three times FLD-5B's means "
        "(its Table 2: 7.95, 31.65, 70.53): `{brief: [3, 24], detailed: [10, 95], more_detailed: "
        "[24, 212]}`",
    )
    level_order: bool = Field(
        True, description="T3: flag a caption that is no longer than one of a lower level; ours"
    )
    max_repeated_sentences: float | None = Field(
        0.3,
        ge=0,
        le=1,
        description="T4: share of a caption's sentences that repeat another; drop above. Gopher's "
        "value for web pages, quoted from memory",
    )
    said_twice: bool = Field(
        True, description="T4: flag a caption that says any sentence twice; after Gopher"
    )
    max_repeated_words: float | None = Field(
        None,
        ge=0,
        le=1,
        description="T4: share of a caption's letters in its commonest three words, said three "
        "times or more; drop above. Off: on scenes 46 of the 60 it dropped were right. Gopher's "
        "0.18, quoted from memory; the three times are ours",
    )
    max_objects: PerLevel = Field(
        {"brief": 8, "detailed": 33, "more_detailed": 70},
        description="T5, caption level: most common nouns; quarantine above. FLD-5B's rule; the "
        "numbers, ours, are 2.5 times the means of its Table 3",
    )
    min_object_complexity: PerLevel = Field(
        None,
        description="T6, caption level: least edges of the noun that has most in the dependency "
        "tree; quarantine below. Off: on scenes it rejected 4 captions of an older checkpoint, "
        "all right, and none of the present one. FLD-5B's and DiHT's rule; ours to begin with: "
        "`{brief: 2, detailed: 3, more_detailed: 3}`",
    )
    min_actions: PerLevel = Field(
        None,
        description="T7, caption level: fewest verbs; quarantine below. Off: on scenes, where "
        "nothing moves, 466 of the 500 it rejected were right. FLD-5B's and DiHT's rule; ours to "
        "begin with: `{detailed: 1, more_detailed: 2}` (FLD-5B's brief captions have 0.58)",
    )
    lowest_scores: float | None = Field(
        None,
        ge=0,
        le=1,
        description="T9: share of the texts of a task and source, those the model was least sure "
        "of; quarantine. Off: on scenes 23 of the 30 it rejected at 0.02 were right",
    )
    openings: bool = Field(
        True,
        description="T12: flag an opening about the image itself (`The image shows`); the detail "
        "is the caption without it; ours",
    )
    max_copies: int | None = Field(
        100,
        ge=1,
        description="T12: how often a data set may say one caption, whatever its case, marks and "
        "articles; flag above; ours",
    )
    t9_limits: dict[str, float | None] | None = Field(
        None, description="T9: score by `source/task`, settled by the statistics pass"
    )
    t12_copied: dict[str, int] | None = Field(
        None, description="T12: copies by digest, settled by the statistics pass"
    )

    @field_validator("length", "max_objects", "min_object_complexity", "min_actions")
    @classmethod
    def _levels_are_known(cls, value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        for level in value or {}:
            if level not in CAPTION_LEVELS:
                raise ValueError(f"{level!r} is none of {', '.join(CAPTION_LEVELS)}")
        return value

    @model_validator(mode="after")
    def _bands_are_in_order(self) -> Self:
        for level, (fewest, most) in (self.length or {}).items():
            if fewest > most:
                raise ValueError(f"length of {level}: {fewest} is more than {most}")
        return self

    def identity(self, models: Mapping[str, Model]) -> dict[str, Any]:
        """With the parser's version, as its numbers depend on it."""
        return {**super().identity(models), "parser": parser_identity(self.parser)}

    def measure(self, annotations: Annotations) -> dict[str, Any] | None:
        """Counts of scores by source and task, and of the commonest captions."""
        wanted: dict[str, Any] = {}
        if self.lowest_scores is not None and self.t9_limits is None:
            wanted["scores"] = _count_scores(annotations.texts)
        if self.max_copies is not None and self.t12_copied is None:
            wanted["copies"] = count_copies(_captions(annotations.texts))
        return wanted or None

    def settled(self, measured: Sequence[dict[str, Any]]) -> Self:
        constants: dict[str, Any] = {}
        if self.lowest_scores is not None and self.t9_limits is None:
            parts = [part["scores"] for part in measured]
            made = sorted({maker for part in parts for maker in part})
            constants["t9_limits"] = {
                maker: lowest_share([part.get(maker, {}) for part in parts], self.lowest_scores)
                for maker in made
            }
        if self.max_copies is not None and self.t12_copied is None:
            counts = (part["copies"] for part in measured)
            constants["t12_copied"] = copied_more_than(self.max_copies, counts)
        return self.model_copy(update=constants)

    def judge(self, annotations: Annotations) -> pa.Table:
        texts = annotations.texts
        captions = _captions(texts)
        parsed = parse(language_named(self.parser), captions)
        findings = [
            *_integrity(texts),
            *self._size(texts, parsed.count()),
            *self._repetition(captions),
            *self._content(texts, parsed),
            *self._confidence(texts),
            *self._templates(captions),
        ]
        return self.verdicts(texts, "text", findings)

    def _size(self, texts: pa.Table, tokens: Numbers) -> Iterator[Finding]:
        for level, (fewest, most) in (self.length or {}).items():
            rows = _of_level(texts, level) & (tokens > 0)
            yield Finding("t2_length", "quarantine", rows & (tokens < fewest), tokens, fewest)
            yield Finding("t2_length", "quarantine", rows & (tokens > most), tokens, most)
        if not self.level_order or not len(texts):
            return
        group = group_codes([texts["image_id"], texts["source"]])
        lower = np.zeros(group.max() + 1)  # most tokens of any lower level
        for level in CAPTION_LEVELS:
            rows, limit = _of_level(texts, level), lower[group]
            short = rows & (tokens > 0) & (tokens <= limit)
            yield Finding("t3_level_order", "flag", short, tokens, limit)
            np.maximum.at(lower, group[rows], tokens[rows])

    def _repetition(self, captions: pa.ChunkedArray) -> Iterator[Finding]:
        lower = pc.fill_null(pc.utf8_lower(captions), "").combine_chunks()
        repeated, share = repeated_sentences(lower)
        if (limit := self.max_repeated_sentences) is not None:
            yield Finding("t4_repeated_sentences", "drop", share > limit, share, limit)
        if self.said_twice:
            yield Finding("t4_said_twice", "flag", repeated > 0, repeated, 0)
        if (limit := self.max_repeated_words) is not None:
            share = commonest_three_words(lower)
            yield Finding("t4_repeated_words", "drop", share > limit, share, limit)

    def _content(self, texts: pa.Table, parsed: Parsed) -> Iterator[Finding]:
        said = parsed.count() > 0
        objects, actions = parsed.count(Kind.OBJECT), parsed.count(Kind.ACTION)
        complexity = np.nan_to_num(parsed.complexity(Kind.OBJECT))
        for level in CAPTION_LEVELS:
            rows = _of_level(texts, level) & said
            if (most := (self.max_objects or {}).get(level)) is not None:
                yield Finding("t5_objects", "quarantine", rows & (objects > most), objects, most)
            if (least := (self.min_object_complexity or {}).get(level)) is not None:
                simple = rows & (complexity < least)
                yield Finding("t6_object_complexity", "quarantine", simple, complexity, least)
            if (least := (self.min_actions or {}).get(level)) is not None:
                yield Finding("t7_actions", "quarantine", rows & (actions < least), actions, least)

    def _confidence(self, texts: pa.Table) -> Iterator[Finding]:
        if self.t9_limits is None:
            return
        made, scores = _made_by(texts), numbers(texts["score"])
        for maker, limit in self.t9_limits.items():
            if limit is not None:
                low = is_in(made, (maker,)) & (scores < np.float32(limit))
                yield Finding("t9_confidence", "quarantine", low, scores, limit)

    def _templates(self, captions: pa.ChunkedArray) -> Iterator[Finding]:
        if self.openings:
            bare = without_opening(captions)
            cut = numbers(pc.subtract(pc.utf8_length(captions), pc.utf8_length(bare)))
            yield Finding("t12_opening", "flag", cut > 0, cut, 0, bare)
        if self.max_copies is not None and self.t12_copied:
            times = copies(captions, self.t12_copied)
            often = times > self.max_copies
            yield Finding("t12_copies", "flag", often, times, self.max_copies)


def _integrity(texts: pa.Table) -> Iterator[Finding]:
    text = pc.fill_null(texts["text"], "")
    characters = numbers(pc.utf8_length(pc.utf8_trim_whitespace(text)))
    yield Finding("t1_empty", "drop", characters < 1, characters, 1)
    markup = numbers(pc.count_substring_regex(text, MARKUP))
    yield Finding("t1_markup", "drop", markup > 0, markup, 0)
    yield Finding("t1_truncated", "drop", flags(texts["truncated"]), numbers(texts["tokens"]))


def _captions(texts: pa.Table) -> pa.ChunkedArray:
    """The text of every caption, NULL for any other text."""
    captions = pa.array(is_in(texts["level"], CAPTION_LEVELS))
    return pc.if_else(captions, texts["text"], pa.scalar(None, pa.string()))


def _of_level(texts: pa.Table, level: str) -> Flags:
    return is_in(texts["level"], (level,))


def _made_by(texts: pa.Table) -> pa.Array:
    made = pc.binary_join_element_wise(texts["source"], texts["task"], "/", null_handling="replace")
    return made.combine_chunks()


def _count_scores(texts: pa.Table) -> dict[str, dict[str, int]]:
    model = pc.fill_null(pc.not_equal(texts["source"], HUMAN), True)
    made, scores = _made_by(texts.filter(model)), numbers(texts.filter(model)["score"])
    return {
        maker: count_scores(scores[is_in(made, (maker,))]) for maker in pc.unique(made).to_pylist()
    }
