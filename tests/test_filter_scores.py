import pytest
from label_rows import annotations, phrase, region, said, text
from pydantic import ValidationError

from stages.filter_scores import FilterScores


def scored(**columns):
    return annotations(
        texts=[text(**{"score": 0.9, **columns})],
        regions=[region(0, 0, 9, 9, **{"score": 0.9, **columns})],
        phrases=[phrase(**{"score": 0.9, **columns})],
    )


@pytest.mark.parametrize(
    ("score", "verdicts"),
    [
        pytest.param(0.71, 0, id="just above"),
        pytest.param(0.7, 0, id="on the limit, which float32 writes as 0.69999999"),
        pytest.param(0.69, 3, id="just below"),
        pytest.param(0.0, 3, id="zero"),
    ],
)
def test_every_kind_of_label_below_the_threshold_is_quarantined(score, verdicts):
    found = said(FilterScores(min_score=0.7), scored(score=score))
    expected = (0, "filter_scores.r7_score", "quarantine", score, 0.7)
    assert found == [expected] * verdicts


@pytest.mark.parametrize("score", [None, float("nan")])
def test_a_label_without_a_score_is_flagged(score):
    found = said(FilterScores(min_score=0.5), scored(score=score))
    assert found == [(0, "filter_scores.r7_unscored", "flag", None, 0.5)] * 3


def test_a_human_label_without_a_score_is_no_remark_worth():
    assert said(FilterScores(min_score=0.5), scored(score=None, source="human")) == []


def test_a_threshold_per_task_leaves_other_tasks_alone():
    rows = [
        region(0, 0, 9, 9, score=0.5, task=task, label_no=i)
        for i, task in enumerate(("od", "dense_region_caption", "region_proposal", None))
    ]
    rules = FilterScores(min_score={"od": 0.6, "dense_region_caption": 0.4})
    found = said(rules, annotations(regions=rows))
    assert found == [(0, "filter_scores.r7_score", "quarantine", 0.5, 0.6)]


def test_phrases_are_judged_under_the_task_that_grounds_them():
    rules = FilterScores(min_score={"caption_to_phrase_grounding": 0.6})
    found = said(rules, annotations(phrases=[phrase(score=0.5)]))
    assert found == [(0, "filter_scores.r7_score", "quarantine", 0.5, 0.6)]


@pytest.mark.parametrize(
    ("column", "kinds"), [pytest.param("label_score", 2), pytest.param("location_score", 1)]
)
def test_words_and_places_have_thresholds_of_their_own(column, kinds):
    rows = annotations(
        texts=[text()],
        regions=[region(0, 0, 9, 9, label_score=0.25, location_score=0.25)],
        phrases=[phrase(label_score=0.25)],
    )
    rules = FilterScores(**{f"min_{column}": 0.5})
    expected = (0, f"filter_scores.r7_{column}", "quarantine", 0.25, 0.5)
    assert said(rules, rows) == [expected] * kinds
    assert said(FilterScores(**{f"min_{column}": 0.25}), rows) == []


def test_without_thresholds_nothing_is_said():
    assert said(FilterScores(), scored(score=None)) == []


@pytest.mark.parametrize("threshold", [1.5, -0.1, {"od": 2}])
def test_a_threshold_is_between_zero_and_one(threshold):
    with pytest.raises(ValidationError, match="min_score"):
        FilterScores(min_score=threshold)


@pytest.mark.parametrize(
    ("spread", "found"),
    [
        pytest.param(0.02, [], id="tight, on the limit"),
        pytest.param(0.021, [("r8_loose", 0.021, 0.02)], id="loose"),
        pytest.param(0.05, [("r8_loose", 0.05, 0.02)], id="usable, on the limit"),
        pytest.param(0.051, [("r8_class_only", 0.051, 0.05)], id="class only"),
        pytest.param(None, [], id="unknown"),
    ],
)
def test_a_place_that_the_model_is_unsure_of_is_flagged(spread, found):
    rows = annotations(regions=[region(0, 0, 9, 9, location_spread=spread)])
    expected = [(0, f"filter_scores.{rule}", "flag", *rest) for rule, *rest in found]
    assert said(FilterScores(tight_spread=0.02, usable_spread=0.05), rows) == expected
    assert said(FilterScores(), rows) == []


