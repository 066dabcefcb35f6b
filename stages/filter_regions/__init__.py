"""filter_regions: places that are broken, tiny, slivers or whole images, and labels of no thing."""

from stages.filter_regions.measures import OBJECT_TASKS
from stages.filter_regions.stage import FilterRegions

__all__ = ["OBJECT_TASKS", "FilterRegions"]
