import io
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from shapely import Polygon, box

from annotator.errors import ShardError
from annotator.evaluation.detection import Counts, count_right
from annotator.evaluation.tables import found_and_true
from annotator.human.sidecars import read_labels
from annotator.scenes import language, shapes, world
from annotator.scenes.draw import SIZES, Scene, Thing, Word, draw_scene
from annotator.scenes.noise import JITTER, noisy_things
from annotator.scenes.questions import ask
from annotator.scenes.score import score_version
from annotator.scenes.source import expand_scenes, read_scenes, scenes_fingerprint
from annotator.scenes.truth import scene_truth
from annotator.shards import expand_shards, read_shard
from schemas.annotations import table_of
from stages.florence2.prompts import TASKS

CIRCLE = Thing("circle", "red", "plain", "large", (10.0, 20.0, 110.0, 120.0), (10.0, 20.0) * 3)
STAR = Thing("star", "orange", "striped", "small", (200.0, 250.0, 240.0, 290.0), (200.0, 250.0) * 3)
HEART = Thing("heart", "blue", "plain", "small", (120.0, 0.0, 150.0, 30.0), (120.0, 0.0) * 3, True)
STOP = Word("STOP", (250, 10, 300, 10, 300, 30, 250, 30), (250, 10, 300, 30))


def scene_of(things: tuple[Thing, ...], words: tuple[Word, ...] = ()) -> Scene:
    return Scene(Image.new("RGB", (320, 320)), things, words, "gray", "flat")


def test_equal_seeds_give_equal_scenes_and_others_do_not():
    first, again, other = draw_scene(7, 0.5), draw_scene(7, 0.5), draw_scene(8, 0.5)
    assert first == again
    assert first.image.tobytes() == again.image.tobytes()
    assert first.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_all_that_is_said_to_be_there_lies_within_the_image(difficulty: float):
    for seed in range(40):
        scene = draw_scene(seed, difficulty)
        assert scene.image.size in SIZES
        frame = box(0, 0, *scene.image.size)
        for one in (*scene.things, *scene.words):
            assert frame.covers(box(*one.bbox_xyxy))
        for thing in scene.things:
            polygon = Polygon(list(zip(thing.outline[::2], thing.outline[1::2], strict=True)))
            assert polygon.area > 20
            assert polygon.bounds == pytest.approx(thing.bbox_xyxy)


def test_a_plain_thing_has_its_colour_where_its_outline_says():
    checked = 0
    for seed in range(60):
        scene = draw_scene(seed, 0.0)
        for thing in scene.things:
            if thing.material == "plain" and thing.category in ("circle", "square", "cross"):
                x0, y0, x1, y1 = thing.bbox_xyxy
                pixel = scene.image.getpixel((round((x0 + x1) / 2), round((y0 + y1) / 2)))
                assert nearest_colour(pixel) == thing.colour
                checked += 1
    assert checked > 10


def nearest_colour(pixel: tuple[int, ...]) -> str:
    return min(
        world.COLOURS, key=lambda name: np.abs(np.subtract(world.COLOURS[name], pixel)).sum()
    )


def test_the_harder_the_more_there_is():
    def things(difficulty: float) -> int:
        return sum(len(draw_scene(seed, difficulty).things) for seed in range(50))

    assert things(0.0) < things(0.5) < things(1.0)


def test_a_thing_across_the_border_ends_at_it():
    square = [(-10.0, 10.0), (10.0, 10.0), (10.0, 30.0), (-10.0, 30.0)]
    assert shapes.bounds(shapes.clip(square, 100, 100)) == (0, 10, 10, 30)
    assert shapes.clip(square, 100, 5) == []


def test_the_three_captions_of_a_scene():
    scene = scene_of((CIRCLE, STAR), (STOP,))
    brief, detailed, more = language.captions(scene)
    assert brief.text == "A red circle and an orange star."
    assert detailed.text == (
        "The image shows a large red circle at the top left, a small striped orange star at the "
        "bottom right and the word STOP at the top right on a gray background."
    )
    assert more.text == (
        "The background is gray and flat. There is a large red circle at the top left. There is a "
        "small striped orange star at the bottom right. There is the word STOP at the top right."
    )


