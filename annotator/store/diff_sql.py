"""The SQL of a diff: labels of two versions side by side, and what became of each.

A label is `image_id, source, label_no`; its `category` (the group it is counted in), its `words`
and geometry (what it says), `score`, and whether it is kept.
"""

from collections.abc import Collection, Sequence

from annotator.store.layout import is_rejection, rejected
from annotator.store.sql import quoted
from schemas.tables import LABEL_TABLES

SIDES = ("before", "after")
MIN_SCORE_CHANGE = 1e-4
"""Scores nearer than this are the same: the order of a batch changes their last digits."""
SAME_WORDS_WEIGH = 0.2
"""How much of an IoU equal words are worth where two labels compete to be the same one."""
_BOX = ("x0", "y0", "x1", "y1")

_LABELS = {
    "text": (
        "l.level AS category, l.text AS words, NULL::FLOAT AS x0, NULL::FLOAT AS y0, "
        "NULL::FLOAT AS x1, NULL::FLOAT AS y1, NULL::FLOAT[][] AS points, "
        "l.parent IS NULL AS about_image",
        "",
    ),
    "region": (
        "coalesce(l.category, l.task) AS category, coalesce(l.text, l.category) AS words, "
        "l.x0, l.y0, l.x1, l.y1, l.points, false AS about_image",
        "",
    ),
    "phrase": (
        "NULL::VARCHAR AS category, "
        "concat_ws(' ', l.phrase, '[' || l.char_start || ', ' || l.char_end || ')') AS words, "
        "r.x0, r.y0, r.x1, r.y1, r.points, false AS about_image",
        "LEFT JOIN {side}.all_regions r ON r.image_id = l.image_id "
        "AND r.source = l.region_source AND r.label_no = l.region_no",
    ),
}
READS = {
    "text": ("texts", "verdicts"),
    "region": ("regions", "verdicts"),
    "phrase": ("phrases", "regions", "verdicts"),
}
"""Kind → the tables that say what its labels are."""
_WHAT_IT_SAYS = "category, words, x0, y0, x1, y1, points"
MATCHES = {
    "text": (("category, words", "true"), ("category", "about_image")),
    "region": ((_WHAT_IT_SAYS, "true"), ("x0, y0, x1, y1, points", "x0 IS NOT NULL")),
    "phrase": ((_WHAT_IT_SAYS, "true"), ("x0, y0, x1, y1, points", "x0 IS NOT NULL")),
}
"""Kind → what two labels of an image and source must share to be one, and which may; best first."""


def within(shards: Sequence[str], known: Collection[str]) -> str:
    """A condition on `l.shard` of these, of all that are `known`; nothing but a range where it can
    be: the lake leaves out files by that, and looks no row up in a list.
    """
    if not shards:
        return "false"
    first, last = min(shards), max(shards)
    span = f"l.shard BETWEEN {quoted(first)} AND {quoted(last)}"
    if sum(first <= shard <= last for shard in known) == len(shards):
        return span
    return f"{span} AND l.shard IN ({', '.join(map(quoted, shards))})"


def _labels(kind: str, side: str, condition: str, more: str = "") -> str:
    """Every candidate of a side."""
    columns, join = _LABELS[kind]
    return (
        f"SELECT '{side}' AS side, l.image_id, l.source, l.label_no, {columns}, l.score{more} "
        f"FROM {side}.all_{LABEL_TABLES[kind]} l {join.format(side=side)} WHERE {condition}"
    )


