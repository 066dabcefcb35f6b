import pytest
from label_rows import IMAGE, annotations, details, region, rejection, said, text
from pydantic import ValidationError

from stages.check_tasks import CheckTasks

NO_RULES = {
    "min_iou": None,
    "reject_unseen": False,
    "category": False,
    "max_unsupported": None,
    "support": False,
    "levels": False,
    "max_parroted": None,
    "min_quoted": None,
}
IMAGES = [IMAGE, IMAGE | {"image_id": "s/b", "key": "b"}]


def only(**rules):
    return CheckTasks(**{**NO_RULES, **rules})


def seen(*regions, **rows):
    """Regions numbered in their order."""
    numbered = [row | {"label_no": i} for i, row in enumerate(regions)]
    return annotations(**{"regions": numbered, "images": IMAGES, **rows})


def dense(width, words="a brown dog", **columns):
    return region(0, 0, width, 100, task="dense_region_caption", text=words, **columns)


DOG = region(0, 0, 100, 100)


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        pytest.param(dense(51), None, id="just inside"),
        pytest.param(dense(50), None, id="on the limit"),
        pytest.param(dense(49), 0.49, id="just outside"),
        pytest.param(dense(100, "a puppy"), None, id="a kind of it"),
        pytest.param(dense(100, image_id="s/b"), 0, id="in another image"),
    ],
)
def test_an_object_and_a_dense_caption_bear_each_other_out(other, iou):
    found = said(only(min_iou=0.5), seen(DOG, other))
    rules = ("x1_dense", "x1_object")
    assert found == (
        [(i, f"check_tasks.{rule}", "flag", iou, 0.5) for i, rule in enumerate(rules)]
        if iou is not None
        else []
    )


@pytest.mark.parametrize(
    ("task", "rule"),
    [
        pytest.param("caption_to_phrase_grounding", "x2_object", id="a grounded phrase"),
        pytest.param("dense_region_caption", "x1_object", id="a dense caption"),
    ],
)
@pytest.mark.parametrize(
    ("width", "found"),
    [(51, []), (50, []), (49, [(0.49, 0.5)])],
    ids=["just inside", "on the limit", "just outside"],
)
def test_what_no_object_bears_out_is_flagged(task, rule, width, found):
    judged = seen(region(0, 0, width, 100, task=task), DOG, dense(100, image_id="s/b"), dense(100))
    verdicts = [row for row in said(only(min_iou=0.5), judged) if row[0] == 0]
    assert verdicts == [(0, f"check_tasks.{rule}", "flag", *rest) for rest in found]


@pytest.mark.parametrize("task", ["od", "dense_region_caption", "caption_to_phrase_grounding"])
@pytest.mark.parametrize(
    ("width", "found"),
    [(51, []), (50, []), (49, [(0.49, 0.5)])],
    ids=["just inside", "on the limit", "just outside"],
)
def test_a_place_that_no_proposal_covers_is_flagged(task, width, found):
    proposal = region(0, 0, 100, 100, task="region_proposal", text=None)
    judged = seen(region(0, 0, width, 100, task=task), proposal)
    expected = [(0, "check_tasks.x3_proposal", "flag", *rest) for rest in found]
    assert said(only(min_iou=0.5), judged) == expected


def grounded(width, **columns):
    return region(0, 0, width, 100, task="caption_to_phrase_grounding", **columns)


FAR = region(800, 800, 900, 900)


@pytest.mark.parametrize(
    ("others", "iou"),
    [
        pytest.param([dense(51)], None, id="just inside"),
        pytest.param([dense(50)], None, id="on the limit"),
        pytest.param([dense(49)], 0.49, id="just outside"),
        pytest.param([dense(49), grounded(50)], None, id="a grounded phrase shows it"),
        pytest.param([dense(48), grounded(49)], 0.49, id="it does not"),
        pytest.param([grounded(49)], None, id="no other task lists what it sees"),
        pytest.param([dense(100, "a cat"), grounded(49)], None, id="it never says dog"),
        pytest.param([dense(100, "a cat"), dense(49, image_id="s/b")], 0, id="it says cat here"),
    ],
)
def test_an_object_that_nothing_else_shows_is_quarantined(others, iou):
    found = said(only(min_iou=0.5, reject_unseen=True), seen(DOG, *others))
    expected = [(0, "check_tasks.x1_unseen", "quarantine", iou, 0.5)] if iou is not None else []
    assert [row for row in found if row[0] == 0 and row[2] == "quarantine"] == expected


