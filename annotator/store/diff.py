"""What changed between two versions: kept labels matched by image and content, as counts.

Labels are matched as multisets: two equal boxes on one image are two labels. A label whose text,
category or geometry changed is one removed and one added.
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from annotator.store.lake import attach, connect

# Of a kind: the group that it is counted in, and what makes two labels of an image the same one.
_CONTENTS = {
    "text": ("l.level", "l.text", ""),
    "region": (
        "coalesce(l.category, l.task)",
        "l.category, l.text, l.shape, l.x0, l.y0, l.x1, l.y1, l.points",
        "",
    ),
    "phrase": (
        "NULL",
        "l.phrase, l.char_start, l.char_end, r.shape, r.x0, r.y0, r.x1, r.y1, r.points",
        "LEFT JOIN {side}.all_regions r ON r.image_id = l.image_id "
        "AND r.source = l.region_source AND r.label_no = l.region_no",
    ),
}


@dataclass(frozen=True)
class DiffRow:
    """Labels of one kind, source and group in two versions, and how they match.

    `group` is a caption's level, a region's category (its task where the words are free), and
    None for phrases.
    """

    kind: str
    source: str
    group: str | None
    before: int
    after: int
    same: int

    @property
    def added(self) -> int:
        return self.after - self.same

    @property
    def removed(self) -> int:
        return self.before - self.same


def diff_snapshots(root: Path, before: int, after: int) -> list[DiffRow]:
    """Rows by kind, source and group between two snapshots of the lake."""
    rows = []
    with closing(connect()) as connection:
        attach(connection, root, alias="before", snapshot=before)
        attach(connection, root, alias="after", snapshot=after)
        for kind in _CONTENTS:
            rows += [DiffRow(kind, *row) for row in connection.execute(_counts(kind)).fetchall()]
    return rows


def _counts(kind: str) -> str:
    """Each label weighs one on its own side; equal content of both sides meets in one group."""
    both = f"{_side(kind, 'before')} UNION ALL BY NAME {_side(kind, 'after')}"
    matched = (
        "SELECT source, shown, count(*) FILTER (side = 'before') AS was, "
        f"count(*) FILTER (side = 'after') AS now FROM ({both}) "
        "GROUP BY source, shown, image_id, content"
    )
    return (
        "SELECT source, shown, sum(was)::BIGINT, sum(now)::BIGINT, "
        f"sum(least(was, now))::BIGINT FROM ({matched}) GROUP BY ALL ORDER BY ALL"
    )


def _side(kind: str, side: str) -> str:
    shown, content, join = _CONTENTS[kind]
    return (
        f"SELECT '{side}' AS side, l.source, {shown} AS shown, l.image_id, "
        f"row({content}) AS content FROM {side}.{kind}s l {join.format(side=side)}"
    )
