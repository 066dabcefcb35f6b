"""Parts of an image that are looked at on their own, so that small things become large ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from PIL import Image

from schemas.boxes import bins_to_pixels

Tile = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels of the image; x1 and y1 are the first ones outside."""
LARGEST_SHARE = 0.6
"""Of an image's longer side that a tile may have, so that a small image is cut too: with an
overlap of a fifth, two tiles lie along it."""


def tiles_of(size: tuple[int, int], side: int, overlap: float) -> tuple[Tile, ...]:
    """Tiles that cover an image of `size` (width, height), row by row, all of one size.

    They are squares of `side` pixels, or of LARGEST_SHARE of the longer side of the image where
    that is less; where the image is lower or narrower, so are they. Neighbours share at least
    `overlap` of a tile: as many as needed are spread evenly, the last ones ending at the edges.
    """
    side = min(side, math.ceil(max(size) * LARGEST_SHARE))
    columns, rows = (_starts(length, side, overlap) for length in size)
    width, height = (min(side, length) for length in size)
    return tuple((x, y, x + width, y + height) for y in rows for x in columns)


def _starts(length: int, side: int, overlap: float) -> list[int]:
    rest = length - side
    if rest <= 0:
        return [0]
    steps = math.ceil(rest / max(1, math.floor(side * (1 - overlap))))
    return [round(rest * step / steps) for step in range(steps + 1)]


@dataclass(frozen=True, slots=True)
class View:
    """What the model sees at once: an image, by its number, or one tile of it."""

    image: int
    size: tuple[int, int]
    tile: Tile | None = None

    @property
    def name(self) -> str | None:
        """As the column `tile` of REGIONS."""
        return ",".join(map(str, self.tile)) if self.tile else None

    def bins_to_pixels(self, bins: Sequence[int]) -> list[float]:
        """x y x y … of bins of what is seen → x y x y … of pixels of the whole image."""
        sides = [self.size[i % 2] for i in range(len(bins))]
        corner = self.tile[:2] if self.tile else (0, 0)
        starts = [corner[i % 2] for i in range(len(bins))]
        pixels: list[float] = (bins_to_pixels(bins, sides).astype(float) + starts).tolist()
        return pixels


class Views(Sequence[Image.Image]):
    """Images, then the tiles of each, cut out only when they are looked at.

    `places` says of each what it is, in the same order.
    """

    def __init__(self, images: Sequence[Image.Image], tiles: Sequence[Sequence[Tile]]) -> None:
        self._images = images
        self.places = [View(number, image.size) for number, image in enumerate(images)]
        for number, grid in enumerate(tiles):
            self.places += [View(number, _size(tile), tile) for tile in grid]

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> list[Image.Image]: ...
    def __getitem__(self, index: int | slice) -> Image.Image | list[Image.Image]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        view = self.places[index]
        image = self._images[view.image]
        return image.crop(view.tile) if view.tile else image


def _size(tile: Tile) -> tuple[int, int]:
    x0, y0, x1, y1 = tile
    return x1 - x0, y1 - y0