def test_a_group_is_named_once_and_its_phrase_has_all_its_boxes():
    hearts = tuple(replace(HEART, bbox_xyxy=(x, 0.0, x + 30, 30.0)) for x in (60.0, 90.0, 120.0))
    caption = language.brief_caption(scene_of((*hearts, STAR)))
    assert caption.text == "A group of blue hearts and an orange star."
    assert caption.phrases[0].bboxes_xyxy == tuple(heart.bbox_xyxy for heart in hearts)
    assert caption.text[caption.phrases[1].start : caption.phrases[1].end] == "an orange star"


def test_nothing_is_described_as_nothing():
    assert language.brief_caption(scene_of(())).text == "An empty scene."


def test_spans_point_at_their_phrases():
    for seed in range(30):
        for caption in language.captions(draw_scene(seed, 0.8)):
            for phrase in caption.phrases:
                words = caption.text[phrase.start : phrase.end]
                assert words.split()[0].lower() in ("a", "an", "the")
                assert words.split()[-1] in (
                    *world.KINDS,
                    *map(language.plural, world.KINDS),
                    *world.WORDS,
                )


def test_expressions_fit_one_thing_only():
    twins = (CIRCLE, Thing("circle", "blue", "plain", "small", (150, 0, 170, 20), (150, 0) * 3))
    assert [words for words, _ in language.expressions(scene_of(twins))] == [
        "the red circle",
        "the leftmost circle",
        "the blue circle",
    ]


def test_every_task_can_be_asked_and_its_answer_is_the_truth():
    scene = scene_of((CIRCLE,), (STOP,))
    asked = {task: ask(scene, task, random.Random(0)) for task in TASKS}
    assert all(asked.values())
    where = "<loc_31><loc_62><loc_343><loc_375>"
    assert asked["od"].target == f"circle{where}"
    assert asked["dense_region_caption"].target == f"large red circle{where}"
    assert asked["region_proposal"].target == where
    assert asked["region_to_category"].prompt == f"What is the region {where}?"
    assert asked["region_to_category"].target == "circle"
    assert asked["ocr"].target == "STOP"
    assert asked["region_to_ocr"].target == "STOP"
    assert asked["ocr_with_region"].target.startswith("STOP<loc_781><loc_31><loc_937>")


def test_what_is_not_there_is_answered_with_nothing():
    scene = scene_of((CIRCLE,))
    asked = [ask(scene, "open_vocabulary_detection", random.Random(i)) for i in range(30)]
    for question in asked:
        assert ("circle" in question.prompt and "red" in question.prompt) or (
            question.target == "" or "Locate circle" in question.prompt
        )
    assert {bool(question.target) for question in asked} == {True, False}


def test_a_number_of_scenes_is_cut_into_shards_of_thirty_two():
    refs = expand_scenes("scenes://70?seed=3&difficulty=0.25&human=1")
    assert [ref.name for ref in refs] == [f"scenes-3-{n:06d}" for n in range(3)]
    assert refs[2].url == "scenes://64+6/seed=3/difficulty=0.25/human=1.0"
    assert refs[2].address == refs[2].url
    assert [sample.key for sample in read_scenes(refs[2])] == [f"{n:06d}" for n in range(64, 70)]


def test_the_general_reader_reads_scenes_too(tmp_path: Path):
    (ref,) = expand_shards(["scenes://3"], tmp_path)
    samples = list(read_shard(ref))
    assert [sample.image_id for sample in samples] == [
        "scenes-0-000000/000000",
        "scenes-0-000000/000001",
        "scenes-0-000000/000002",
    ]
    assert set(samples[0].members) == {"png"}


def test_a_fingerprint_changes_with_what_shapes_the_bytes():
    urls = ["scenes://3", "scenes://4", "scenes://3?seed=1", "scenes://3?human=1"]
    prints = [json.dumps(scenes_fingerprint(expand_scenes(url)[0])) for url in urls]
    assert len(set(prints)) == 4
    assert prints[0] == json.dumps(scenes_fingerprint(expand_scenes("scenes://3?seed=0")[0]))


def test_the_share_with_human_labels_grows_by_adding_to_it():
    def labelled(share: float) -> set[str]:
        refs = expand_scenes(f"scenes://320?human={share}")
        samples = itertools.chain.from_iterable(map(read_scenes, refs[:2]))
        return {sample.image_id for sample in samples if "coco.json" in sample.members}

    some, more = labelled(0.25), labelled(0.5)
    assert some < more
    assert 8 <= len(some) <= 24
    assert labelled(0.0) == set()
    assert len(labelled(1.0)) == 64


