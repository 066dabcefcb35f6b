import hashlib
import io
import re
import tarfile
import tempfile
from pathlib import Path

import duckdb
import pytest
from PIL import Image

from annotator.errors import ShardError
from annotator.examples import Material, examples_of_version
from annotator.lessons import Room, Syllabus, lessons_of_shard
from schemas.annotations import Annotations
from schemas.tables import TABLES

OD = "Locate the objects with category name in the image."
CAPTION = "What does the image describe?"
DENSE = "Locate the objects in the image, with their descriptions."
WIDTH, HEIGHT = 100, 50
"""One bin is 0.1 pixels wide and 0.05 pixels high."""


def tokens_of(text: str) -> int:
    return len(re.findall(r"<loc_\d+>|[^\s<]+", text))


ROOMY = Room(prompt=100, target=100, tokens_of=tokens_of)


def connect(**rows: list[dict]) -> duckdb.DuckDBPyConnection:
    made = Annotations.of(**rows)
    connection = duckdb.connect()
    for name in TABLES:
        connection.register(name, getattr(made, name))
    return connection


def image(key: str, state: str = "labelled", **columns: object) -> dict:
    row = {"image_id": f"s/{key}", "shard": "s", "key": key, "state": state, "sha256": ""}
    return {**row, "width": WIDTH, "height": HEIGHT, **columns}


def label(key: str, label_no: int, source: str = "human", **columns: object) -> dict:
    row = {"image_id": f"s/{key}", "shard": "s", "source": source, "label_no": label_no}
    return {**row, **columns}


def region(key: str, label_no: int, x0: int, name: str = "cat", **columns: object) -> dict:
    corners = {"x0": x0, "y0": 10, "x1": x0 + 5, "y1": 20}
    return label(key, label_no, **{"task": "od", "category": name, **corners, **columns})


def teach(connection: duckdb.DuckDBPyConnection, task: str, labels: str = "human", room=ROOMY):
    taught = lessons_of_shard(connection, "s", Syllabus([task], labels, room))
    return {
        image.key: [(lesson.prompt, lesson.target) for lesson in image.lessons] for image in taught
    }


def test_od_is_taught_from_left_to_right() -> None:
    tables = connect(
        images=[image("a")], regions=[region("a", 0, x0=50, name="dog"), region("a", 1, x0=20)]
    )
    cat = "cat<loc_200><loc_200><loc_250><loc_400>"
    dog = "dog<loc_500><loc_200><loc_550><loc_400>"
    assert teach(tables, "od") == {"a": [(OD, cat + dog)]}


def test_model_labels_are_taught_only_when_all_kept_labels_are_wanted() -> None:
    tables = connect(
        images=[image("a")],
        regions=[region("a", 0, x0=20), region("a", 0, x0=30, source="model")],
    )
    cats = "cat<loc_200><loc_200><loc_250><loc_400>", "cat<loc_300><loc_200><loc_350><loc_400>"
    assert teach(tables, "od") == {"a": [(OD, cats[0])]}
    assert teach(tables, "od", labels="kept") == {"a": [(OD, "".join(cats))]}


def test_a_crowd_teaches_nothing_not_even_that_nothing_is_there() -> None:
    tables = connect(
        images=[image("a", state="verified")], regions=[region("a", 0, x0=20, crowd=True)]
    )
    assert teach(tables, "od") == {}


@pytest.mark.parametrize(
    ("rows", "taught"),
    [
        pytest.param({}, {"a": [(OD, "")]}, id="a person looked and found nothing"),
        pytest.param(
            {"texts": [label("a", 0, level="brief", text="A cat.")]}, {}, id="only a caption"
        ),
        pytest.param(
            {"problems": [{"shard": "s", "image_id": "s/a", "kind": "malformed_label"}]},
            {},
            id="a label was set aside",
        ),
        pytest.param({"images": [image("a", state="empty")]}, {}, id="only the model looked"),
    ],
)
def test_an_empty_answer_is_taught_where_a_person_found_nothing(rows: dict, taught: dict) -> None:
    assert teach(connect(**{"images": [image("a", state="verified")], **rows}), "od") == taught


def test_every_caption_of_the_level_is_taught() -> None:
    texts = [
        label("a", 0, level="brief", text="A <b> cat."),
        label("a", 1, level="brief", text="Two cats."),
        label("a", 2, level="detailed", text="A long story."),
        label("a", 3, level="brief", text="A cat and", truncated=True),
        label("a", 0, source="web", level="alt", text="IMG_001"),
    ]
    tables = connect(images=[image("a")], texts=texts)
    assert teach(tables, "caption") == {"a": [(CAPTION, "A b> cat."), (CAPTION, "Two cats.")]}


def test_dense_captions_are_taught_from_regions_of_that_task() -> None:
    dense = region("a", 0, x0=20, task="dense_region_caption", category=None, text="a grey cat")
    tables = connect(images=[image("a")], regions=[dense, region("a", 1, x0=50)])
    answer = "a grey cat<loc_200><loc_200><loc_250><loc_400>"
    assert teach(tables, "dense_region_caption") == {"a": [(DENSE, answer)]}


