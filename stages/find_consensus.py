"""find_consensus: regions that independent sources agree on, and those that one alone has seen."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from schemas.annotations import Annotations, kept_mask, local_ids, region_bins, region_labels
from schemas.columns import Flags, is_in
from schemas.tables import HUMAN
from stages.base import Finding, Judge, Model
from stages.language import CHUNKER, language_named, parse, parser_identity
from stages.witnesses import Places, best_sighting


class FindConsensus(Judge):
    """R13: a region is `r13_gold_pseudo` where so many sources show the same thing at its place.

    Sources are those of the column `source`: the model and every second opinion. The tasks of one
    model are one source, as they share its blind spots. People are none: `merge_human` lets them
    win. Labels agree where their main nouns are equal or one is the wider word of the other.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"regions"})

    stage: Literal["find_consensus"] = "find_consensus"
    parser: str = Field(
        CHUNKER,
        description="what finds the main noun of a label: `chunker`, which ships with the package, "
        "or the name or folder of a spaCy pipeline",
    )
    min_sources: int = Field(
        2,
        ge=2,
        description="R13: sources that show a region, its own among them; flag `r13_gold_pseudo` "
        "at that or more. After GranD, which asks for two others",
    )
    min_iou: float = Field(
        0.5, gt=0, le=1, description="R13: overlap at which two sources show one thing; ours"
    )
    reject_alone: bool = Field(
        False,
        description="R13: quarantine a region that fewer sources show, where another one names "
        "such things at all. GranD's rule; off, as it costs what one source alone can see",
    )

    def identity(self, models: Mapping[str, Model]) -> dict[str, Any]:
        """With the parser's version, as its nouns depend on it."""
        return {**super().identity(models), "parser": parser_identity(self.parser)}

    def judge(self, annotations: Annotations) -> pa.Table:
        regions = annotations.regions
        voting = kept_mask(annotations, "region") & ~is_in(regions["source"], (HUMAN,))
        return self.verdicts(regions, "region", self._findings(annotations, voting))

    def _findings(self, annotations: Annotations, voting: Flags) -> Iterator[Finding]:
        regions = annotations.regions
        sources = pc.unique(regions["source"].filter(pa.array(voting))).drop_null().to_pylist()
        if len(sources) < 2:
            return
        places, names = self._places(annotations), local_ids(regions, "region")
        votes = np.ones(len(regions), dtype=np.int64)
        known, agreeing = np.zeros(len(regions), dtype=bool), []
        for source in sorted(sources):
            theirs = is_in(regions["source"], (source,))
            others = np.flatnonzero(voting & ~theirs)
            witness = np.flatnonzero(voting & theirs)
            mine, by = places.rows(others), places.rows(witness)
            seen = best_sighting(mine, by)
            agree = seen.iou >= self.min_iou
            votes[others] += agree
            known[others] |= mine.known_to(by)
            partner = np.full(len(regions), -1)
            partner[others[agree]] = witness[seen.row[agree]]
            name = names.take(pa.array(partner, mask=partner < 0))
            agreeing.append(pc.fill_null(pc.binary_join_element_wise(", ", name, ""), ""))
        named = pc.utf8_ltrim(pc.binary_join_element_wise(*agreeing, ""), ", ")
        gold, limit = votes >= self.min_sources, self.min_sources
        yield Finding("r13_gold_pseudo", "flag", voting & gold, votes, limit, named)
        if self.reject_alone:
            alone = voting & ~gold & known
            yield Finding("r13_alone", "quarantine", alone, votes, limit, named)

    def _places(self, annotations: Annotations) -> Places:
        regions = annotations.regions
        noun = parse(language_named(self.parser), region_labels(regions)).heads()
        return Places.of(regions["image_id"].combine_chunks(), region_bins(annotations), noun)
