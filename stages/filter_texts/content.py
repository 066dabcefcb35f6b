"""What a caption is about: objects (T5), how they hang together (T6), actions (T7)."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from stages.base import Finding
from stages.filter_texts.form import CAPTION_LEVELS, of_level
from stages.language import Kind, Parsed

PerLevel = Mapping[str, int]


def things_and_actions(
    texts: pa.Table,
    parsed: Parsed,
    max_objects: PerLevel,
    min_complexity: PerLevel,
    min_actions: PerLevel,
) -> Iterator[Finding]:
    said = parsed.count() > 0
    objects, actions = parsed.count(Kind.OBJECT), parsed.count(Kind.ACTION)
    complexity = np.nan_to_num(parsed.complexity(Kind.OBJECT)) if min_complexity else objects
    for level in CAPTION_LEVELS:
        rows = of_level(texts, level) & said
        if (most := max_objects.get(level)) is not None:
            yield Finding("t5_objects", "quarantine", rows & (objects > most), objects, most)
        if (least := min_complexity.get(level)) is not None:
            simple = rows & (complexity < least)
            yield Finding("t6_object_complexity", "quarantine", simple, complexity, least)
        if (least := min_actions.get(level)) is not None:
            yield Finding("t7_actions", "quarantine", rows & (actions < least), actions, least)