def test_without_noise_an_address_is_what_it_was():
    (plain,) = expand_scenes("scenes://2?human=1")
    (silent,) = expand_scenes("scenes://2?human=1&noise=0")
    (noisy,) = expand_scenes("scenes://2?human=1&noise=0.25")
    assert silent == plain
    assert plain.url == "scenes://0+2/seed=0/difficulty=0.5/human=1.0"
    assert noisy.url == "scenes://0+2/seed=0/difficulty=0.5/human=1.0/noise=0.25"
    assert noisy.name == plain.name
    assert scenes_fingerprint(noisy) != scenes_fingerprint(plain)
    for told, true in zip(read_scenes(noisy), read_scenes(plain), strict=True):
        assert told.members["png"] == true.members["png"]
        assert told.members["coco.json"] != true.members["coco.json"]
        assert told.members == next(s for s in read_scenes(noisy) if s.key == told.key).members


def labelled_with_noise(noise: float, count: int = 500) -> list[tuple[Scene, list[Thing]]]:
    scenes = [draw_scene(f"noise-{number}", 0.5) for number in range(count)]
    return [(scene, noisy_things(scene, noise, str(i))) for i, scene in enumerate(scenes)]


def test_a_careless_person_leaves_out_and_misnames_a_chosen_share():
    labelled = labelled_with_noise(0.4)
    true = sum(len(scene.things) for scene, _ in labelled)
    told = sum(len(things) for _, things in labelled)
    kinds = [
        (thing.category, original_of(thing, scene).category)
        for scene, things in labelled
        for thing in things
    ]
    misnamed = sum(said != kind for said, kind in kinds)
    # Shares of 0.2; five standard deviations of a binomial with n = 1,000 are 0.063.
    assert true > 1000
    assert 1 - told / true == pytest.approx(0.2, abs=0.063)
    assert misnamed / told == pytest.approx(0.2, abs=0.063)
    assert {said for said, kind in kinds if said != kind} == set(world.KINDS)


def original_of(thing: Thing, scene: Scene) -> Thing:
    """Colour, material and size are told as they are; among twins, the nearest."""
    alike = [
        other
        for other in scene.things
        if (other.colour, other.material, other.size) == (thing.colour, thing.material, thing.size)
    ]
    return min(alike, key=lambda other: np.abs(np.subtract(other.bbox_xyxy, thing.bbox_xyxy)).sum())


def test_edges_move_by_a_chosen_share_of_their_side():
    moved = []
    for scene, things in labelled_with_noise(0.2):
        width, height = scene.image.size
        for thing in things:
            x0, y0, x1, y1 = original_of(thing, scene).bbox_xyxy
            if x0 > 20 and y0 > 20 and x1 < width - 20 and y1 < height - 20:
                sides = (x1 - x0, y1 - y0) * 2
                moved.append(np.subtract(thing.bbox_xyxy, (x0, y0, x1, y1)) / sides)
    assert len(moved) > 500
    assert np.std(moved) == pytest.approx(0.2 * JITTER, rel=0.08)
    assert np.mean(moved) == pytest.approx(0, abs=0.005)


def test_boxes_drawn_with_all_noise_are_boxes_within_the_image_and_hold_their_outlines():
    told = 0
    for scene, things in labelled_with_noise(1.0, 200):
        width, height = scene.image.size
        for thing in things:
            x0, y0, x1, y1 = thing.bbox_xyxy
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            xs, ys = thing.outline[::2], thing.outline[1::2]
            assert (min(xs), min(ys), max(xs), max(ys)) == pytest.approx(thing.bbox_xyxy)
            told += 1
    assert told > 100


def test_more_noise_keeps_the_mistakes_of_less():
    some, more = labelled_with_noise(0.2, 100), labelled_with_noise(0.4, 100)
    for (_, few_mistakes), (_, many_mistakes) in zip(some, more, strict=True):
        kept = {(t.colour, t.size, t.material) for t in few_mistakes}
        assert {(t.colour, t.size, t.material) for t in many_mistakes} <= kept