@pytest.mark.parametrize(
    ("others", "iou"),
    [
        pytest.param([region(0, 0, 51, 100)], None, id="just inside"),
        pytest.param([region(0, 0, 50, 100)], None, id="on the limit"),
        pytest.param([region(0, 0, 49, 100)], 0.49, id="just outside"),
        pytest.param([FAR, grounded(50)], None, id="a grounded phrase shows it"),
        pytest.param([FAR], 0, id="seen elsewhere"),
    ],
)
def test_a_dense_caption_that_nothing_else_shows_is_quarantined(others, iou):
    found = said(only(min_iou=0.5, reject_unseen=True), seen(dense(100), *others))
    expected = [(0, "check_tasks.x1_unseen", "quarantine", iou, 0.5)] if iou is not None else []
    assert [row for row in found if row[0] == 0 and row[2] == "quarantine"] == expected


@pytest.mark.parametrize(
    ("regions", "rows"),
    [
        pytest.param([DOG, DOG], {}, id="only one task was asked"),
        pytest.param([DOG, dense(100, "a cat")], {}, id="names that the other task never says"),
        pytest.param(
            [DOG, dense(9)], {"verdicts": [rejection("region", 1)]}, id="the other is not kept"
        ),
        pytest.param([region(0, 0, 100, 100, text=None), dense(100, None)], {}, id="no names"),
    ],
)
def test_where_nothing_can_bear_it_out_nothing_is_said(regions, rows):
    assert said(only(min_iou=0.5), seen(*regions, **rows)) == []


@pytest.mark.parametrize(
    ("category", "found"),
    [
        pytest.param("dog", [], id="the same"),
        pytest.param("Dogs", [], id="in the plural"),
        pytest.param("puppy", [], id="a kind of it"),
        pytest.param("cat", [("cat", 0, 1)], id="another"),
        pytest.param("very", [], id="no noun"),
        pytest.param(None, [], id="nothing"),
    ],
)
def test_a_region_whose_place_has_another_category_is_flagged(category, found):
    answer = region(
        0, 0, 100, 100, task="region_to_category", category=category, text=None, parent=DOG_ID
    )
    verdicts = only(category=True).judge(seen(DOG, DOG, answer)).to_pylist()
    told = [(row["label_no"], row["detail"], row["value"], row["threshold"]) for row in verdicts]
    assert told == [(1, *rest) for rest in found]
    assert {row["filter"] for row in verdicts} <= {"check_tasks.r10_category"}


DOG_ID = "model/region/1"


def test_the_category_of_a_place_in_another_image_says_nothing():
    answer = region(
        *(0, 0, 100, 100), task="region_to_category", category="cat", parent=DOG_ID, image_id="s/b"
    )
    assert said(only(category=True), seen(DOG, DOG, answer)) == []


@pytest.mark.parametrize(
    ("search", "found"),
    [
        pytest.param(region(0, 0, 51, 100), [], id="just inside"),
        pytest.param(region(0, 0, 50, 100), [], id="on the limit"),
        pytest.param(region(0, 0, 49, 100), [(0.49, 0.5)], id="just outside"),
        pytest.param(FAR, [(0, 0.5)], id="elsewhere"),
        pytest.param(region(0, 0, 9, 9, text="cat"), [], id="not looked for"),
        pytest.param(FAR | {"image_id": "s/b"}, [], id="looked for in another image"),
    ],
)
def test_a_category_that_leads_to_another_place_is_flagged(search, found):
    answer = region(0, 0, 100, 100, task="region_to_category", category="dog", parent=DOG_ID)
    judged = seen(CAT, DOG, answer, search | {"task": "open_vocabulary_detection"})
    expected = [(1, "check_tasks.x4_round_trip", "flag", *rest) for rest in found]
    verdicts = said(only(category=True, min_iou=0.5), judged)
    assert [row for row in verdicts if row[1] == "check_tasks.x4_round_trip"] == expected
    assert said(only(category=True), judged) == []


CAT = region(800, 800, 900, 900, category="cat", image_id="s/b")


@pytest.mark.parametrize(
    ("caption", "share", "missing"),
    [
        pytest.param("a dog", 0, None, id="shown"),
        pytest.param("a dog and a cat", 0.5, "cat", id="one of two is not"),
        pytest.param("a cat, a cat and a dog", 0.6667, "cat", id="named twice"),
        pytest.param("a cat", 1, "cat", id="none is"),
        pytest.param("a dog on a mat", 0, None, id="no region ever says mat"),
        pytest.param("the mood in the street", 0, None, id="no things"),
    ],
)
def test_a_caption_that_names_what_no_region_shows_is_flagged(caption, share, missing):
    judged = seen(DOG, CAT, texts=[text(caption)])
    found = [(0, "check_tasks.x9_support", "flag", share, 0)] if missing else []
    assert said(only(support=True), judged) == found
    assert [row[3] for row in details(only(support=True).judge(judged))] == [missing] * len(found)


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        pytest.param(0.51, [], id="just inside"),
        pytest.param(0.5, [], id="on the limit"),
        pytest.param(0.49, [(0.5, 0.49)], id="just outside"),
    ],
)
@pytest.mark.parametrize("level", ["brief", "detailed", "more_detailed"])
def test_a_caption_that_names_too_much_that_no_region_shows_is_quarantined(level, limit, found):
    judged = seen(DOG, CAT, texts=[text("a dog and a cat", level=level)])
    expected = [(0, "check_tasks.t10_support", "quarantine", *rest) for rest in found]
    assert said(only(max_unsupported={level: limit}), judged) == expected
    others = {"brief", "detailed", "more_detailed"} - {level}
    assert said(only(max_unsupported=dict.fromkeys(others, 0.1)), judged) == []


