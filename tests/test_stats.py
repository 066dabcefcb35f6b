"""`annotator stats` on tables whose figures were counted by hand."""

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from small_tables import commit, entry_of, shard_tables

from annotator import stats as stats_module
from annotator.cli.stats import stats
from annotator.stats import RegionRow, Stats, TextRow, stats_of
from annotator.stats_shapes import BINS, Shape
from annotator.stats_text import render
from annotator.store import Store
from schemas.annotations import table_of

IMAGE = {"shard": "s0", "state": "labelled"}
LABEL = {"shard": "s0", "source": "model", "recipe": "first", "round": 0}


def image(key: str, width: int, height: int, **columns: object) -> dict[str, object]:
    size = {"width": width, "height": height}
    return {**IMAGE, "image_id": f"s0/{key}", "key": key, **size, **columns}


def text(key: str, number: int, level: str, words: str, **columns: object) -> dict[str, object]:
    said = {"label_no": number, "level": level, "text": words}
    return {**LABEL, "image_id": f"s0/{key}", **said, **columns}


def region(
    key: str, number: int, task: str | None, box: tuple[float, ...], **columns: object
) -> dict[str, object]:
    corners = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
    place = {"label_no": number, "task": task, "shape": "box", **corners}
    return {**LABEL, "image_id": f"s0/{key}", **place, **columns}


def phrase(number: int, words: str) -> dict[str, object]:
    ends = {"text_source": "model", "text_no": 0, "region_source": "model", "region_no": number}
    return {**LABEL, "image_id": "s0/a", "label_no": number, "phrase": words, **ends}


def verdict(number: int, verdict: str) -> dict[str, object]:
    key = {"shard": "s0", "image_id": "s0/a", "kind": "region", "source": "model"}
    return {**key, "label_no": number, "filter": "filter_a.rule", "verdict": verdict}


