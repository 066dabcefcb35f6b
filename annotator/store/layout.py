"""What the lake holds, in SQL: the tables with the rows, the bookkeeping, and the views for people.

`all_texts`, `all_regions`, `all_phrases` show every candidate; `texts`, `regions`, `phrases` those
that are kept. `captions`, `regions` and `triplets` are FLD-5B's three shapes. The views lie in the
lake itself, so any DuckDB client has them.
"""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from annotator.store.sql import quoted
from schemas.tables import LABEL_TABLES, REJECTIONS, TABLES, TEXT_LEVELS

LAYOUT = 2
"""Raised when the names of the tables, the bookkeeping or the views change.

1 had the candidates in tables called all_texts, all_regions, all_phrases, without `label_id`; no
tags; no captions, no triplets.
"""
STORED = (
    {name: name for name in TABLES}
    | {table: f"candidate_{table}" for table in LABEL_TABLES.values()}
    | {"verdicts": "verdict_rows"}
)
"""Table of `schemas.tables` → its name in the lake."""
STORED_IN = {
    1: {name: name for name in TABLES} | {t: f"all_{t}" for t in LABEL_TABLES.values()},
    LAYOUT: STORED,
}
CAPTION_LEVELS = TEXT_LEVELS[:3]
LABEL_KEY = "image_id, source, label_no"
"""What two tables of one kind of label are joined by."""

_TYPES = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.list_(pa.float32()): "FLOAT[]",
    pa.list_(pa.list_(pa.float32())): "FLOAT[][]",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
}
TAGS = "CREATE TABLE tags (name VARCHAR, version INTEGER, note VARCHAR, created TIMESTAMPTZ)"
BOOKKEEPING = (
    "CREATE TABLE recipes (recipe VARCHAR, stages VARCHAR, created TIMESTAMPTZ)",
    # `rows` is JSON: rows by table, kept labels by table, and the part's file of each table.
    "CREATE TABLE ledger (shard VARCHAR, recipe VARCHAR, state VARCHAR, part VARCHAR, "
    "run VARCHAR, rows VARCHAR, committed_at TIMESTAMPTZ)",
    # One row. Each commit updates it, so that two of them can never both be version n.
    "CREATE TABLE store_state (version INTEGER)",
    "INSERT INTO store_state VALUES (0)",
    TAGS,
)


def columns_of(table: str) -> dict[str, str]:
    """Column → DuckDB's type of it, of a table of `schemas.tables`."""
    return {field.name: _TYPES[field.type] for field in TABLES[table]}


def create_table(table: str) -> str:
    """The statement that makes an empty one."""
    columns = ", ".join(f'"{name}" {kind}' for name, kind in columns_of(table).items())
    return f"CREATE TABLE {STORED[table]} ({columns})"


def views(stored: Mapping[str, str] = STORED, source: str = "") -> Iterator[tuple[str, str]]:
    """Name → SELECT, each after those that it reads; `source` goes before each table's name."""
    table_of = {table: f"{source}{name}" for table, name in stored.items()}
    label_id = "v.image_id || '/' || v.source || '/' || v.kind || '/' || v.label_no AS label_id"
    verdicts = table_of["verdicts"]
    yield "verdicts", f"SELECT {label_id}, v.* FROM {verdicts} v"
    for kind, table in LABEL_TABLES.items():
        labels = (
            f"SELECT l.image_id || '/' || l.source || '/{kind}/' || l.label_no AS label_id, l.* "
            f"FROM {table_of[table]} l"
        )
        yield f"all_{table}", labels
        # An anti join takes a quarter of the time of NOT EXISTS, which DuckDB joins twice.
        yield table, f"{labels} ANTI JOIN ({rejections(kind, verdicts)}) USING ({LABEL_KEY})"
    levels = ", ".join(map(quoted, CAPTION_LEVELS))
    yield "captions", f"SELECT * FROM texts WHERE level IN ({levels})"
    yield "triplets", _TRIPLETS


def rejections(kind: str, verdicts: str) -> str:
    """Keys of the labels that some verdict rejects, for an anti join."""
    return f"SELECT {LABEL_KEY} FROM {verdicts} v WHERE {is_rejection('v', kind)}"


def is_rejection(row: str, kind: str) -> str:
    """A condition on a row of the verdicts: whether a label that has it is not kept."""
    rejections = ", ".join(map(quoted, REJECTIONS))
    return f"{row}.kind = '{kind}' AND {row}.verdict IN ({rejections})"


def rejected(kind: str, verdicts: str) -> str:
    """A condition on a label `l`: whether one of the verdicts rejects it."""
    return (
        f"EXISTS (SELECT 1 FROM {verdicts} v WHERE {is_rejection('v', kind)} "
        "AND v.image_id = l.image_id AND v.source = l.source AND v.label_no = l.label_no)"
    )


# One row for each kept caption, phrase of it that is kept, and kept region that the phrase means.
_TRIPLETS = """
SELECT p.label_id, p.image_id, p.shard, p.source, t.label_id AS text_id, t.level, t.text,
       p.char_start, p.char_end, p.phrase, r.label_id AS region_id, r.shape,
       r.x0, r.y0, r.x1, r.y1, r.points, t.score AS text_score, p.score AS phrase_score,
       p.label_score AS phrase_label_score, r.score AS region_score, r.location_score, r.label_score
FROM phrases p
JOIN texts t ON t.image_id = p.image_id AND t.source = p.text_source AND t.label_no = p.text_no
JOIN regions r
  ON r.image_id = p.image_id AND r.source = p.region_source AND r.label_no = p.region_no
""".strip()