def test_a_label_file_reads_back_as_the_truth():
    (ref,) = expand_scenes("scenes://8?human=1&difficulty=1")
    truth = scene_truth(ref.url).to_pylist()
    read = []
    for sample in read_scenes(ref):
        width, height = Image.open(io.BytesIO(sample.members["png"])).size
        labels = read_labels(sample, width, height)
        assert labels.problems == []
        assert len(labels.texts) == 1
        read += labels.regions
    assert [row["category"] for row in read] == [row["category"] for row in truth]
    for found, true in zip(read, truth, strict=True):
        assert found["image_id"] == true["image_id"]
        assert [found[side] for side in ("x0", "y0", "x1", "y1")] == pytest.approx(
            [true[side] for side in ("x0", "y0", "x1", "y1")], abs=0.02
        )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("scenes://", "N is '', no number", id="no count"),
        pytest.param("scenes://0", "1 to 10,000,000 scenes", id="none"),
        pytest.param(
            "scenes://99999999999", "1 to 10,000,000 scenes", id="more than can be listed"
        ),
        pytest.param("scenes://4#part", "1 to 10,000,000 scenes", id="a fragment"),
        pytest.param("scenes://4?noise=0.5", "no human labels", id="noise in no labels"),
        pytest.param("scenes://4?seed=1&seed=2", "'seed' twice", id="an option twice"),
        pytest.param("scenes://4?seed=-1", "seed must not be negative", id="a negative seed"),
        pytest.param("scenes://8?sed=1", "'sed', which scenes do not know", id="misspelt"),
        pytest.param("scenes://8?difficulty=2", "between 0 and 1", id="out of range"),
        pytest.param("scenes://8?human=nan", "no number", id="not a number"),
        pytest.param(
            "scenes://8?noise=-0.1", "noise must lie between 0 and 1", id="less than none"
        ),
        pytest.param("scenes://8?seed=x", "seed is 'x', no number", id="seed"),
    ],
)
def test_a_wrong_address_is_refused_in_one_sentence(url: str, message: str):
    with pytest.raises(ShardError, match=message.replace("?", r"\?")):
        expand_scenes(url)


def test_a_general_address_is_not_one_shard():
    with pytest.raises(ShardError, match="not one shard"):
        scene_truth("scenes://64?seed=0")


def test_boxes_of_the_tables_are_held_against_the_truth():
    (ref,) = expand_scenes("scenes://4")
    truth = scene_truth(ref.url)
    every = Counts(len(truth), len(truth), len(truth))
    assert count_right(*found_and_true(truth, truth)) == every
    nothing = count_right(*found_and_true(truth.slice(0, 0), truth))
    assert (nothing.precision, nothing.recall) == (None, 0.0)


def test_a_true_box_is_found_once_and_only_under_its_name():
    (ref,) = expand_scenes("scenes://4")
    truth = scene_truth(ref.url)
    row = truth.to_pylist()[0]
    other = "star" if row["category"] != "star" else "ring"
    found = table_of("regions", [row, row, {**row, "category": other}])
    counts = count_right(*found_and_true(found, truth))
    assert (counts.right, counts.found) == (1, 3)
    assert counts.precision == pytest.approx(1 / 3)


def test_a_version_of_scenes_is_scored_where_no_person_had_labelled():
    (ref,) = expand_scenes("scenes://2")
    truth = scene_truth(ref.url)
    first, second = sorted(set(truth["image_id"].to_pylist()))
    model = truth.set_column(1, "source", pa.repeat("model", len(truth)))
    connection = duckdb.connect()
    connection.register("all_regions", model)
    connection.register("regions", model.slice(0, 0))
    images = [{"image_id": first, "url": ref.url}, {"image_id": second, "url": ref.url}]
    states = [{**images[0], "state": "verified"}, {**images[1], "state": "labelled"}]
    connection.register("images", table_of("images", states))
    count = truth["image_id"].to_pylist().count(second)
    assert score_version(connection) == (Counts(count, count, count), Counts(0, 0, count))
    connection.register("all_regions", model.slice(0, 0))
    assert score_version(connection) is None
    connection.register("all_regions", model)
    photos = [{"image_id": first, "url": "photos-000000.tar", "state": "labelled"}]
    connection.register("images", table_of("images", photos))
    assert score_version(connection) is None
