import numpy as np
import pyarrow as pa
import pytest
from label_rows import IMAGE, annotations, phrase, region, rejection, text

from schemas.annotations import (
    Annotations,
    image_sizes,
    image_states,
    kept_mask,
    local_ids,
    region_bins,
    rows_of,
    score_ranks,
    table_of,
)
from schemas.tables import TABLES

DOG = region(0, 0, 90, 90)


def states(images=(IMAGE,), **rows):
    return image_states(annotations(images=list(images), **rows))["state"].to_pylist()


def test_rows_fill_their_columns_and_unknown_columns_are_refused():
    tables = Annotations.of(texts=[{"image_id": "s/a", "text": "a dog"}])
    assert tables.texts.schema == TABLES["texts"]
    assert tables.texts["score"].to_pylist() == [None]
    with pytest.raises(KeyError, match="texts has no column \\['txt'\\]"):
        table_of("texts", [{"txt": "a dog"}])


def test_parts_are_joined_in_order():
    parts = [annotations(texts=[text(label_no=no)]) for no in (3, 1)]
    assert Annotations.concat(parts).texts["label_no"].to_pylist() == [3, 1]
    assert len(Annotations.concat([]).images) == 0


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        pytest.param([], [True, True, True], id="no verdict"),
        pytest.param([rejection("region", 1)], [True, False, True], id="drop"),
        pytest.param(
            [rejection("region", 1, verdict="quarantine")] * 2, [True, False, True], id="twice"
        ),
        pytest.param([rejection("region", 1, verdict="flag")], [True, True, True], id="flag"),
        pytest.param([rejection("text", 1)], [True, True, True], id="another kind"),
        pytest.param([rejection("region", 1, source="human")], [True] * 3, id="another source"),
        pytest.param([rejection("region", 1, image_id="s/b")], [True] * 3, id="another image"),
    ],
)
def test_a_label_is_kept_unless_rejected(verdicts, expected):
    judged = annotations(regions=[DOG | {"label_no": no} for no in (2, 1, 0)], verdicts=verdicts)
    assert kept_mask(judged, "region").tolist() == expected


def test_labels_are_found_by_their_key():
    labels = annotations(texts=[text(label_no=no) for no in (5, 4)] + [text(source="human")]).texts
    image_id, source = pa.array(["s/a"] * 4), pa.array(["model", "model", "human", "model"])
    found = rows_of(labels, image_id, source, pa.array([4, 5, 0, None], pa.int32()))
    assert found.tolist() == [1, 0, 2, -1]


def test_local_ids_and_ranks():
    scores = (0.5, None, 0.9, 0.5)
    labels = annotations(texts=[text(label_no=no, score=s) for no, s in enumerate(scores)]).texts
    assert local_ids(labels, "text").to_pylist()[:2] == ["model/text/0", "model/text/1"]
    assert score_ranks(labels).tolist() == [1, 3, 0, 2]


def test_sizes_and_bins_follow_the_image_of_each_region():
    images = [{"image_id": "s/b", "width": 0, "height": 9}, IMAGE | {"width": 500}]
    regions = [DOG | {"image_id": image} for image in ("s/a", "s/b", "s/c")]
    regions.append(DOG | {"x1": float("inf")})
    judged = annotations(images=images, regions=regions)
    nan = float("nan")
    sizes = image_sizes(judged, judged.regions)
    np.testing.assert_equal(sizes, [[500, 1000], [nan, nan], [nan, nan], [500, 1000]])
    np.testing.assert_equal(region_bins(judged), [[0, 0, 180, 90], *[[nan] * 4] * 3])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param({}, "empty", id="no label"),
        pytest.param({"texts": [text()]}, "labelled", id="a text"),
        pytest.param({"regions": [DOG]}, "labelled", id="a region"),
        pytest.param({"phrases": [phrase()]}, "labelled", id="a phrase"),
        pytest.param({"regions": [DOG | {"source": "human"}]}, "labelled", id="a human label"),
        pytest.param({"regions": [DOG | {"image_id": "s/b"}]}, "empty", id="of another image"),
        pytest.param(
            {"regions": [DOG], "verdicts": [rejection("region", 0)]}, "filtered", id="all rejected"
        ),
        pytest.param(
            {"regions": [DOG], "texts": [text()], "verdicts": [rejection("region", 0)]},
            "labelled",
            id="one kept",
        ),
    ],
)
def test_the_state_of_an_image_follows_from_its_labels(rows, expected):
    assert states(**rows) == [expected]


def test_a_failed_or_verified_image_stays_so():
    images = [
        IMAGE | {"image_id": f"s/{state}", "state": state} for state in ("failed", "verified")
    ]
    assert states([*images, IMAGE], texts=[text()]) == ["failed", "verified", "labelled"]


def test_no_images_have_no_states():
    assert image_states(Annotations.of()).schema == TABLES["images"]
