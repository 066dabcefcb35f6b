import pyarrow.compute as pc
import pytest

from schemas.annotations import Annotations
from schemas.samples import Sample
from stages.base import Model
from stages.florence2 import Florence2
from stages.florence2.engine import Request, Result
from stages.florence2.grammar import parse_answer
from stages.florence2.prompts import TASKS, Prompt
from stages.florence2.rows import answers_to_rows
from stages.florence2.scores import TokenScores

IMAGE = {"image_id": "shard-0/7", "shard": "shard-0"}


@pytest.fixture
def result_of(vocabulary, florence_tokenizer):
    """A result that says what is written, every token with probability one half."""
    import numpy as np

    def make(task, written, parent=None, *, limit=1000):
        tokens = tuple(florence_tokenizer(written).input_ids)
        places = [i for i, token in enumerate(tokens) if vocabulary.bin_of(token) is not None]
        locations = np.full((len(places), 1000), -50.0, dtype=np.float32)
        for row, place in zip(locations, places, strict=True):
            row[vocabulary.bin_of(tokens[place])] = np.log(0.5)
        half = np.full(len(tokens), np.log(0.5), dtype=np.float32)
        answer = parse_answer(tokens, TASKS[task].output, vocabulary, limit)
        return Result(
            Request(0, task, parents=(parent,) if parent else ()), Prompt((0, 2)), tokens, answer,
            TokenScores(half, half, np.array(places), locations),
        )  # fmt: skip

    return make


def columns(table, *names):
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


def test_a_grounded_caption_becomes_a_text_its_regions_and_its_phrases(result_of, vocabulary):
    caption = result_of("caption", "A star and two circles")
    box, other = "<loc_0><loc_0><loc_499><loc_999>", "<loc_500><loc_0><loc_999><loc_999>"
    grounding = result_of(
        "caption_to_phrase_grounding", f"A star{box}two circles{box}{other}a cat{box}", "caption"
    )
    rows = answers_to_rows(IMAGE, (100, 200), [caption, grounding], vocabulary)
    assert columns(rows.texts, "image_id", "shard", "source", "label_no", "level", "text") == [
        ("shard-0/7", "shard-0", "model", 0, "brief", "A star and two circles")
    ]
    assert columns(rows.regions, "label_no", "text", "category", "x0", "x1", "parent") == [
        (0, "A star", None, pytest.approx(0.05), pytest.approx(49.95), "model/text/0"),
        (1, "two circles", None, pytest.approx(0.05), pytest.approx(49.95), "model/text/0"),
        (2, "two circles", None, pytest.approx(50.05), pytest.approx(99.95), "model/text/0"),
        (3, "a cat", None, pytest.approx(0.05), pytest.approx(49.95), "model/text/0"),
    ]
    assert columns(
        rows.phrases, "label_no", "phrase", "char_start", "char_end", "text_no", "region_no"
    ) == [
        (0, "A star", 0, 6, 0, 0),
        (1, "two circles", 11, 22, 0, 1),
        (2, "two circles", 11, 22, 0, 2),
        (3, "a cat", None, None, 0, 3),
    ]
    assert rows.regions["score"].to_pylist() == pytest.approx([0.5] * 4)
    assert rows.texts["score"].to_pylist() == pytest.approx([0.5])
    assert len(rows.problems) == len(rows.images) == len(rows.verdicts) == 0


def test_an_object_has_a_category_a_described_region_has_words_a_proposal_neither(
    result_of, vocabulary
):
    box = "<loc_1><loc_2><loc_3><loc_4>"
    rows = answers_to_rows(
        IMAGE,
        (1000, 1000),
        [
            result_of("od", f"star{box}"),
            result_of("dense_region_caption", f"a red star{box}"),
            result_of("region_proposal", box),
        ],
        vocabulary,
    )
    assert columns(rows.regions, "label_no", "task", "category", "text", "shape", "points") == [
        (0, "od", "star", None, "box", None),
        (1, "dense_region_caption", None, "a red star", "box", None),
        (2, "region_proposal", None, None, "box", None),
    ]
    assert columns(rows.regions, "x0", "y0", "x1", "y1")[0] == (1.5, 2.5, 3.5, 4.5)
    assert rows.regions["label_score"].to_pylist() == [pytest.approx(0.5)] * 2 + [None]


