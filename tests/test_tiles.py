import numpy as np
import pytest
from label_rows import annotations, region

from schemas.tiles import inner_edge_distance, seen_sizes, tile_boxes

NAN = float("nan")


@pytest.mark.parametrize(
    ("tile", "expected"),
    [
        pytest.param("512,0,1024,384", [512, 0, 1024, 384], id="a tile"),
        pytest.param(None, [NAN] * 4, id="the whole image"),
        pytest.param("512,0,1024", [NAN] * 4, id="a number too few"),
        pytest.param("a,b,c,d", [NAN] * 4, id="words"),
        pytest.param("9,0,9,5", [NAN] * 4, id="empty"),
        pytest.param("1e3,0,9,5", [NAN] * 4, id="no whole number"),
    ],
)
def test_a_tile_is_read_as_a_box(tile, expected):
    rows = annotations(regions=[region(0, 0, 9, 9, tile="1,2,3,4"), region(0, 0, 9, 9, tile=tile)])
    assert np.array_equal(tile_boxes(rows.regions), [[1, 2, 3, 4], expected], equal_nan=True)


def test_the_model_saw_the_tile_or_the_image():
    rows = annotations(regions=[region(0, 0, 9, 9, tile=t) for t in (None, "512,0,1024,384")])
    sizes = np.array([[2048, 1536]] * 2)
    assert seen_sizes(rows.regions, sizes).tolist() == [[2048, 1536], [512, 384]]


def test_no_region_has_no_tile():
    assert tile_boxes(annotations().regions).shape == (0, 4)


@pytest.mark.parametrize(
    ("box", "tile", "expected"),
    [
        pytest.param((500, 30, 510, 60), [0, 0, 512, 512], 2 / 0.512, id="right"),
        pytest.param((0, 30, 10, 511), [0, 0, 512, 512], 1 / 0.512, id="below"),
        pytest.param((513, 30, 530, 60), [512, 0, 1024, 512], 1 / 0.512, id="left"),
        pytest.param((30, 514, 60, 600), [0, 512, 512, 1024], 2 / 0.512, id="above"),
        pytest.param((0, 0, 9, 9), [0, 0, 1024, 1024], float("inf"), id="no inner edge"),
        pytest.param((0, 0, 9, 9), [NAN] * 4, float("inf"), id="no tile"),
        pytest.param((NAN, 0, 9, NAN), [512, 512, 1024, 1024], 512 / 0.512, id="not all known"),
    ],
)
def test_how_far_a_box_is_from_an_inner_edge(box, tile, expected):
    sizes = np.array([[1024, 1024]])
    away = inner_edge_distance(np.array([box], dtype=float), np.array([tile], dtype=float), sizes)
    assert away.tolist() == [round(expected, 3)]