def test_the_least_sure_share_of_each_task_is_quarantined():
    def rows(task, scores):
        return [
            region(0, 0, 9, 9, task=task, score=score, label_no=i) for i, score in enumerate(scores)
        ]

    tenths = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    od = annotations(regions=rows("od", tenths))
    dense = annotations(regions=rows("dense_region_caption", [0.05, 0.06]))
    rules = FilterScores(lowest_share=0.1)
    assert said(rules, od) == []
    settled = rules.settled([rules.measure(od), rules.measure(dense)])
    limit = settled.r7_limits["model/od"]
    assert 0.1 < limit <= 0.2
    assert said(settled, od) == [(0, "filter_scores.r7_lowest", "quarantine", 0.1, limit)]
    assert said(settled, dense) == []


def of_class(category, count, **columns):
    """As many regions of a category, with scores from 1 / count to 1."""
    return [
        region(0, 0, 9, 9, category=category, score=i / count, label_no=i, **columns)
        for i in range(1, count + 1)
    ]


@pytest.mark.parametrize(
    ("count", "judged"),
    [
        pytest.param(9, False, id="just too few"),
        pytest.param(10, True, id="on the limit"),
        pytest.param(11, True, id="just enough"),
    ],
)
def test_a_category_of_few_scores_is_not_judged(count, judged):
    rules = FilterScores(lowest_class_share=0.2, min_class_scores=10)
    settled = rules.settled([rules.measure(annotations(regions=of_class("dog", count)))])
    assert ("model/od/dog" in settled.r14_limits) == judged


def test_each_category_gives_up_the_same_share():
    rules = FilterScores(lowest_class_share=0.2, min_class_scores=10)
    rare = of_class("Dogs", 10)
    frequent = [row | {"score": row["score"] / 2} for row in of_class("cat", 20)]
    left_alone = [
        region(0, 0, 9, 9, score=0.001, text="a red dog", label_no=30),
        region(0, 0, 9, 9, score=0.001, category="dog", source="human", label_no=31),
        region(0, 0, 9, 9, score=0.001, category="hen", label_no=32),
        region(0, 0, 9, 9, category="dog", label_no=33),
    ]
    shards = [annotations(regions=rows) for rows in (rare, [*frequent[:7]], frequent[7:])]
    settled = rules.settled([rules.measure(shard) for shard in shards])
    dog, cat = (settled.r14_limits[f"model/od/{name}"] for name in ("dog", "cat"))
    assert 0.2 < dog <= 0.3
    assert 0.1 < cat <= 0.125
    found = said(settled, annotations(regions=[*rare, *frequent, *left_alone]))
    assert [(value, limit) for _, _, _, value, limit in found] == [
        *((value, dog) for value in (0.1, 0.2)),
        *((value, cat) for value in (0.025, 0.05, 0.075, 0.1)),
    ]
    assert {row[1:3] for row in found} == {("filter_scores.r14_class", "quarantine")}


@pytest.mark.parametrize(
    ("score", "found"),
    [
        pytest.param(0.51, [], id="just inside"),
        pytest.param(0.5, [], id="on the limit"),
        pytest.param(0.49, [(0.49, 0.5)], id="just outside"),
    ],
)
def test_below_the_limit_of_its_category_a_region_is_quarantined(score, found):
    rules = FilterScores(lowest_class_share=0.2, r14_limits={"model/od/dog": 0.5})
    judged = annotations(regions=[region(0, 0, 9, 9, category="a dog", score=score)])
    expected = [(0, "filter_scores.r14_class", "quarantine", *rest) for rest in found]
    assert said(rules, judged) == expected