@pytest.mark.parametrize(
    ("longer", "found"),
    [
        pytest.param([text("two dogs and a cat", level="detailed")], None, id="named again"),
        pytest.param([text("a puppy sees a cat", level="detailed")], None, id="by a kind of it"),
        pytest.param([text("a dog", level="detailed")], (1, "cat"), id="one is left out"),
        pytest.param([text("a hen", level="more_detailed")], (2, "dog, cat"), id="both are"),
        pytest.param(
            [text("a dog", level="detailed"), text("a cat", level="more_detailed")], None, id="each"
        ),
        pytest.param([], None, id="no longer caption"),
        pytest.param([text("a hen", level="detailed", source="human")], None, id="another source"),
        pytest.param([text("a hen", level="ocr")], None, id="no caption"),
    ],
)
def test_what_a_brief_caption_names_longer_ones_name_too(longer, found):
    rows = [text("a dog and a cat"), *(row | {"label_no": i} for i, row in enumerate(longer, 1))]
    verdicts = only(levels=True).judge(seen(texts=rows)).to_pylist()
    told = [tuple(row[name] for name in TOLD) for row in verdicts]
    assert told == ([(0, "check_tasks.x6_levels", "flag", found[0], 0, found[1])] if found else [])


TOLD = ("label_no", "filter", "verdict", "value", "threshold", "detail")


def read(caption, *words):
    """A caption, and what was read in its image as lines of text."""
    lines = [region(0, 0, 90, 90, task="ocr_with_region", shape="quad", text=w) for w in words]
    other = text("NOTHING", label_no=1, level="ocr", image_id="s/b")
    return seen(*lines, texts=[text(caption), other])


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        pytest.param(0.76, [], id="just inside"),
        pytest.param(0.75, [], id="on the limit"),
        pytest.param(0.74, [(0.75, 0.74)], id="just outside"),
    ],
)
def test_a_caption_that_transcribes_the_image_is_flagged(limit, found):
    judged = read("FRESH milk, a lemon and tea.", "fresh LEMONS", "Milk!")
    expected = [(0, "check_tasks.t8_parrot", "flag", *rest) for rest in found]
    assert said(only(max_parroted=limit), judged) == expected


@pytest.mark.parametrize("words", [[], ["A", "AND"]], ids=["no text", "function words"])
def test_a_caption_that_says_more_than_the_image_does_not_transcribe(words):
    assert said(only(max_parroted=0), read("a lemon and milk", *words)) == []


@pytest.mark.parametrize(
    ("caption", "words", "found"),
    [
        pytest.param('a sign "STOPS"', ["STOPS"], None, id="letter by letter"),
        pytest.param('a sign "stops!"', ["no", "Stops now"], None, id="among other words"),
        pytest.param("a sign “STOPS”", ["STOPX"], None, id="on the limit"),
        pytest.param('a sign "STOPS NOW"', ["STOPX NO"], (0.7778, "STOPS NOW"), id="just outside"),
        pytest.param('a sign "STOP IT NOW"', ["STOPIT NOW"], None, id="just inside"),
        pytest.param("the word STOPS", ["GO"], (0.2, "STOPS"), id="a word by its capitals"),
        pytest.param("a sign that reads EXIT ONLY.", [], (0, "EXIT ONLY"), id="nothing was read"),
        pytest.param('"STOP" and "GO"', ["STOP"], (0.5, "GO"), id="the worst of two"),
        pytest.param('a sign of 5" and more', ["x"], None, id="a mark without its pair"),
        pytest.param('an empty ""', ["x"], None, id="nothing between the marks"),
    ],
)
def test_what_a_caption_quotes_stands_in_the_image(caption, words, found):
    verdicts = only(min_quoted=0.8).judge(read(caption, *words)).to_pylist()
    told = [tuple(row[name] for name in TOLD) for row in verdicts]
    assert [(*row[:3], round(row[3], 4), *row[4:]) for row in told] == (
        [(0, "check_tasks.x5_quotation", "flag", found[0], 0.8, found[1])] if found else []
    )


def test_where_no_text_was_asked_for_no_quotation_is_wrong():
    assert said(only(min_quoted=0.8), seen(texts=[text('a sign "STOP"')])) == []


def test_a_limit_of_an_unknown_level_is_refused():
    with pytest.raises(ValidationError, match=r"max_unsupported.short"):
        CheckTasks(max_unsupported={"short": 0.5})


def test_the_recipe_names_the_parser():
    assert CheckTasks().identity({})["parser"]["name"] == "chunker"
