"""The figures that FLD-5B prints of itself, for the kept labels of a version."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from annotator import stats_paper as paper
from annotator.stats_shapes import Shape, shapes_of
from annotator.store import Store, Wanted
from annotator.store.layout import CAPTION_LEVELS
from schemas.columns import Numbers, numbers
from stages.language import CHUNKER, Kind, Language, language_named, parse

TEXTS_AT_ONCE = 4_096
"""Texts that memory holds: seventy tokens each are some 300,000 rows of a dozen numbers."""
REGION_TEXT = """
    SELECT CASE WHEN task = 'dense_region_caption' THEN 'brief' ELSE 'phrase' END AS type,
           coalesce(category, text) AS words, *
    FROM regions
    WHERE source = 'human'
       OR task IN ('od', 'open_vocabulary_detection', 'dense_region_caption')
"""
"""Regions that are labels of their own, named by a phrase or described; not those that were asked
about what is there already (its category, its mask), and no lines of text."""
_NAMED = f"SELECT type, words FROM ({REGION_TEXT})"
_DESCRIBED = "SELECT 'brief' AS type, text AS words FROM texts WHERE level = 'description'"
_TRIPLETS = "SELECT level AS type, phrase AS words FROM triplets"
_GROUNDED = """
    SELECT level, count(*) FROM captions
    WHERE source IN (SELECT DISTINCT text_source FROM all_phrases)
    GROUP BY level
"""
"""Texts of sources whose texts were looked for in the image: people's mostly are not."""


@dataclass(frozen=True)
class TextRow:
    """Texts of one caption level; all but their count are means of one text, None without any."""

    level: str
    texts: int
    tokens: float | None
    objects: float | None
    attributes: float | None
    actions: float | None
    proper_nouns: float | None
    object_complexity: float | None
    action_complexity: float | None


@dataclass(frozen=True)
class RegionRow:
    """Region-text of one type, by image; or triplets of the texts of one level, by text.

    `tokens` is the mean of what is said of a region, None where nothing is.
    """

    type: str
    regions: int
    among: int
    tokens: float | None

    @property
    def mean(self) -> float | None:
        """Regions of one image or text."""
        return self.regions / self.among if self.among else None


@dataclass(frozen=True)
class Stats:
    """Of the kept labels of every source, on `images` that could be read."""

    version: int
    parser: dict[str, str]
    images: int
    texts: tuple[TextRow, ...]
    region_text: tuple[RegionRow, ...]
    triplets: tuple[RegionRow, ...]
    shapes: tuple[Shape, ...]

    def per_image(self, row: TextRow) -> float | None:
        """Texts of one level."""
        return row.texts / self.images if self.images else None

    def to_json(self) -> dict[str, Any]:
        """Each figure beside the paper's, where it has one."""
        texts = [
            {**asdict(row), "per_image": self.per_image(row), "fld_5b": _published(place)}
            for place, row in enumerate(self.texts)
        ]
        regions = {
            name: [_with_mean(row, published[row.type]) for row in rows]
            for name, rows, published in (
                ("region_text", self.region_text, paper.REGION_TEXT),
                ("triplets", self.triplets, paper.TRIPLETS),
            )
        }
        return {
            "version": self.version,
            "parser": self.parser,
            "images": self.images,
            "texts": texts,
            **regions,
            "shapes": [shape.to_json() for shape in self.shapes],
        }


def _published(level: int) -> dict[str, float]:
    per_image = paper.TEXTS_PER_IMAGE[CAPTION_LEVELS[level]]
    return {"per_image": per_image} | {name: each[level] for name, each in paper.PARSE.items()}


def _with_mean(row: RegionRow, published: tuple[float, float]) -> dict[str, Any]:
    fld_5b = dict(zip(("mean", "tokens"), published, strict=True))
    return {**asdict(row), "mean": row.mean, "fld_5b": fld_5b}


def stats_of(store: Store, wanted: Wanted | None = None, parser: str = CHUNKER) -> Stats:
    """Of one version, the latest by default; texts stream through memory.

    StageError where the parser is not installed.
    """
    language = language_named(parser)
    version = store.latest() if wanted is None else store.version(wanted)
    with closing(store.connect(version.number)) as lake:
        [(images,)] = lake.execute(
            "SELECT count(*) FROM images WHERE state IS DISTINCT FROM 'failed'"
        ).fetchall()
        of_images = dict.fromkeys(paper.REGION_TEXT, images)
        return Stats(
            version=version.number,
            parser={"name": language.name, "version": language.version},
            images=images,
            texts=_texts(lake, language),
            region_text=_regions(lake, language, f"{_NAMED} UNION ALL {_DESCRIBED}", of_images),
            triplets=_regions(lake, language, _TRIPLETS, _grounded(lake)),
            shapes=shapes_of(lake, REGION_TEXT),
        )


def _texts(lake: duckdb.DuckDBPyConnection, language: Language) -> tuple[TextRow, ...]:
    counted = {level: np.zeros(1 + len(paper.PARSE)) for level in CAPTION_LEVELS}
    for batch in _batches(lake, "SELECT level, text FROM captions"):
        measured = _measures(language, batch["text"])
        levels = batch["level"].to_numpy()
        for level, sums in counted.items():
            sums += measured[:, levels == level].sum(axis=1)
    return tuple(
        TextRow(level, int(texts), *(float(total) / texts if texts else None for total in totals))
        for level, (texts, *totals) in counted.items()
    )


def _measures(language: Language, texts: pa.ChunkedArray) -> Numbers:
    """One row per number of a `TextRow`, one column per text."""
    parsed = parse(language, texts)
    kinds = (Kind.OBJECT, Kind.ATTRIBUTE, Kind.ACTION, Kind.PROPER_NOUN)
    complexities = (Kind.OBJECT, Kind.ACTION)
    return np.stack(
        [
            np.ones(len(texts)),
            parsed.count(),
            *(parsed.count(kind) for kind in kinds),
            *(np.nan_to_num(parsed.complexity(kind)) for kind in complexities),
        ]
    )


def _regions(
    lake: duckdb.DuckDBPyConnection, language: Language, select: str, among: dict[str, int]
) -> tuple[RegionRow, ...]:
    """`select` has the columns type and words; a region without words has no tokens to count."""
    counted = dict.fromkeys(among, (0, 0, 0.0))
    grouped = f"SELECT type, words, count(*) AS times FROM ({select}) GROUP BY ALL"
    for batch in _batches(lake, grouped):
        times = numbers(batch["times"])
        said = times * batch["words"].is_valid().to_numpy()
        tokens = said * parse(language, batch["words"]).count()
        found = batch["type"].to_numpy()
        for name, (regions, with_words, total) in counted.items():
            of_type = found == name
            counted[name] = (
                regions + int(times[of_type].sum()),
                with_words + int(said[of_type].sum()),
                total + float(tokens[of_type].sum()),
            )
    return tuple(
        RegionRow(name, regions, among[name], total / said if said else None)
        for name, (regions, said, total) in counted.items()
    )


def _grounded(lake: duckdb.DuckDBPyConnection) -> dict[str, int]:
    return dict.fromkeys(CAPTION_LEVELS, 0) | dict(lake.execute(_GROUNDED).fetchall())


def _batches(lake: duckdb.DuckDBPyConnection, select: str) -> Iterator[pa.Table]:
    for batch in lake.execute(select).to_arrow_reader(TEXTS_AT_ONCE):
        yield pa.Table.from_batches([batch])