def test_grounding_joins_caption_phrases_and_boxes_in_the_order_of_the_caption() -> None:
    def phrase(label_no: int, start: int, words: str, region_no: int) -> dict:
        place = {"char_start": start, "char_end": start + len(words), "phrase": words}
        about = {"text_source": "human", "text_no": 0, "region_source": "human"}
        return label("a", label_no, **place, **about, region_no=region_no)

    tables = connect(
        images=[image("a")],
        texts=[label("a", 0, level="brief", text="Cats and a dog.")],
        regions=[region("a", 0, x0=50), region("a", 1, x0=20), region("a", 2, x0=70)],
        phrases=[phrase(0, 9, "a dog", 2), phrase(1, 0, "Cats", 0), phrase(2, 0, "Cats", 1)],
    )
    cats = "Cats<loc_200><loc_200><loc_250><loc_400><loc_500><loc_200><loc_550><loc_400>"
    dog = "a dog<loc_700><loc_200><loc_750><loc_400>"
    assert teach(tables, "caption_to_phrase_grounding") == {
        "a": [("Locate the phrases in the caption: Cats and a dog.", cats + dog)]
    }


def test_a_long_answer_is_cut_after_a_whole_box_and_the_rest_is_counted() -> None:
    tables = connect(images=[image("a")], regions=[region("a", n, x0=10 * n) for n in range(3)])
    room = Room(prompt=100, target=14, tokens_of=tokens_of)
    [taught] = lessons_of_shard(tables, "s", Syllabus(["od"], "human", room))
    [lesson] = taught.lessons
    assert lesson.target == (
        "cat<loc_0><loc_200><loc_50><loc_400>cat<loc_100><loc_200><loc_150><loc_400>"
    )
    assert (lesson.dropped, lesson.usable) == (1, True)


@pytest.mark.parametrize(
    "room",
    [
        pytest.param(Room(prompt=100, target=2, tokens_of=tokens_of), id="the answer"),
        pytest.param(Room(prompt=3, target=100, tokens_of=tokens_of), id="the prompt"),
    ],
)
def test_a_lesson_that_does_not_fit_at_all_is_not_usable(room: Room) -> None:
    tables = connect(
        images=[image("a")], texts=[label("a", 0, level="brief", text="A cat on a mat.")]
    )
    [taught] = lessons_of_shard(tables, "s", Syllabus(["caption"], "human", room))
    assert [(lesson.usable, lesson.dropped) for lesson in taught.lessons] == [(False, 1)]


def png(grey: int) -> bytes:
    encoded = io.BytesIO()
    Image.new("L", (WIDTH, HEIGHT), grey).save(encoded, "PNG")
    return encoded.getvalue()


def write_shard(path: Path, images: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for key, encoded in images.items():
            member = tarfile.TarInfo(f"{key}.png")
            member.size = len(encoded)
            tar.addfile(member, io.BytesIO(encoded))


def material(tables: duckdb.DuckDBPyConnection, spool) -> Material:
    return examples_of_version(tables, Syllabus(["od", "caption"], "human", ROOMY), spool)


def labelled_shard(folder: Path) -> duckdb.DuckDBPyConnection:
    pixels = {"a": png(10), "b": png(20), "c": png(30)}
    write_shard(folder / "s.tar", pixels)
    url = str(folder / "s.tar")
    return connect(
        images=[
            image(key, url=url, sha256=hashlib.sha256(encoded).hexdigest())
            for key, encoded in pixels.items()
        ],
        regions=[region("a", 0, x0=20), region("c", 0, x0=20)],
        texts=[label("c", 0, level="brief", text="A cat.")],
    )


def test_examples_join_the_labels_with_the_pixels_of_the_shard(tmp_path: Path) -> None:
    tables = labelled_shard(tmp_path)
    with tempfile.TemporaryFile(dir=tmp_path) as spool:
        found = material(tables, spool)
        assert (found.lessons, found.dropped, found.lost) == ({"od": 2, "caption": 1}, 0, 0)
        first, second = found.examples
        # Read out of order and twice, as training does.
        greys = [e.load_image().getpixel((0, 0))[0] for e in (second, first, second)]
    assert greys == [30, 10, 30]
    assert [question.prompt for question in second.questions] == [OD, CAPTION]


def test_an_image_that_changed_or_left_its_shard_is_not_taught(tmp_path: Path) -> None:
    tables = labelled_shard(tmp_path)
    write_shard(tmp_path / "s.tar", {"a": png(11)})
    with tempfile.TemporaryFile(dir=tmp_path) as spool:
        found = material(tables, spool)
    assert (found.examples, found.lost) == ([], 2)


def test_a_missing_shard_is_one_sentence(tmp_path: Path) -> None:
    tables = labelled_shard(tmp_path)
    (tmp_path / "s.tar").unlink()
    with (
        tempfile.TemporaryFile(dir=tmp_path) as spool,
        pytest.raises(ShardError, match=r"there is no shard at .*s\.tar"),
    ):
        material(tables, spool)
