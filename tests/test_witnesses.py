import numpy as np
import pyarrow as pa

from stages import witnesses
from stages.witnesses import Places, best_sighting


def places(rows):
    """(image, x1, noun): boxes of height 100 from x0 = 0."""
    images, ends, nouns = zip(*rows, strict=True)
    bins = np.array([[0, 0, end, 100] for end in ends], dtype=np.float64)
    return Places.of(pa.array(images), bins, pa.array(nouns, pa.string()))


def two(mine, theirs):
    """The places of two lists of rows."""
    every = places([*mine, *theirs])
    return every.rows(np.arange(len(mine))), every.rows(np.arange(len(mine), len(every.image)))


def test_the_best_fitting_witness_of_the_same_name_and_image_is_found():
    mine = [("a", 100, "dog"), ("b", 100, "dog"), ("a", 100, None), ("a", np.nan, "dog")]
    theirs = [
        *(("a", 80, "dog"), ("a", 90, "puppy"), ("a", 100, "cat"), ("b", 100, None)),
        *(("b", 60, "dog"), ("b", 60, "dog"), ("b", np.inf, "dog"), ("c", 100, "dog")),
    ]
    found = best_sighting(*two(mine, theirs))
    assert found.row.tolist() == [1, 4, -1, -1]
    assert found.iou.tolist() == [0.9, 0.6, 0, 0]


def test_without_names_the_best_fitting_witness_counts():
    mine, theirs = two([("a", 100, None), ("b", 100, "dog")], [("a", 70, "cat"), ("a", 80, None)])
    found = best_sighting(mine, theirs, named=False)
    assert found.row.tolist() == [1, -1]
    assert found.iou.tolist() == [0.8, 0]


def test_two_narrower_words_of_one_kind_are_two_things():
    mine, theirs = two([("a", 100, "man"), ("a", 100, "person")], [("a", 100, "woman")])
    assert best_sighting(mine, theirs).row.tolist() == [-1, 0]
    assert mine.known_to(theirs).tolist() == [False, True]


def test_nobody_knows_a_thing_without_a_name():
    mine, theirs = two([("a", 100, None), ("a", 100, "dog")], [("a", 100, None)])
    assert mine.known_to(theirs).tolist() == [False, False]
    assert best_sighting(mine, theirs).row.tolist() == [-1, -1]


def test_many_pairs_are_looked_at_in_parts(monkeypatch):
    random = np.random.default_rng(0)
    rows = [
        (str(image), int(end), noun)
        for image, end, noun in zip(
            random.integers(0, 5, 200),
            random.integers(1, 300, 200),
            random.choice(["dog", "cat", "puppy"], 200),
            strict=True,
        )
    ]
    mine, theirs = two(rows[:90], rows[90:])
    whole = best_sighting(mine, theirs)
    monkeypatch.setattr(witnesses, "_MOST_PAIRS", 7)
    parts = best_sighting(mine, theirs)
    assert parts.row.tolist() == whole.row.tolist()
    assert (parts.iou == whole.iou).all()
    assert (whole.row >= 0).sum() > 50
