"""The statistics of a version for a terminal, each figure beside FLD-5B's."""

from collections.abc import Iterator, Sequence

import numpy as np

from annotator import stats_paper as paper
from annotator.stats import Stats
from annotator.stats_shapes import CELLS, SMALLEST_AREA, WIDEST, Shape
from annotator.summary import aligned
from schemas.columns import Rows

FLD_5B = "FLD-5B"
_BARS = " ▁▂▃▄▅▆▇█"
_SHADES = " ░▒▓█"
_PRINTED_CELLS = 8


def render(stats: Stats) -> str:
    """Lines for a terminal."""
    parser = " ".join(stats.parser.values())
    lines = [
        f"version {stats.version}, {stats.images:,} images; kept labels beside {FLD_5B} "
        "(arXiv 2311.06242, Tables 2 and 3)",
        f"words are counted by the parser {parser}: another one counts otherwise",
    ]
    blocks = ["\n".join(lines), _texts(stats), *_regions(stats), *_shapes(stats)]
    return "\n\n".join(blocks)


def _texts(stats: Stats) -> str:
    head = ["texts", *(name for row in stats.texts for name in (row.level, FLD_5B))]
    per_image = [
        _number(figure)
        for row in stats.texts
        for figure in (stats.per_image(row), paper.TEXTS_PER_IMAGE[row.level])
    ]
    means = [
        [name.replace("_", " "), *map(_number, figures)]
        for name, published in paper.PARSE.items()
        for figures in [_alternating([getattr(row, name) for row in stats.texts], published)]
    ]
    return aligned(head, [["per image", *per_image], *means], words=1)


def _alternating(ours: Sequence[float | None], theirs: Sequence[float]) -> list[float | None]:
    return [figure for pair in zip(ours, theirs, strict=True) for figure in pair]


def _regions(stats: Stats) -> Iterator[str]:
    """Region-text, then triplets: the paper counts the regions of these by text."""
    blocks = (
        ("region-text", "per image", stats.region_text, paper.REGION_TEXT),
        ("triplets", "per text", stats.triplets, paper.TRIPLETS),
    )
    for name, unit, rows, published in blocks:
        head = [name, "regions", unit, FLD_5B, "tokens", FLD_5B]
        cells = [
            [row.type, row.regions, *map(_number, _alternating(means, published[row.type]))]
            for row in rows
            for means in [(row.mean, row.tokens)]
        ]
        yield aligned(head, cells, words=1)


def _shapes(stats: Stats) -> Iterator[str]:
    """As Figure 5, which prints no numbers."""
    rows: list[list[object]] = [
        ["boxes", *(shape.boxes for shape in stats.shapes)],
        [f"share of the image, 1e{SMALLEST_AREA:.0f} to 1", *(_bars(s.area) for s in stats.shapes)],
        ["its unevenness (0: flat)", *(_number(shape.unevenness) for shape in stats.shapes)],
        [
            f"width over height, 1/{2**WIDEST:.0f} to {2**WIDEST:.0f}",
            *(_bars(shape.aspect) for shape in stats.shapes),
        ],
        ["its skewness (0: symmetric)", *(_number(s.aspect_skewness) for s in stats.shapes)],
        ["centres in the middle ninth", *(_share(shape.central) for shape in stats.shapes)],
    ]
    yield aligned(["shapes", *(shape.type for shape in stats.shapes)], rows, words=1)
    if any(shape.boxes for shape in stats.shapes):
        yield _heat_maps(stats.shapes)


def _bars(counts: Rows) -> str:
    """A column for each bin; the highest is full, and none that counts anything is blank."""
    levels = np.ceil(counts / max(counts.max(), 1) * (len(_BARS) - 1)).astype(int)
    return "".join(_BARS[level] for level in levels)


def _heat_maps(shapes: Sequence[Shape]) -> str:
    size = CELLS // _PRINTED_CELLS
    maps = [
        shape.centres.reshape(_PRINTED_CELLS, size, _PRINTED_CELLS, size).sum(axis=(1, 3))
        for shape in shapes
    ]
    titles = [f"centres, {shape.type}" for shape in shapes]
    lines = [
        [f"│{_shades(row, of.max())}│" for row, of in zip(rows, maps, strict=True)]
        for rows in zip(*maps, strict=True)
    ]
    return aligned(titles, lines, words=len(titles))


def _shades(counts: Rows, highest: int) -> str:
    levels = np.ceil(counts / max(highest, 1) * (len(_SHADES) - 1)).astype(int)
    return "".join(2 * _SHADES[level] for level in levels)


def _number(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.2f}"


def _share(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.0%}"
