"""Labels of two versions, matched whatever their numbers."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from small_tables import commit, entry_of, shard_tables, small_entry

from annotator.store import Store
from annotator.store.diff_sql import within
from annotator.store.matching import match_best_first
from schemas.annotations import table_of

BOXES = {
    "same": (0, 0, 10, 10),
    "moved": (20, 0, 30, 10),
    "relabelled": (40, 0, 50, 10),
    "rescored": (60, 0, 70, 10),
    "nudged": (80, 0, 90, 10),
    "rejected": (0, 20, 10, 30),
    "restored": (20, 20, 30, 30),
    "never kept": (40, 20, 50, 30),
    "gone": (60, 20, 70, 30),
}


def regions(boxes, recipe, **changed):
    """One region per entry; its words are its name, its score 0.5, unless `changed` says so."""
    label = {"image_id": "s0/000", "source": "model", "shard": "s0", "recipe": recipe}
    rows = []
    for number, (name, box) in enumerate(boxes.items()):
        corners = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
        row = {**label, "label_no": number, "task": "od", "shape": "box", **corners}
        rows.append({**row, "category": name, "score": 0.5, **changed.get(name, {})})
    return table_of("regions", rows)


def verdicts(boxes, names, recipe):
    numbers = {name: number for number, name in enumerate(boxes)}
    row = {"image_id": "s0/000", "kind": "region", "source": "model", "shard": "s0"}
    return table_of(
        "verdicts",
        [{**row, "label_no": numbers[n], "verdict": "drop", "recipe": recipe} for n in names],
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two versions of one image in which something happens to each label, in another order."""
    store = Store.create_or_open(tmp_path_factory.mktemp("tables") / "cells")
    first = shard_tables("s0", "first", texts=["a dog"], boxes=[])
    first["regions"] = regions(BOXES, "first")
    first["verdicts"] = verdicts(BOXES, ["restored", "never kept"], "first")
    after = {name: BOXES[name] for name in reversed(BOXES) if name != "gone"}
    after |= {"moved": (20, 0, 30, 8), "new": (80, 20, 90, 30)}
    second = shard_tables("s0", "second", texts=["a red dog"], boxes=[])
    changed = {
        "relabelled": {"category": "another"},
        "rescored": {"score": 0.75},
        "nudged": {"score": 0.50001},
    }
    second["regions"] = regions(after, "second", **changed)
    second["verdicts"] = verdicts(after, ["rejected", "never kept"], "second")
    commit(
        store,
        entry_of(store.root, "s0", "first", first),
        *(small_entry(store.root, name) for name in ("s1", "s2")),
    )
    commit(
        store,
        entry_of(store.root, "s0", "second", second),
        small_entry(store.root, "s2", "second"),
    )
    return store


@pytest.fixture(scope="module")
def found(store):
    return store.diff(1, 2)


def test_each_label_is_found_whatever_its_number(found):
    rows = [row for row in found.rows.to_pylist() if row["kind"] == "region"]
    assert {row["category_before"] or row["category_after"]: row["change"] for row in rows} == {
        "moved": "changed",
        "relabelled": "changed",
        "rescored": "changed",
        "rejected": "rejected",
        "restored": "restored",
        "gone": "removed",
        "new": "added",
    }
    flags = {
        row["category_before"]: [f for f in ("moved", "relabelled", "rescored") if row[f]]
        for row in rows
        if row["change"] == "changed"
    }
    assert flags == {name: [name] for name in ("moved", "relabelled", "rescored")}


def test_a_row_says_what_was_and_what_is(found):
    [moved] = [row for row in found.rows.to_pylist() if row["moved"]]
    assert moved["iou"] == pytest.approx(0.8)
    assert (moved["y1_before"], moved["y1_after"]) == (10.0, 8.0)
    assert moved["label_id_before"] == "s0/000/model/region/1"
    assert moved["label_id_after"] == "s0/000/model/region/6"
    [relabelled] = [row for row in found.rows.to_pylist() if row["relabelled"]][:1]
    assert relabelled["kind"] in ("region", "text")


def test_counts_add_up(found):
    for row in found.counts:
        assert row.before == row.same + row.removed + row.rejected + row.changed
    regions = [row for row in found.counts if row.kind == "region"]
    assert sum(row.after - row.before for row in regions) == sum(
        row.added - row.removed - row.rejected + row.restored for row in regions
    )
    by_name = {row.category: row for row in regions}
    assert (by_name["same"].before, by_name["same"].after, by_name["same"].same) == (1, 1, 1)
    assert by_name["nudged"].same == 1
    assert "never kept" not in by_name
    assert (by_name["relabelled"].relabelled, by_name["another"].after) == (1, 1)
    # Two shards of six dogs each: one was not touched, one was made again with equal labels.
    assert (by_name["dog"].same, by_name["dog"].before) == (12, 12)


def test_a_caption_that_was_reworded_is_relabelled(found):
    [text] = [row for row in found.rows.to_pylist() if row["kind"] == "text"]
    assert (text["change"], text["relabelled"], text["iou"]) == ("changed", True, None)
    assert (text["words_before"], text["words_after"]) == ("a dog", "a red dog")
    [count] = [row for row in found.counts if row.kind == "text"]
    assert (count.category, count.before, count.same, count.relabelled) == ("brief", 5, 4, 1)


def test_the_other_way_round_is_the_mirror(store, found):
    back = store.diff(2, 1)
    names = {"added": "removed", "removed": "added", "rejected": "restored"}
    names |= {"restored": "rejected", "changed": "changed"}
    there = sorted(row["change"] for row in found.rows.to_pylist())
    assert sorted(names[row["change"]] for row in back.rows.to_pylist()) == there


