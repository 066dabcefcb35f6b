"""The options of filter_phrases, and the order of its rules."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from schemas.annotations import Annotations, kept_mask
from schemas.columns import Flags
from stages.base import Finding, Judge, Model
from stages.filter_phrases import places, seen, together, words
from stages.language import (
    ABSTRACT_NOUNS,
    CHUNKER,
    SCENE_NOUNS,
    UNGROUNDABLE,
    parser_identity,
)
from stages.triplets import Triplets


class FilterPhrases(Judge):
    """Each phrase with the text that says it and the region that shows it. Each filter's name
    begins with its rule, G1 to G12. Not built: G8 (it scores above things that are absent), which
    needs a model to be asked for these.

    A phrase whose text or region is missing or not kept ties nothing to nothing (`orphan`), so this
    stage reads best after those that judge texts and regions.
    """

    behaviour: ClassVar[int] = 6
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
        "that is not the last, which may be a plural; quarantine where that gives another "
        "attribute in place of the phrase's. GRIT's rule, the one token is ours",
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
    witnesses: tuple[str, ...] | None = Field(
        ("od", "dense_region_caption"),
        description="G7, G11: tasks that saw the image without being asked for the phrase. G7: "
        "none of them has a box at the phrase's place that names the same or a wider thing; "
        "quarantine, unless none names such a thing in any image. Grounding finds every phrase, "
        "whether the thing is there or not",
    )
    min_witness_iou: float = Field(
        0.5, gt=0, le=1, description="G7, G11: overlap at which two boxes are at one place; ours"
    )
    attributes: bool = Field(
        True,
        description="G11: flag a phrase whose attributes neither the description of its region nor "
        "a witness in its place repeats; ours",
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
        kept, made = kept_mask(annotations, "phrase"), []
        for findings in (self._alone, self._in_image, self._collapse, self._together):
            found = self.verdicts(triplets.phrases, "phrase", findings(triplets, kept))
            kept = kept & kept_mask(annotations.with_tables(verdicts=found), "phrase")
            made.append(found)
        made.append(self.verdicts(annotations.texts, "text", [together.empty(triplets, kept)]))
        return pa.concat_tables(made)

    def _alone(self, triplets: Triplets, _: Flags) -> Iterator[Finding]:
        yield from words.orphans(triplets)
        yield from words.misaligned(triplets, self.one_token_off)
        nameless, found = words.nameless(triplets, self.banned_phrases, self.banned_heads)
        yield from found
        if self.noun_phrase:
            yield from words.without_noun(triplets, ~nameless)
        yield from places.unsure(triplets, self.min_label_score, self.min_location_score)

    def _in_image(self, triplets: Triplets, kept: Flags) -> Iterator[Finding]:
        if self.max_area is not None:
            yield from places.whole_image(triplets, kept, self.max_area, self.scene_nouns)
        if self.witnesses is not None:
            yield from seen.unseen(triplets, kept, self.witnesses, self.min_witness_iou)

    def _collapse(self, triplets: Triplets, kept: Flags) -> Iterator[Finding]:
        if self.collapse_iou is not None:
            yield from places.collapsed(triplets, kept, self.collapse_iou)

    def _together(self, triplets: Triplets, kept: Flags) -> Iterator[Finding]:
        if self.attributes:
            asked = self.witnesses or ()
            yield from seen.looking_otherwise(triplets, kept, asked, self.min_witness_iou)
        if self.contained:
            yield together.contained(triplets, kept)
        if self.number:
            yield together.miscounted(triplets, kept)
