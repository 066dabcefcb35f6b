"""Pixels of a scene: backgrounds, patterned things, printed words. All of it in Pillow's C."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from annotator.scenes import shapes, world

Colour = tuple[int, int, int]
_SHADES = (0.85, 1.0, 1.12)
_TILE = 320
_LETTER_HEIGHTS = (0.13, 0.16, 0.19)
"""Font sizes as shares of the image's shorter side."""


def background(rng: random.Random, size: tuple[int, int], colour: str, texture: str) -> Image.Image:
    """A new image of this size in a shade of the colour."""
    base = _shade(world.BACKGROUNDS[colour], rng.uniform(0.9, 1.1))
    strength = rng.uniform(0.08, 0.2)
    first, second = (Image.new("RGB", size, _shade(base, 1 + s * strength)) for s in (-1, 1))
    if texture == "flat":
        return Image.new("RGB", size, base)
    return Image.composite(first, second, _mask(rng, size, texture))


def _mask(rng: random.Random, size: tuple[int, int], texture: str) -> Image.Image:
    if texture == "gradient":
        mask = Image.linear_gradient("L").rotate(90 * rng.randrange(4))
        return mask.resize(size, Image.Resampling.BILINEAR)
    if texture == "checkered":
        cells = rng.randint(4, 9)
        pattern = bytes(255 * ((x + y) % 2) for y in range(cells) for x in range(cells))
        return Image.frombytes("L", (cells, cells), pattern).resize(size, Image.Resampling.NEAREST)
    if texture == "blurred":
        # A few random values, drawn large: what a photograph's background out of focus looks like.
        side = rng.randint(4, 7)
        blobs = Image.frombytes("L", (side, side), rng.randbytes(side * side))
        return blobs.resize(size, Image.Resampling.BICUBIC)
    side = rng.choice((80, 160))
    noise = Image.frombytes("L", (side, side), rng.randbytes(side * side))
    return noise.resize(size, Image.Resampling.NEAREST)


def thing(
    image: Image.Image,
    polygon: Sequence[shapes.Point],
    kind: str,
    colour: str,
    material: str,
    rng: random.Random,
) -> None:
    """Paint the polygon; a ring keeps its hole open."""
    x0, y0, x1, y1 = shapes.bounds(polygon)
    left, top = math.floor(x0), math.floor(y0)
    size = (math.ceil(x1) - left + 1, math.ceil(y1) - top + 1)
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    draw.polygon([(x - left, y - top) for x, y in polygon], fill=255)
    if kind == "ring":
        draw.polygon(_hole(polygon, left, top), fill=0)
    tile = _pattern(colour, rng.randrange(len(_SHADES)), material)
    image.paste(tile.crop((0, 0, *size)), (left, top), mask)


def _hole(polygon: Sequence[shapes.Point], left: int, top: int) -> list[shapes.Point]:
    center_x = sum(x for x, _ in polygon) / len(polygon)
    center_y = sum(y for _, y in polygon) / len(polygon)
    share = shapes.RING_HOLE
    return [
        (center_x + share * (x - center_x) - left, center_y + share * (y - center_y) - top)
        for x, y in polygon
    ]


@cache
def _pattern(colour: str, shade: int, material: str) -> Image.Image:
    base = _shade(world.COLOURS[colour], _SHADES[shade])
    tile = Image.new("RGB", (_TILE, _TILE), base)
    draw = ImageDraw.Draw(tile)
    other = _shade(base, 0.5) if sum(base) > 240 else tuple(value + 110 for value in base)
    if material == "striped":
        for start in range(0, 2 * _TILE, 32):
            draw.line([(start, 0), (start - _TILE, _TILE)], fill=other, width=11)
    if material == "dotted":
        for x in range(4, _TILE, 28):
            for y in range(4, _TILE, 28):
                draw.ellipse((x, y, x + 14, y + 14), fill=other)
    return tile


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(value * factor)) for value in colour)
    return red, green, blue


@dataclass(frozen=True)
class Lettering:
    """A word ready to be printed: its mask, its ink and its corners within the mask."""

    mask: Image.Image
    plate: Image.Image | None
    ink: Colour
    corners: tuple[float, ...]

    @property
    def width(self) -> int:
        return self.mask.width

    @property
    def height(self) -> int:
        return self.mask.height

    def quad_at(self, corner: tuple[int, int]) -> tuple[float, ...]:
        """x, y of the four corners when the mask's top left lies at this pixel."""
        return tuple(value + corner[i % 2] for i, value in enumerate(self.corners))

    def print_on(self, image: Image.Image, corner: tuple[int, int]) -> None:
        if self.plate is not None:
            red, green, blue = self.ink
            image.paste((255 - red, 255 - green, 255 - blue), corner, self.plate)
        image.paste(self.ink, corner, self.mask)


def lettering(rng: random.Random, text: str, side: int, difficulty: float) -> Lettering:
    """Choose size, ink, plate and slope of a word."""
    letters = _letters(text, round(side * rng.choice(_LETTER_HEIGHTS)))
    ink = rng.choice(((15, 15, 20), (250, 250, 245)))
    plate = Image.new("L", letters.size, 255) if rng.random() < 0.5 else None
    degrees = rng.uniform(-12, 12) * difficulty if rng.random() < difficulty else 0.0
    corners = _turned_corners(letters.size, degrees)
    if degrees:
        letters = letters.rotate(degrees, Image.Resampling.BILINEAR, expand=True)
        plate = plate and plate.rotate(degrees, Image.Resampling.BILINEAR, expand=True)
    shift_x, shift_y = letters.width / 2, letters.height / 2
    moved = tuple(v + (shift_x if i % 2 == 0 else shift_y) for i, v in enumerate(corners))
    return Lettering(letters, plate, ink, moved)


def _turned_corners(size: tuple[int, int], degrees: float) -> tuple[float, ...]:
    """Corners around the middle after Pillow's rotation, which is counter-clockwise."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    half_x, half_y = size[0] / 2, size[1] / 2
    corners = ((-half_x, -half_y), (half_x, -half_y), (half_x, half_y), (-half_x, half_y))
    return tuple(v for x, y in corners for v in (x * cosine + y * sine, y * cosine - x * sine))


@cache
def _letters(text: str, height: int) -> Image.Image:
    """White on black, two pixels wider than the ink on each side."""
    font = ImageFont.load_default(height)
    left, top, right, bottom = font.getbbox(text)
    mask = Image.new("L", (math.ceil(right - left) + 4, math.ceil(bottom - top) + 4))
    ImageDraw.Draw(mask).text((2 - left, 2 - top), text, fill=255, font=font)
    return mask