def test_a_version_is_equal_to_itself(store):
    same = store.diff(2, 2)
    assert same.rows.num_rows == 0
    assert all(row.before == row.after == row.same for row in same.counts)


def test_how_far_a_box_may_move_is_for_the_reader_to_say(store):
    changes = [r["change"] for r in store.diff(1, 2, min_iou=0.9).rows.to_pylist()]
    assert (changes.count("added"), changes.count("removed")) == (2, 2)


def test_doubles_are_counted_one_by_one(tmp_path):
    store = Store.create_or_open(tmp_path / "cells")
    commit(store, small_entry(store.root, "s0", texts=["a dog"], boxes=[1, 1, 1]))
    commit(store, small_entry(store.root, "s0", "second", texts=["a dog"], boxes=[1]))
    [regions, _] = store.diff(1, 2).counts
    assert (regions.before, regions.same, regions.removed) == (3, 1, 2)


def test_a_verdict_that_now_means_another_label_is_seen(tmp_path):
    store = Store.create_or_open(tmp_path / "cells")
    commit(store, small_entry(store.root, "s0", texts=["a dog"], boxes=[1, 2], dropped=[0]))
    second = small_entry(store.root, "s0", "second", texts=["a dog"], boxes=[2, 1], dropped=[0])
    commit(store, second)
    changes = [(row["change"], row["x0_before"]) for row in store.diff(1, 2).rows.to_pylist()]
    assert sorted(changes) == [("rejected", 2.0), ("restored", 1.0)]


def test_where_only_verdicts_changed_labels_are_found_by_them(tmp_path):
    store = Store.create_or_open(tmp_path / "cells")
    first = small_entry(store.root, "s0", dropped=[0])
    second = small_entry(store.root, "s0", "second", dropped=[1])
    files = {**first.files, "verdicts": second.files["verdicts"]}
    commit(store, first, small_entry(store.root, "s1"))
    commit(store, replace(second, files=files))
    found = store.diff(1, 2)
    changes = [(row["change"], row["x0_before"]) for row in found.rows.to_pylist()]
    assert sorted(changes) == [("rejected", 1.0)] * 2 + [("restored", 0.0)] * 2
    [regions, _] = found.counts
    assert (regions.before, regions.after, regions.same) == (10, 10, 8)


def test_small_batches_find_the_same(store, found, monkeypatch):
    module = sys.modules["annotator.store.diff"]  # the package has a function of that name
    monkeypatch.setattr(module, "LABELS_AT_ONCE", 1)
    monkeypatch.setattr(module, "SUMMED_AT_ONCE", 1)
    again = store.diff(1, 2)
    assert again.counts == found.counts
    assert again.rows.equals(found.rows)


def test_a_range_of_shards_is_asked_for_as_one():
    known = ["s0", "s1", "s2", "s3"]
    assert within(["s1", "s2"], known) == "l.shard BETWEEN 's1' AND 's2'"
    assert (
        within(["s0", "s2"], known) == "l.shard BETWEEN 's0' AND 's2' AND l.shard IN ('s0', 's2')"
    )
    assert within([], known) == "false"


def test_phrases_are_matched_by_their_words_and_their_region(tmp_path):
    store = Store.create_or_open(tmp_path / "cells")

    def phrases(recipe, words, region_no):
        row = {"image_id": "s0/000", "source": "model", "label_no": 0, "shard": "s0"}
        row |= {"phrase": words, "char_start": 0, "char_end": 5, "recipe": recipe}
        row |= {"region_source": "model", "region_no": region_no}
        return table_of("phrases", [row])

    for recipe, words, region_no, boxes in (
        ("first", "a dog", 0, [1, 2]),
        ("second", "a dog", 1, [2, 1]),  # the same region under another number
        ("third", "a dog", 0, [4]),
        ("fourth", "a cat", 0, [4]),
    ):
        tables = shard_tables("s0", recipe, texts=["a dog"], boxes=boxes)
        tables["phrases"] = phrases(recipe, words, region_no)
        commit(store, entry_of(store.root, "s0", recipe, tables))

    def phrase(before, after):
        [row] = [row for row in store.diff(before, after).counts if row.kind == "phrase"]
        return row

    assert phrase(1, 2).same == 1
    assert (phrase(2, 3).same, phrase(2, 3).moved, phrase(2, 3).relabelled) == (0, 1, 0)
    assert (phrase(3, 4).moved, phrase(3, 4).relabelled) == (0, 1)


def test_matching_takes_the_best_pairs_first_and_each_row_once():
    before = np.array([0, 0, 1, 1, 2])
    after = np.array([0, 1, 0, 1, 1])
    likeness = np.array([0.9, 0.8, 0.95, 0.6, 0.7])
    # 1-0 is best; then 0-1; 2 finds its only partner taken.
    assert sorted(match_best_first(before, after, likeness).tolist()) == [1, 2]
    assert match_best_first(before[:0], after[:0], likeness[:0]).tolist() == []


def test_matching_agrees_with_taking_one_pair_at_a_time():
    random = np.random.default_rng(0)
    before, after = random.integers(0, 12, (2, 200))
    likeness = random.integers(0, 5, 200) / 4
    taken_before, taken_after, expected = set(), set(), []
    for pair in sorted(range(200), key=lambda pair: (-likeness[pair], pair)):
        if before[pair] not in taken_before and after[pair] not in taken_after:
            taken_before.add(before[pair])
            taken_after.add(after[pair])
            expected.append(pair)
    assert sorted(match_best_first(before, after, likeness).tolist()) == sorted(expected)
