"""What holds for every judge: it leaves its input alone and no input breaks it."""

import json

import numpy as np
import pytest
from label_rows import IMAGE, annotations, phrase, region, text

from schemas.annotations import Annotations
from schemas.tables import TABLES, VERDICTS
from stages.check_tasks import CheckTasks
from stages.filter_duplicates import FilterDuplicates
from stages.filter_phrases import FilterPhrases
from stages.filter_regions import FilterRegions
from stages.filter_scores import FilterScores
from stages.filter_texts import FilterTexts
from stages.find_consensus import FindConsensus
from stages.merge_human import MergeHuman

JUDGES = [
    FilterTexts(
        length={"brief": (3, 24)},
        max_repeated_words=0.18,
        min_object_complexity={"brief": 2},
        min_actions={"brief": 1},
        lowest_scores=0.02,
        t9_limits={"model/caption": 0.5},
    ),
    FilterRegions(),
    FilterDuplicates(),
    FilterDuplicates(across_tasks=True),
    FindConsensus(reject_alone=True),
    CheckTasks(max_unsupported={"brief": 0}),
    FilterPhrases(),
    FilterScores(min_score=0.5, min_label_score={"od": 0.5}, min_location_score=0.1),
    FilterScores(lowest_share=0.5, r7_limits={"model/od": 0.5}, lowest_class_share=0.5),
    MergeHuman(),
]
LONG = "x" * 10_000
NAN, INF = float("nan"), float("inf")


def every_kind(**columns):
    """A text, two objects, a dense caption, a region of a second opinion, one of a person, and two
    phrases."""
    return annotations(
        texts=[text("dog", score=0.4)],
        regions=[
            region(0, 0, 90, 90, score=0.4, truncated=True),
            region(0, 0, 90, 90, label_no=1) | columns,
            region(500, 0, 590, 90, label_no=2, task="dense_region_caption") | columns,
            region(0, 0, 85, 90, source="opinion") | columns,
            region(0, 0, 80, 90, source="human") | columns,
        ],
        phrases=[phrase(), phrase("a mat", label_no=1, region_no=1, char_start=9, char_end=14)],
    )