def test_a_line_of_text_keeps_its_corners_and_its_bounds(result_of, vocabulary):
    corners = "<loc_10><loc_5><loc_90><loc_0><loc_95><loc_40><loc_12><loc_45>"
    lines = result_of("ocr_with_region", f"STOP{corners}")
    rows = answers_to_rows(IMAGE, (1000, 1000), [lines], vocabulary)
    assert columns(rows.regions, "shape", "text", "x0", "y0", "x1", "y1", "points") == [
        ("quad", "STOP", 10.5, 0.5, 95.5, 45.5, [[10.5, 5.5, 90.5, 0.5, 95.5, 40.5, 12.5, 45.5]])
    ]


def test_what_was_cut_is_a_problem_with_the_whole_answer(result_of, vocabulary):
    result = result_of("od", "star<loc_9><loc_2><loc_3><loc_4>", limit=7)
    rows = answers_to_rows(IMAGE, (100, 100), [result], vocabulary)
    assert columns(rows.problems, "shard", "image_id", "kind", "detail", "payload") == [
        (
            "shard-0",
            "shard-0/7",
            "malformed_output",
            "od: inverted_box at token 2: star<loc_9><loc_2><loc_3><loc_4>; "
            "truncated at token 6: limit of 7 tokens",
            "<s>star<loc_9><loc_2><loc_3><loc_4></s>",
        )
    ]


@pytest.fixture(scope="module")
def proposed(lively_checkpoint, pictures):
    stage = Florence2(
        model="m",
        tasks=["od", "caption_to_phrase_grounding", "detailed_caption", "caption", "ocr"],
        max_new_tokens=24,
    )
    session = stage.open({"m": Model(checkpoint=str(lively_checkpoint), device="cpu")})
    samples = [Sample("shard-0", str(i), {}, image=image) for i, image in enumerate(pictures)]
    return session, samples, session.propose(samples, Annotations.of())


def test_label_numbers_start_at_zero_in_every_image(proposed):
    _, _, rows = proposed
    for table in (rows.texts, rows.regions):
        numbers = {}
        for image, number in columns(table, "image_id", "label_no"):
            numbers.setdefault(image, []).append(number)
        assert numbers
        assert all(found == list(range(len(found))) for found in numbers.values())


def test_rows_follow_the_list_of_tasks(proposed):
    _, _, rows = proposed
    tasks = [task for _, task in columns(rows.texts, "image_id", "task")]
    assert tasks == ["detailed_caption", "caption", "ocr"] * 3
    assert set(rows.regions["task"].to_pylist()) <= {"od", "caption_to_phrase_grounding"}


def test_the_runner_s_columns_stay_empty_and_scores_lie_in_0_to_1(proposed):
    _, _, rows = proposed
    assert rows.texts["recipe"].null_count == rows.texts["round"].null_count == len(rows.texts)
    assert len(rows.images) == len(rows.verdicts) == 0
    for name in ("score", "location_score", "windowed_location_score", "end_score"):
        extremes = pc.min_max(rows.regions[name]).as_py()
        assert 0 <= extremes["min"] <= extremes["max"] <= 1


def test_a_retry_makes_the_same_rows(proposed):
    session, samples, rows = proposed
    assert session.propose(samples, Annotations.of()) == rows


def test_remarks_stay_short_however_long_the_answer(result_of, vocabulary):
    result = result_of("od", "star<loc_9><loc_2><loc_3><loc_4>" * 40)
    [problem] = answers_to_rows(IMAGE, (100, 100), [result], vocabulary).problems.to_pylist()
    assert problem["detail"].endswith("; and 32 more")
    assert len(problem["detail"]) < 1000