def differing_images(kind: str, labels: str, verdicts: str) -> str:
    """Hashes of images on which the sides differ, even if only in a number, and their rows.

    A sum over their labels, and over those that are rejected, is not nothing. `labels` and
    `verdicts` are conditions on the shards: verdicts alone are read where only they changed.
    """
    weights = []
    for side, sign in zip(SIDES, ("-", ""), strict=True):
        weight = f"{sign}(hash(source, label_no, {_WHAT_IT_SAYS}, score) >> 8)::BIGINT"
        weights.append(
            f"SELECT hash(image_id) AS image, {weight} AS weight "
            f"FROM ({_labels(kind, side, labels)})"
        )
        weights.append(
            f"SELECT hash(image_id), {sign}(hash(source, label_no) >> 8)::BIGINT "
            f"FROM {side}.verdicts l WHERE {is_rejection('l', kind)} AND {verdicts}"
        )
    return (
        f"SELECT image, count(*) AS rows FROM ({' UNION ALL '.join(weights)}) GROUP BY image "
        "HAVING sum(weight) <> 0"
    )


def unequal_labels(kind: str, shards: str, images: str) -> str:
    """Labels of these images that the other side has not in all; two equal ones count twice."""
    condition = f"{shards} AND hash(l.image_id) IN (SELECT image FROM {images})"
    both = " UNION ALL ".join(
        _labels(kind, side, condition, f", NOT {rejected(kind, f'{side}.verdicts')} AS kept")
        for side in SIDES
    )
    same_as = f"hash(image_id, source, {_WHAT_IT_SAYS}, score, kept) AS same_as"
    copies = "PARTITION BY side, same_as ORDER BY label_no"
    return (
        f"SELECT row_number() OVER () AS row, * FROM (SELECT *, row_number() OVER ({copies}) "
        f"AS copy FROM (SELECT *, {same_as} FROM ({both}))) "
        "QUALIFY count(*) OVER (PARTITION BY same_as, copy) = 1"
    )


def alike(key: str, condition: str) -> str:
    """Pairs of `rest` that share image, source and `key`, the first with the first."""
    numbered = (
        f"SELECT side, row, label_no, hash(image_id, source, {key}) AS place FROM rest "
        f"WHERE {condition}"
    )
    nth = "row_number() OVER (PARTITION BY side, place ORDER BY label_no) AS nth"
    return (
        f"WITH numbered AS (SELECT *, {nth} FROM ({numbered})) "
        "SELECT b.row AS before, a.row AS after, NULL::DOUBLE AS iou "
        "FROM numbered b JOIN numbered a USING (place, nth) "
        "WHERE b.side = 'before' AND a.side = 'after'"
    )


def overlapping(min_iou: float) -> str:
    """Pairs of `rest` on one image whose bounding boxes overlap that much, and how alike."""
    width, height = (
        f"greatest(least(b.{high}, a.{high}) - greatest(b.{low}, a.{low}), 0)"
        for low, high in (("x0", "x1"), ("y0", "y1"))
    )
    areas = " + ".join(f"({s}.x1 - {s}.x0) * ({s}.y1 - {s}.y0)" for s in "ba")
    return (
        "SELECT before, after, iou, iou + weight AS likeness FROM ("
        "SELECT b.row AS before, a.row AS after, "
        f"({width} * {height})::DOUBLE AS shared, shared / nullif({areas} - shared, 0) AS iou, "
        f"CASE WHEN b.words IS NOT DISTINCT FROM a.words THEN {SAME_WORDS_WEIGH} ELSE 0 END "
        "AS weight FROM rest b JOIN rest a USING (image_id, source) "
        f"WHERE b.side = 'before' AND a.side = 'after') WHERE iou >= {min_iou} "
        "ORDER BY before, after"
    )


CHANGES = {
    "kind": "VARCHAR",
    "image_id": "VARCHAR",
    "source": "VARCHAR",
    "change": "VARCHAR",  # added, removed, rejected, restored, changed
    "moved": "BOOLEAN",
    "relabelled": "BOOLEAN",
    "rescored": "BOOLEAN",
    "iou": "DOUBLE",  # of the bounding boxes
} | {
    f"{column}_{side}": kind
    for column, kind in (
        ("label_id", "VARCHAR"),
        ("category", "VARCHAR"),
        ("words", "VARCHAR"),
        *((edge, "FLOAT") for edge in _BOX),
        ("score", "FLOAT"),
    )
    for side in SIDES
}
"""Columns of the rows of a diff."""


