import pytest
from label_rows import annotations, details, region, rejection, said

from stages.find_consensus import FindConsensus

GOLD, ALONE = "find_consensus.r13_gold_pseudo", "find_consensus.r13_alone"


def seen(*others, box=(0, 0, 100, 100), **rows):
    """The model's dog, and what other sources show; each region is the first of its source."""
    return annotations(**{"regions": [region(*box), *others], **rows})


def other(width=100, **columns):
    return region(0, 0, width, 100, **{"source": "detector", **columns})


@pytest.mark.parametrize(
    ("others", "votes"),
    [
        pytest.param([other(51)], 2, id="just inside"),
        pytest.param([other(50)], 2, id="on the limit"),
        pytest.param([other(49)], None, id="just outside"),
        pytest.param([other(text="two dogs")], 2, id="in the plural"),
        pytest.param([other(text="puppy")], 2, id="a kind of it"),
        pytest.param([other(text="cat")], None, id="another thing"),
        pytest.param([other(category="dog", text=None)], 2, id="a category"),
        pytest.param([other(source="model", label_no=1)], None, id="the same source twice"),
        pytest.param([other(source="human")], None, id="a person is no opinion"),
        pytest.param([other(), other(source="tagger")], 3, id="three sources"),
        pytest.param([other(), other(label_no=1)], 2, id="two regions of one source"),
        pytest.param([], None, id="alone"),
    ],
)
def test_what_independent_sources_agree_on_is_gold(others, votes):
    found = [row for row in said(FindConsensus(), seen(*others)) if row[0] == 0][:1]
    assert found == ([(0, GOLD, "flag", votes, 2)] if votes else [])


def test_the_sources_that_agree_are_named():
    judged = seen(other(), other(source="tagger", label_no=4))
    assert ("model", 0, GOLD, "detector/region/0, tagger/region/4") in details(
        FindConsensus().judge(judged)
    )


@pytest.mark.parametrize("min_sources", [2, 3, 4])
def test_three_sources_are_enough_for_three(min_sources):
    judged = seen(other(), other(source="tagger"))
    found = said(FindConsensus(min_sources=min_sources), judged)
    assert found == ([(0, GOLD, "flag", 3, min_sources)] * 3 if min_sources < 4 else [])


@pytest.mark.parametrize(
    ("others", "labels"),
    [
        pytest.param([other()], [], id="seen by both"),
        pytest.param([other(49)], [0, 0], id="each sees it elsewhere"),
        pytest.param([other(text="cat")], [], id="neither names what the other does"),
        pytest.param([], [], id="there is no other source"),
    ],
)
def test_what_one_source_alone_shows_is_quarantined_where_asked(others, labels):
    found = said(FindConsensus(reject_alone=True), seen(*others))
    alone = [row for row in found if row[1] == ALONE]
    assert alone == [(number, ALONE, "quarantine", 1, 2) for number in labels]


def test_a_region_that_is_not_kept_does_not_vote():
    judged = seen(other(), verdicts=[rejection("region", 0, source="detector")])
    assert said(FindConsensus(), judged) == []


def test_sources_agree_within_one_image():
    judged = seen(other(image_id="s/b"))
    assert said(FindConsensus(), judged) == []


def test_the_recipe_names_the_parser():
    assert FindConsensus().identity({})["parser"]["name"] == "chunker"
