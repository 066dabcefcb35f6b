"""Every stage, by the name that the YAML gives it. This is the whole list."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from stages.base import Judge, Proposer
from stages.check_tasks import CheckTasks
from stages.filter_duplicates import FilterDuplicates
from stages.filter_phrases import FilterPhrases
from stages.filter_regions import FilterRegions
from stages.filter_scores import FilterScores
from stages.filter_texts import FilterTexts
from stages.find_consensus import FindConsensus
from stages.florence2.stage import Florence2
from stages.merge_human import MergeHuman

PROPOSERS: Mapping[str, type[Proposer]] = {
    "florence2": Florence2,
}
JUDGES: Mapping[str, type[Judge]] = {
    "filter_texts": FilterTexts,
    "filter_regions": FilterRegions,
    "filter_scores": FilterScores,
    "filter_duplicates": FilterDuplicates,
    "find_consensus": FindConsensus,
    "check_tasks": CheckTasks,
    "filter_phrases": FilterPhrases,
    "merge_human": MergeHuman,
}

# With a second proposer this becomes a union on `stage`, as below; pydantic refuses one of one.
AnyProposer = Florence2
AnyJudge = Annotated[
    FilterTexts
    | FilterRegions
    | FilterScores
    | FilterDuplicates
    | FindConsensus
    | CheckTasks
    | FilterPhrases
    | MergeHuman,
    Field(discriminator="stage"),
]