DEGENERATE = [
    pytest.param(Annotations.of(), id="nothing"),
    pytest.param(annotations(), id="an image without labels"),
    pytest.param(annotations(texts=[text()]), id="one text"),
    pytest.param(annotations(regions=[region(0, 0, 90, 90)]), id="one region"),
    pytest.param(annotations(phrases=[phrase()]), id="one phrase, tied to nothing"),
    pytest.param(every_kind(), id="every kind"),
    pytest.param(every_kind(x1=NAN), id="nan"),
    pytest.param(every_kind(x0=-INF, x1=INF), id="infinite"),
    pytest.param(every_kind(x0=-INF, x1=INF, y0=5.0, y1=5.0), id="infinite and flat"),
    pytest.param(every_kind(x0=-3e38, x1=3e38, y1=3e38), id="as large as float32 can"),
    pytest.param(every_kind(x0=None, y0=None, x1=None, y1=None), id="null"),
    pytest.param(every_kind(x1=-1), id="inverted"),
    pytest.param(every_kind(x1=1e-30), id="thinner than can be measured"),
    pytest.param(every_kind(score=NAN), id="nan as score"),
    pytest.param(every_kind().with_tables(images=annotations(images=[]).images), id="no images"),
    pytest.param(
        every_kind().with_tables(images=annotations(images=[IMAGE | {"width": 0}]).images),
        id="an image without width",
    ),
    pytest.param(
        annotations(
            texts=[text(LONG)],
            regions=[region(0, 0, 90, 90, category=LONG)],
            phrases=[phrase(LONG)],
        ),
        id="10,000 letters",
    ),
    pytest.param(
        annotations(
            texts=[text(f'the word "{LONG}"'), text(LONG, label_no=1, level="ocr")],
            regions=[
                region(0, 0, 90, 90, text=LONG, label_no=i, task=task, parent="model/region/0")
                for i, task in enumerate(("od", "dense_region_caption", "region_to_category"))
            ],
            phrases=[phrase(f"a red {LONG}")],
        ),
        id="10,000 letters of every task",
    ),
    pytest.param(
        annotations(
            regions=[
                region(0, 0, 90, 90, label_no=i, shape=shape, points=[points])
                for shape in ("quad", "polygon")
                for i, points in enumerate(
                    [[0, 0, 9, 9, 0, 9, 9, 0], [0, 0, 9], [], [NAN] * 8, [INF] * 8, [5] * 8]
                )
            ]
        ),
        id="outlines that are none",
    ),
    pytest.param(
        annotations(texts=[text("\x00\ud7ff\u200b")], phrases=[phrase("\u200b")]), id="odd letters"
    ),
    pytest.param(
        annotations(
            texts=[{"image_id": "s/a"}],
            regions=[{"image_id": "s/a"}],
            phrases=[{"image_id": "s/a"}],
        ),
        id="nothing but null",
    ),
    pytest.param(annotations(regions=[region(0, 0, 90, 90)] * 3), id="one key three times"),
]


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.stage)
@pytest.mark.parametrize("judged", DEGENERATE)
def test_no_input_breaks_a_judge(judge, judged):
    verdicts = judge.judge(judged)
    assert verdicts.schema == TABLES["verdicts"]
    assert set(verdicts["verdict"].to_pylist()) <= set(VERDICTS)
    assert all(name.startswith(f"{judge.stage}.") for name in verdicts["filter"].to_pylist())


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.stage)
def test_stages_leave_their_input_alone(judge):
    judged = every_kind()
    before = {name: getattr(judged, name).to_pylist() for name in TABLES}
    verdicts = judge.judge(judged)
    assert len(verdicts) > 0
    assert {name: getattr(judged, name).to_pylist() for name in TABLES} == before


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.stage)
def test_human_labels_are_never_rejected(judge):
    people = every_kind()
    relabelled = {
        name: table.set_column(1, "source", [np.repeat("human", len(table))])
        for name in ("texts", "regions", "phrases")
        if len(table := getattr(people, name))
    }
    verdicts = judge.judge(people.with_tables(**relabelled))
    assert set(verdicts["verdict"].to_pylist()) <= {"flag"}


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.stage)
def test_every_verdict_can_be_softened_to_a_flag(judge):
    softened = judge.model_copy(update={"verdict_at_most": "flag"})
    verdicts = softened.judge(every_kind())
    assert len(verdicts) > 0
    assert set(verdicts["verdict"].to_pylist()) == {"flag"}


def test_a_softened_drop_is_a_quarantine_and_weaker_verdicts_stay():
    thin = annotations(regions=[region(0, 0, 90, 7), region(0, 90, 90, 110, label_no=1)])
    judge = FilterRegions(verdict_at_most="quarantine")
    assert judge.judge(thin)["verdict"].to_pylist() == ["quarantine", "flag"]


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.stage)
def test_a_settled_judge_needs_no_more_statistics(judge):
    shards = [every_kind(), Annotations.of()]
    measured = [judge.measure(shard) for shard in shards]
    if measured[0] is None:
        assert measured == [None, None]
        return
    assert json.loads(json.dumps(measured)) == measured
    settled = judge.settled(measured)
    assert settled == judge.settled(measured[::-1])
    assert settled.measure(every_kind()) is None
    assert type(judge).model_validate_json(settled.model_dump_json()) == settled


def test_a_label_of_10000_letters_gets_a_verdict():
    judged = annotations(regions=[region(0, 0, 90, 90, category=LONG)])
    assert FilterRegions().judge(judged)["filter"].to_pylist() == ["filter_regions.r9_length"]


def test_chunked_tables_are_judged_like_whole_ones():
    whole = every_kind()
    parts = {
        name: type(table).from_batches(
            [batch for row in range(len(table)) for batch in table.slice(row, 1).to_batches()],
            schema=table.schema,
        )
        for name in TABLES
        if (table := getattr(whole, name)) is not None
    }
    for judge in JUDGES:
        assert judge.judge(whole.with_tables(**parts)).equals(judge.judge(whole))
