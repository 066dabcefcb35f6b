"""The options of filter_texts, and what it has the statistics pass settle."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from schemas.annotations import Annotations
from schemas.quantiles import lowest_shares
from stages.base import Judge, Model
from stages.filter_texts import content, form, whole
from stages.filter_texts.form import CAPTION_LEVELS
from stages.language import CHUNKER, language_named, parse, parser_identity
from stages.language.templates import counted_more_than

PerLevel = dict[str, int] | None


class FilterTexts(Judge):
    """Each text by itself. All rules but T1 and T9 read captions (`brief`, `detailed`,
    `more_detailed`), not OCR or descriptions of regions; a level that a mapping does not name is
    left alone. Each filter's name begins with its rule, T1 to T12.

    T2, T6, T7, T9 and T4's repeated words are off unless an option switches them on: of the
    captions of 500 drawn scenes they rejected more right than wrong ones (docs/judgement.md). On
    photographs they are not measured; their options name values to begin with.

    T9 and T12 need the whole data set: `t9_limits`, `t12_copied` and `t12_shared` are settled by
    the statistics pass, and without it these rules say nothing. T8 and T10 are rules of
    `check_tasks`. T11, a second model's score of text and image, is not built.
    """

    behaviour: ClassVar[int] = 3
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
        "articles, or nearly so (MinHash, about nine of ten pairs of words); flag above; ours",
    )
    t9_limits: dict[str, float | None] | None = Field(
        None, description="T9: score by `source/task`, settled by the statistics pass"
    )
    t12_copied: dict[str, int] | None = Field(
        None, description="T12: copies by digest, settled by the statistics pass"
    )
    t12_shared: dict[str, int] | None = Field(
        None, description="T12: texts by band of MinHash, settled by the statistics pass"
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
        """Counts of scores by source and task, and of the commonest captions and their bands."""
        wanted: dict[str, Any] = {}
        if self._wants_scores:
            wanted["scores"] = whole.count_scores_by_maker(annotations.texts)
        if self._wants_copies:
            wanted["copies"], wanted["bands"] = whole.count_copies(annotations.texts)
        return wanted or None

    def settled(self, measured: Sequence[dict[str, Any]]) -> Self:
        constants: dict[str, Any] = {}
        if self._wants_scores and self.lowest_scores is not None:
            parts = [part["scores"] for part in measured]
            constants["t9_limits"] = lowest_shares(parts, self.lowest_scores)
        if self._wants_copies and self.max_copies is not None:
            parts = [part["copies"] for part in measured]
            constants["t12_copied"] = counted_more_than(self.max_copies, parts)
            parts = [part["bands"] for part in measured]
            constants["t12_shared"] = counted_more_than(self.max_copies, parts)
        return self.model_copy(update=constants)

    @property
    def _wants_scores(self) -> bool:
        return self.lowest_scores is not None and self.t9_limits is None

    @property
    def _wants_copies(self) -> bool:
        return self.max_copies is not None and None in (self.t12_copied, self.t12_shared)

    def judge(self, annotations: Annotations) -> pa.Table:
        texts = annotations.texts
        captions = form.captions(texts)
        parsed = parse(language_named(self.parser), captions)
        repeated = (self.max_repeated_sentences, self.said_twice, self.max_repeated_words)
        limits = (self.max_objects, self.min_object_complexity, self.min_actions)
        findings = [
            *form.integrity(texts),
            *form.lengths(texts, parsed.count(), self.length or {}),
            *form.repetition(captions, *repeated),
            *content.things_and_actions(texts, parsed, *(limit or {} for limit in limits)),
            *whole.unsure(texts, self.t9_limits or {}),
        ]
        if self.level_order:
            findings += form.level_order(texts, parsed.count())
        if self.openings:
            findings.append(form.opening(captions))
        if self.max_copies is not None:
            settled = (self.t12_copied or {}, self.t12_shared or {})
            findings += whole.copies(captions, *settled, self.max_copies)
        return self.verdicts(texts, "text", findings)
