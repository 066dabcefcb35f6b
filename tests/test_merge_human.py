import pytest
from label_rows import IMAGE, annotations, details, region, rejection, said

from stages.merge_human import MergeHuman


def human(x0, y0, x1, y1, **columns):
    return region(x0, y0, x1, y1, source="human", **columns)


def against(person, *models, **rows):
    return annotations(regions=[person, *models], **rows)


@pytest.mark.parametrize(
    ("width", "found"),
    [
        pytest.param(49.9, [], id="just below"),
        pytest.param(50, [(0, "merge_human.superseded", "drop", 0.5, 0.5)], id="on the limit"),
        pytest.param(51, [(0, "merge_human.superseded", "drop", 0.51, 0.5)], id="just above"),
    ],
)
def test_the_human_label_replaces_the_same_label_of_the_model(width, found):
    judged = against(human(0, 0, 100, 100), region(0, 0, width, 100))
    assert said(MergeHuman(), judged) == found
    assert [row[3] for row in details(MergeHuman().judge(judged))] == ["human/region/0"] * len(
        found
    )


@pytest.mark.parametrize(
    ("side", "width", "found"),
    [
        pytest.param(41.9, 0.3, [(0.3, 0.3)], id="small, on the limit"),
        pytest.param(41.9, 0.29, [], id="small, just below"),
        pytest.param(42, 0.3, [], id="not small: asked for more"),
    ],
)
def test_small_boxes_may_overlap_less(side, width, found):
    judged = against(human(0, 0, 1000, side), region(0, 0, 1000 * width, side))
    expected = [(0, "merge_human.superseded", "drop", *rest) for rest in found]
    assert said(MergeHuman(), judged) == expected


@pytest.mark.parametrize(
    ("person", "model", "rule"),
    [
        pytest.param({"text": "dog"}, {"text": "The Dogs"}, "superseded", id="plural and case"),
        pytest.param(
            {"category": "RBC"}, {"text": "rbc"}, "superseded", id="a category is a label"
        ),
        pytest.param({"text": "dog"}, {"text": "cat"}, "overruled", id="another thing"),
    ],
)
def test_labels_agree_or_the_model_is_overruled(person, model, rule):
    judged = against(human(0, 0, 90, 90, **person), region(0, 0, 90, 90, **model))
    assert said(MergeHuman(), judged) == [(0, f"merge_human.{rule}", "drop", 1, 0.5)]


def test_a_match_that_agrees_goes_before_a_closer_one():
    judged = against(
        human(0, 0, 100, 100),
        region(0, 0, 100, 100, text="cat", label_no=0),
        region(0, 0, 80, 100, label_no=1),
    )
    assert said(MergeHuman(), judged) == [(1, "merge_human.superseded", "drop", 0.8, 0.5)]


def test_each_human_label_takes_one_label_and_the_best_sum_wins():
    judged = against(
        human(0, 0, 100, 100, label_no=0),
        human(30, 0, 130, 100, label_no=1),
        region(10, 0, 110, 100, label_no=0),
        region(0, 0, 100, 60, label_no=1),
        region(500, 500, 600, 600, label_no=2),
    )
    assert details(MergeHuman().judge(judged)) == [
        ("model", 1, "merge_human.superseded", "human/region/0"),
        ("model", 0, "merge_human.superseded", "human/region/1"),
    ]


@pytest.mark.parametrize(
    ("person", "model"),
    [
        pytest.param({}, {"task": "dense_region_caption"}, id="a task that does not compete"),
        pytest.param({"crowd": True}, {}, id="a crowd is no single thing"),
        pytest.param({"x1": 0.0}, {}, id="a broken human box"),
        pytest.param({}, {"y1": float("nan")}, id="a broken model box"),
        pytest.param({}, {"image_id": "s/b"}, id="another image"),
    ],
)
def test_what_does_not_compete_stays(person, model):
    judged = against(
        human(0, 0, 90, 90) | person,
        region(0, 0, 90, 90) | model,
        images=[IMAGE, {**IMAGE, "image_id": "s/b"}],
    )
    assert said(MergeHuman(), judged) == []


def test_a_label_that_is_rejected_already_does_not_compete():
    judged = against(
        human(0, 0, 100, 100),
        region(0, 0, 100, 100, label_no=0),
        region(0, 0, 90, 100, label_no=1),
        verdicts=[rejection("region", 0)],
    )
    assert said(MergeHuman(), judged) == [(1, "merge_human.superseded", "drop", 0.9, 0.5)]


def test_every_source_competes_with_people_by_itself():
    boxes = [region(0, 0, 90, 90, source=source) for source in ("model", "opinion")]
    assert details(MergeHuman().judge(against(human(0, 0, 90, 90), *boxes))) == [
        ("model", 0, "merge_human.superseded", "human/region/0"),
        ("opinion", 0, "merge_human.superseded", "human/region/0"),
    ]


def test_images_are_matched_one_by_one():
    rows = [
        row | {"image_id": image}
        for image in ("s/a", "s/b", "s/c")
        for row in (human(0, 0, 90, 90), region(0, 0, 90, 90))
    ]
    images = [{**IMAGE, "image_id": image} for image in ("s/c", "s/b", "s/a")]
    found = MergeHuman().judge(annotations(images=images, regions=rows[1:]))
    assert found["image_id"].to_pylist() == ["s/b", "s/c"]
