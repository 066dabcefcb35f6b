"""The options of check_tasks."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from schemas.annotations import Annotations
from stages.base import Finding, Judge, Model
from stages.check_tasks import printed, regions, round_trip, texts
from stages.language import CHUNKER, parser_identity

Share = Annotated[float, Field(ge=0, le=1)]


class CheckTasks(Judge):
    """One task's answer against another's: X1 to X9, R10, T8 and T10. Each filter's name begins
    with its rule. Most flag only: a model that contradicts itself is wrong in one of two places,
    and where it agrees with itself both may be.

    A task that no image of the shard has an answer of was not asked, and bears nothing out. A noun
    that the other task says of no image is not held against it. X7 (the image mirrored) and X8
    (two versions) are not built: they need a model, and another version's tables.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"regions"})

    stage: Literal["check_tasks"] = "check_tasks"
    parser: str = Field(
        CHUNKER,
        description="what finds the nouns: `chunker`, which ships with the package, or the name or "
        "folder of a spaCy pipeline",
    )
    min_iou: float | None = Field(
        0.5,
        gt=0,
        le=1,
        description="X1: an object and a dense caption at one place, with the same main noun; X2: "
        "a grounded phrase and an object; X3: a region proposal at the place of any of these; flag "
        "below. Ours",
    )
    reject_unseen: bool = Field(
        True,
        description="X1: quarantine an object that neither a dense caption nor a grounded phrase "
        "shows, and a dense caption that neither an object nor a grounded phrase does, by "
        "`min_iou` and main noun, where the other task names such things at all; ours",
    )
    category: bool = Field(
        True,
        description="R10: flag a region whose place `region_to_category` gives another category, "
        "after All-Seeing, which ranks labels again; X4: or one whose category, looked for by "
        "`open_vocabulary_detection`, is found in the image and not at the place, by `min_iou`",
    )
    max_unsupported: dict[texts.CaptionLevel, Share] | None = Field(
        None,
        description="T10, caption level: share of the things a caption names that no object and no "
        "dense caption of the image shows; quarantine above. Off: of scenes it rejected 10 "
        "captions, 9 of them untrue, and with them their right phrases. Ours to begin with: "
        "`{brief: 0.34, detailed: 0.5, more_detailed: 0.5}`",
    )
    support: bool = Field(
        True, description="X9: flag a caption that names any such thing; the detail says which"
    )
    levels: bool = Field(
        True, description="X6: flag a brief caption that names what no longer one of it does; ours"
    )
    max_parroted: float | None = Field(
        0.5,
        ge=0,
        le=1,
        description="T8: share of a caption's content words that stand in the image's text; flag "
        "above. DiHT's rule, the number is ours",
    )
    min_quoted: float | None = Field(
        0.8,
        ge=0,
        le=1,
        description="X5: share of the characters of quoted words that the image's text has too; "
        "flag below; ours",
    )

    def identity(self, models: Mapping[str, Model]) -> dict[str, Any]:
        """With the parser's version, as its nouns depend on it."""
        return {**super().identity(models), "parser": parser_identity(self.parser)}

    def judge(self, annotations: Annotations) -> pa.Table:
        of_regions = self.verdicts(annotations.regions, "region", self._of_regions(annotations))
        of_texts = self.verdicts(annotations.texts, "text", self._of_texts(annotations))
        return pa.concat_tables([of_regions, of_texts])

    def _of_regions(self, annotations: Annotations) -> Iterator[Finding]:
        named = regions.Named.of(annotations, self.parser)
        if self.min_iou is not None:
            yield from regions.unmatched(named, self.min_iou)
            if self.reject_unseen:
                yield from regions.unseen(named, self.min_iou)
        if self.category:
            yield from round_trip.recategorised(named, self.min_iou)

    def _of_texts(self, annotations: Annotations) -> Iterator[Finding]:
        captions = texts.Captions.of(annotations, self.parser)
        if self.support or self.max_unsupported:
            limits = self.max_unsupported or {}
            yield from texts.unsupported(captions, self.support, limits)
        if self.levels:
            yield texts.dropped_later(captions)
        words = printed.Printed.of(annotations)
        if self.max_parroted is not None:
            yield from printed.parroted(captions, words, self.max_parroted)
        if self.min_quoted is not None:
            yield from printed.misquoted(captions, words, self.min_quoted)