ROWS: dict[str, list[dict[str, Any]]] = {
    "images": [image("a", 100, 50), image("b", 90, 90), image("c", 0, 0, state="failed")],
    "texts": [
        text("a", 0, "brief", "A black dog sits on a chair."),
        text("b", 0, "brief", "A dog."),
        text("b", 0, "brief", "A cat.", source="human"),
        text("a", 1, "description", "a dog that sleeps", parent="model/region/0"),
        text("a", 2, "ocr", "STOP"),
    ],
    "regions": [
        region("a", 0, "caption_to_phrase_grounding", (0, 0, 50, 50), text="A black dog"),
        region("a", 1, "caption_to_phrase_grounding", (40, 20, 60, 30), text="a chair"),
        region("a", 2, "od", (0, 0, 100, 50), category="dog"),
        region("a", 3, "od", (0, 0, 10, 10), category="polar bear"),
        region("a", 4, "dense_region_caption", (10, 10, 20, 20), text="a very black dog"),
        region("a", 5, "region_to_segmentation", (0, 0, 9, 9)),
        region("b", 0, None, (0, 0, 30, 60), category="dog", source="human"),
        region("b", 1, "od", (5, 5, 5, 9), category="dog"),
        region("b", 2, "od", (5, 5, float("inf"), 9), category=None),
    ],
    "phrases": [phrase(0, "A black dog"), phrase(1, "a chair")],
    "verdicts": [verdict(3, "drop"), verdict(2, "flag")],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create_or_open(tmp_path_factory.mktemp("tables") / "cells")
    tables = shard_tables("s0", "first", texts=[])
    tables |= {name: table_of(name, rows) for name, rows in ROWS.items()}
    commit(store, entry_of(store.root, "s0", "first", tables))
    empty = shard_tables("s0", "second", texts=[])
    commit(store, entry_of(store.root, "s0", "second", empty))
    return store


@pytest.fixture(scope="module")
def found(store: Store) -> Stats:
    return stats_of(store, 1)


def test_texts_are_counted_by_level_and_their_words_by_kind(found: Stats) -> None:
    """`A black dog sits on a chair.`: dog (A, black, sits) and sits (dog, on, the stop) have three
    edges; in the others the noun has two (its article, the stop), and there is no verb."""
    brief = TextRow(
        level="brief",
        texts=3,
        tokens=pytest.approx((8 + 3 + 3) / 3),
        objects=pytest.approx((2 + 1 + 1) / 3),
        attributes=pytest.approx(1 / 3),
        actions=pytest.approx(1 / 3),
        proper_nouns=0,
        object_complexity=pytest.approx((3 + 2 + 2) / 3),
        action_complexity=pytest.approx(3 / 3),
    )
    nothing = dict.fromkeys(list(vars(brief))[2:])
    assert found.texts == (
        brief,
        TextRow("detailed", texts=0, **nothing),
        TextRow("more_detailed", texts=0, **nothing),
    )
    assert (found.images, found.per_image(found.texts[0])) == (2, 1.5)
    assert found.parser["name"] == "chunker"


def test_kept_regions_are_counted_by_what_says_them(found: Stats) -> None:
    """Phrases: three dogs and one without a name. Brief texts: one dense caption of four words, one
    description of four. Captions of people were not grounded, so two are left to divide by."""
    assert found.region_text == (
        RegionRow("phrase", regions=4, among=2, tokens=1),
        RegionRow("brief", regions=2, among=2, tokens=4),
    )
    assert found.triplets == (
        RegionRow("brief", regions=2, among=2, tokens=2.5),
        RegionRow("detailed", regions=0, among=0, tokens=None),
        RegionRow("more_detailed", regions=0, among=0, tokens=None),
    )
    assert [row.mean for row in found.triplets] == [1, None, None]


def test_boxes_are_counted_by_area_aspect_and_centre(found: Stats) -> None:
    """An inverted, an empty and an infinite box have no shape."""
    named, tied = found.shapes
    assert (named.type, named.boxes, tied.type, tied.boxes) == ("region-text", 3, "triplets", 2)
    # 1, 0.02 and 30 * 60 / 8100; every bin is 0.3 wide in decimal logarithms, from -6 to 0.
    assert counted(named.area) == {19: 1, 14: 1, 17: 1}
    # 2, 1 and 1/2; every bin is 0.5 wide in binary logarithms, from -5 to 5.
    assert counted(named.aspect) == {12: 1, 10: 1, 8: 1}
    assert np.argwhere(tied.centres).tolist() == [[16, 8], [16, 16]]
    assert (named.central, tied.central) == (pytest.approx(1 / 3), 0.5)
    assert named.aspect_skewness == pytest.approx(0, abs=1e-9)
    assert tied.unevenness == pytest.approx(np.log(BINS / 2))


def counted(bins: np.ndarray) -> dict[int, int]:
    return {int(number): int(bins[number]) for number in np.flatnonzero(bins)}


def test_an_even_spread_has_no_unevenness_and_no_box_has_none() -> None:
    even, none = (
        Shape("triplets", boxes, np.full(BINS, boxes), *[np.zeros(1, np.int64)] * 2, None, None)
        for boxes in (3, 0)
    )
    assert even.unevenness == pytest.approx(0)
    assert none.unevenness is None


def test_the_same_whatever_the_size_of_a_batch(
    store: Store, found: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats_module, "TEXTS_AT_ONCE", 1)
    again = stats_of(store, 1)
    assert again.texts == found.texts
    assert (again.region_text, again.triplets) == (found.region_text, found.triplets)


def test_each_figure_stands_beside_the_papers(store: Store) -> None:
    done = CliRunner().invoke(stats, [str(store.root), "--version", "1"], catch_exceptions=False)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("version 1, 2 images")
    assert "chunker" in lines[1]
    rows = [" ".join(line.split()) for line in lines]
    assert "per image 1.50 1.87 0.00 1.00 0.00 1.00" in rows
    assert "tokens 4.67 7.95 31.65 70.53" in rows
    assert "phrase 4 2.00 5.42 1.00 1.19" in rows
    assert "brief 2 1.00 4.27 2.50 1.93" in rows
    told = CliRunner().invoke(stats, [str(store.root), "--version", "1", "--json"]).stdout
    brief = json.loads(told)["texts"][0]
    assert (brief["per_image"], brief["fld_5b"]["object_complexity"]) == (1.5, 2.80)
    assert sum(json.loads(told)["shapes"][1]["area"]["boxes"]) == 2


def test_a_version_without_labels_has_no_figures(store: Store) -> None:
    nothing = stats_of(store)
    assert (nothing.version, nothing.images) == (2, 0)
    assert {row.mean for row in (*nothing.region_text, *nothing.triplets)} == {None}
    assert "centres, " not in render(nothing)
    json.dumps(nothing.to_json(), allow_nan=False)
