import pytest
from label_rows import IMAGE, phrase, region, rejection, said, text
from phrase_rules import TOLD, of_phrases, only, tied


def witnessed(*witnesses, words="a dog", **rows):
    """A phrase in a box of 100 by 100, and what other tasks saw in the image."""
    shown = region(0, 0, 100, 100, task="caption_to_phrase_grounding", text=words)
    others = [witness | {"label_no": i} for i, witness in enumerate(witnesses, 1)]
    return tied(
        phrase(words, char_end=len(words)),
        **{"texts": [text(words)], "regions": [shown, *others], **rows},
    )


def elsewhere(**columns):
    """Far from any phrase: it only makes a name known."""
    return region(800, 800, 900, 900, **columns)


@pytest.mark.parametrize(
    ("witnesses", "found"),
    [
        pytest.param([region(0, 0, 51, 100)], [], id="just inside"),
        pytest.param([region(0, 0, 50, 100)], [], id="on the limit"),
        pytest.param([region(0, 0, 49, 100)], [(0.49, "model/region/1: dog")], id="just outside"),
        pytest.param([elsewhere()], [(0, None)], id="seen only elsewhere"),
        pytest.param(
            [region(0, 0, 100, 99, text="cat"), elsewhere()],
            [(0, "model/region/1: cat")],
            id="another thing in its place",
        ),
        pytest.param([region(0, 0, 100, 99, text="cat")], [], id="nobody ever says dog"),
        pytest.param([region(0, 0, 90, 90, text="two brown dogs")], [], id="in the plural"),
        pytest.param(
            [region(0, 0, 90, 90, task="dense_region_caption", text="a puppy")], [], id="narrower"
        ),
        pytest.param(
            [region(0, 0, 90, 90, task="open_vocabulary_detection"), elsewhere()],
            [(0, None)],
            id="a task that was asked for it is no witness",
        ),
        pytest.param([], [], id="no witness"),
    ],
)
def test_a_phrase_whose_thing_no_other_task_sees_is_quarantined(witnesses, found):
    verdicts = only(witnesses=("od", "dense_region_caption")).judge(witnessed(*witnesses))
    told = [tuple(r[name] for name in TOLD) for r in verdicts.to_pylist() if r["kind"] == "phrase"]
    assert told == [
        ("filter_phrases.g7_existence", "quarantine", iou, 0.5, seen) for iou, seen in found
    ]


def test_a_witness_that_is_not_kept_saw_nothing():
    judged = witnessed(region(0, 0, 90, 90), elsewhere(), verdicts=[rejection("region", 1)])
    assert of_phrases(said(only(witnesses=("od",)), judged)) == [
        (0, "filter_phrases.g7_existence", "quarantine", 0, 0.5)
    ]


def test_a_witness_in_another_image_saw_another_thing():
    images = [IMAGE, IMAGE | {"image_id": "s/b", "key": "b"}]
    judged = witnessed(region(0, 0, 90, 90, image_id="s/b"), images=images)
    assert of_phrases(said(only(witnesses=("od",)), judged)) == [
        (0, "filter_phrases.g7_existence", "quarantine", 0, 0.5)
    ]


@pytest.mark.parametrize(
    ("words", "seen", "found"),
    [
        pytest.param("a small red dog", "a red dog, small", [], id="all of them"),
        pytest.param("a small red dog", "a red dog", [(1, "a red dog")], id="one is missing"),
        pytest.param("a small red dog", "a big blue dog", [(2, "a big blue dog")], id="both are"),
        pytest.param("a small red dog", "a dog", [], id="nothing is said of its looks"),
        pytest.param("a small red dog", None, [], id="nothing is said"),
        pytest.param("two dogs", "a red dog", [], id="a number is none of its looks"),
        pytest.param("a dog", "a red dog", [], id="nothing was claimed"),
    ],
)
@pytest.mark.parametrize("by", ["its own description", "a witness in its place"])
def test_a_phrase_that_looks_otherwise_is_flagged(words, seen, found, by):
    own = text(seen, label_no=1, level="description", parent="model/region/0")
    judged = (
        witnessed(words=words, texts=[text(words), own])
        if by == "its own description"
        else witnessed(region(0, 0, 50, 100, text=seen), words=words)
    )
    verdicts = only(attributes=True, witnesses=("od",)).judge(judged).to_pylist()
    told = [tuple(row[name] for name in TOLD) for row in verdicts if row["kind"] == "phrase"]
    looks = [row for row in told if row[0] == "filter_phrases.g11_attributes"]
    assert looks == [("filter_phrases.g11_attributes", "flag", n, 0, say) for n, say in found]


def test_its_own_description_counts_more_than_a_witness():
    own = text("a red dog", label_no=1, level="description", parent="model/region/0")
    other = region(0, 0, 100, 100, text="a blue dog")
    judged = witnessed(other, words="a red dog", texts=[text("a red dog"), own])
    assert said(only(attributes=True, witnesses=("od",)), judged) == []
