"""filter_duplicates: boxes said twice, loops, things that tiles cut, parts and groups."""

from stages.filter_duplicates.places import GROUNDING
from stages.filter_duplicates.stage import FilterDuplicates

__all__ = ["GROUNDING", "FilterDuplicates"]