def changes(kind: str) -> str:
    """What became of each label of `unequal`, by `pairs`; those that are the same stay away."""
    both = "b.row IS NOT NULL AND a.row IS NOT NULL"
    geometry, said = (*_BOX, "points"), ("category", "words")
    label_id = "{s}.image_id || '/' || {s}.source || '/" + kind + "/' || {s}.label_no"
    columns = [
        f"{label_id.format(s=s)} AS label_id_{side}" for s, side in zip("ba", SIDES, strict=True)
    ]
    for column in (*said, *_BOX, "score"):
        columns += [f"{s}.{column} AS {column}_{side}" for s, side in zip("ba", SIDES, strict=True)]
    rescored = (
        f"coalesce(abs(b.score - a.score) > {MIN_SCORE_CHANGE}, b.score IS DISTINCT FROM a.score)"
    )
    return (
        f"SELECT '{kind}' AS kind, coalesce(b.image_id, a.image_id) AS image_id, "
        f"coalesce(b.source, a.source) AS source, {_CHANGE} AS change, "
        f"{both} AND {_differ(geometry)} AS moved, {both} AND {_differ(said)} AS relabelled, "
        f"{both} AND {rescored} AS rescored, "
        "CASE WHEN b.x0 IS NOT NULL AND a.x0 IS NOT NULL THEN coalesce(p.iou, 1) END AS iou, "
        f"{', '.join(columns)} FROM (FROM unequal WHERE side = 'before') b "
        "LEFT JOIN pairs p ON p.before = b.row "
        "FULL JOIN (FROM unequal WHERE side = 'after') a ON a.row = p.after "
        "WHERE (coalesce(b.kept, false) OR coalesce(a.kept, false)) "
        "AND (change <> 'changed' OR moved OR relabelled OR rescored)"
    )


def _differ(columns: Sequence[str]) -> str:
    return f"({' OR '.join(f'b.{c} IS DISTINCT FROM a.{c}' for c in columns)})"


_CHANGE = (
    "CASE WHEN a.row IS NULL THEN 'removed' WHEN b.row IS NULL THEN 'added' "
    "WHEN b.kept AND a.kept THEN 'changed' WHEN b.kept THEN 'rejected' ELSE 'restored' END"
)
COUNTED = ("added", "removed", "changed", "moved", "relabelled", "rescored", "rejected", "restored")
_SUM = "coalesce(sum({}), 0)"
_SAME = " - ".join(_SUM.format(name) for name in ("before", "removed", "changed", "rejected"))
COUNTS = f"""
SELECT kind, source, category, sum(before)::BIGINT, sum(after)::BIGINT,
       ({_SAME})::BIGINT,
       {", ".join(f"{_SUM.format(name)}::BIGINT" for name in COUNTED)}
FROM (
    SELECT kind, source, category, before, before AS after FROM totals
    UNION ALL BY NAME
    SELECT kind, source, category_before AS category, 0 AS before, -1 AS after,
           change = 'removed' AS removed, change = 'rejected' AS rejected,
           change = 'changed' AS changed, change = 'changed' AND moved AS moved,
           change = 'changed' AND relabelled AS relabelled,
           change = 'changed' AND rescored AS rescored
    FROM changes WHERE change IN ('removed', 'changed', 'rejected')
    UNION ALL BY NAME
    SELECT kind, source, category_after AS category, 0 AS before, 1 AS after,
           change = 'added' AS added, change = 'restored' AS restored
    FROM changes WHERE change IN ('added', 'changed', 'restored')
)
GROUP BY ALL ORDER BY ALL
"""
"""What is after is what was before, without what went and with what came."""


def totals(kind: str) -> str:
    """Kept labels of `before` by source and category."""
    column, _ = _LABELS[kind]
    category = column.partition(" AS category")[0]
    return (
        f"SELECT '{kind}' AS kind, l.source, {category} AS category, count(*) AS before "
        f"FROM before.{LABEL_TABLES[kind]} l GROUP BY ALL"
    )
