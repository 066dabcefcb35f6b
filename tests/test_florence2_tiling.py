import numpy as np
import pytest
from PIL import Image

from schemas.boxes import BINS, pixels_to_bins
from stages.florence2.tiling import View, Views, tiles_of


def test_tiles_are_spread_evenly_and_end_at_the_edges():
    assert tiles_of((1000, 512), 512, 0.2) == (
        (0, 0, 512, 512),
        (244, 0, 756, 512),
        (488, 0, 1000, 512),
    )


def test_a_small_image_is_cut_too():
    assert tiles_of((640, 480), 512, 0.2) == (
        (0, 0, 384, 384),
        (256, 0, 640, 384),
        (0, 96, 384, 480),
        (256, 96, 640, 480),
    )


def test_a_low_image_has_low_tiles():
    assert tiles_of((100, 10), 512, 0.2) == ((0, 0, 60, 10), (40, 0, 100, 10))


@pytest.mark.parametrize("size", [(3, 2), (513, 512), (1999, 1301), (4096, 700)])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5])
def test_tiles_cover_the_image_and_overlap_as_asked(size, overlap):
    tiles = np.array(tiles_of(size, 512, overlap))
    seen = np.zeros(size[::-1], dtype=bool)
    for x0, y0, x1, y1 in tiles:
        seen[y0:y1, x0:x1] = True
    assert seen.all()
    assert tiles.min() == 0
    assert len({(x1 - x0, y1 - y0) for x0, y0, x1, y1 in tiles}) == 1
    for low, high in ((0, 2), (1, 3)):
        starts = np.unique(tiles[:, low])
        side = tiles[0, high] - tiles[0, low]
        shared = side - np.diff(starts)
        assert (shared >= np.floor(overlap * side)).all()


def test_a_tile_s_bins_become_the_image_s_pixels_and_come_back():
    view = View(0, (512, 384), (12_000, 9_000, 12_512, 9_384))
    assert view.name == "12000,9000,12512,9384"
    bins = np.arange(BINS)
    points = np.stack([bins, bins[::-1]], axis=1)
    pixels = np.float32(view.bins_to_pixels(points.ravel().tolist())).reshape(-1, 2)
    assert pixels[0] == pytest.approx([12_000.256, 9_383.808])
    assert (pixels_to_bins(pixels - (12_000, 9_000), (512, 384)) == points).all()


def test_a_tile_is_cut_only_when_it_is_looked_at(pictures):
    cut = []

    class Watched:
        def __init__(self, image):
            self.size = image.size
            self.image = image

        def crop(self, tile):
            cut.append(tile)
            return self.image.crop(tile)

    views = Views(
        [Watched(image) for image in pictures], [(), ((0, 0, 96, 96), (64, 64, 160, 160))]
    )
    assert len(views) == 5
    assert [view.image for view in views.places] == [0, 1, 2, 1, 1]
    assert [view.name for view in views.places[2:]] == [None, "0,0,96,96", "64,64,160,160"]
    assert not cut
    seen = views[4]
    assert cut == [(64, 64, 160, 160)]
    assert isinstance(seen, Image.Image)
    assert seen.tobytes() == pictures[1].crop((64, 64, 160, 160)).tobytes()
    assert [image.size for image in views[3:]] == [(96, 96), (96, 96)]
