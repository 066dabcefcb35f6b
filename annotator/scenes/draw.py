"""Draw a scene: a deterministic image with exact truth about all that is on it."""

import random
from dataclasses import dataclass, field

from PIL import Image

from annotator.scenes import paint, shapes, world

SIZES = ((320, 320), (320, 256), (256, 320))
"""Width and height of a scene, chosen by its seed."""
_SMALL, _LARGE = (0.080, 0.115), (0.16, 0.23)
_TRIES = 20
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing:
    """`outline` and `bbox_xyxy` are float pixels within the image, also where others cover it.

    The outline runs clockwise from its highest point.
    """

    category: str
    colour: str
    material: str
    size: str
    bbox_xyxy: Box
    outline: tuple[float, ...]
    grouped: bool = False


@dataclass(frozen=True)
class Word:
    """`quad` is x, y of the corners, clockwise from the text's own top left."""

    text: str
    quad: tuple[float, ...]
    bbox_xyxy: Box


@dataclass(frozen=True)
class Scene:
    """Things and words stand from left to right (by x0, then y0), whatever covers what."""

    image: Image.Image = field(repr=False, compare=False)
    things: tuple[Thing, ...]
    words: tuple[Word, ...]
    background: str
    texture: str


def draw_scene(seed: int | str, difficulty: float = 0.5) -> Scene:
    """Equal seeds give equal scenes. `difficulty` in [0, 1]: more, smaller, overlapping things."""
    rng = random.Random(f"{seed}/{difficulty}")
    canvas = _Canvas(rng, difficulty)
    for kind, colour, material, size, grouped in _cast(rng, difficulty):
        canvas.add_thing(kind, colour, material, size, grouped)
    for _ in range(rng.choice((0, 1, 1 + round(difficulty)))):
        canvas.add_word()
    return canvas.scene()


def _cast(rng: random.Random, difficulty: float) -> list[tuple[str, str, str, str, bool]]:
    """Kind, colour, material, size and grouped of each thing to draw; kind and colour differ."""
    count = rng.randint(1, 1 + round(6 * difficulty)) if rng.random() > 0.03 else 0
    pairs = rng.sample([(k, c) for k in world.KINDS for c in world.COLOURS], count)
    cast = [(*pair, _material(rng, difficulty), _size(rng, difficulty), False) for pair in pairs]
    if count > 1 and rng.random() < 0.3 * difficulty:
        kind, colour, material, _, _ = cast[0]
        others = [other for other in cast[1:3] if other[0] != kind]
        return [(kind, colour, material, "small", True)] * rng.randint(3, 4) + others
    return cast


def _material(rng: random.Random, difficulty: float) -> str:
    patterned = rng.random() < 0.2 + 0.4 * difficulty
    return rng.choice(("striped", "dotted")) if patterned else "plain"


def _size(rng: random.Random, difficulty: float) -> str:
    return "small" if rng.random() < 0.1 + 0.6 * difficulty else "large"


class _Canvas:
    """The image under way; every random choice comes from `rng` in a fixed order."""

    def __init__(self, rng: random.Random, difficulty: float) -> None:
        self._rng = rng
        self._difficulty = difficulty
        self._size = rng.choice(SIZES)
        self._background = rng.choice(tuple(world.BACKGROUNDS))
        self._texture = rng.choice(world.TEXTURES)
        self._image = paint.background(rng, self._size, self._background, self._texture)
        self._things: list[Thing] = []
        self._words: list[Word] = []

    def add_thing(self, kind: str, colour: str, material: str, size: str, grouped: bool) -> None:
        """Where there is room; nothing after some tries without."""
        low, high = _SMALL if size == "small" else _LARGE
        radius = self._rng.uniform(low, high) * min(self._size)
        degrees = round(self._rng.uniform(-20, 20) * self._difficulty)
        for _ in range(_TRIES):
            polygon = shapes.outline(kind, self._place(radius), radius, degrees)
            visible = shapes.clip(polygon, *self._size)
            if len(visible) >= 3 and self._is_free(shapes.bounds(visible), 0.3 * self._difficulty):
                paint.thing(self._image, polygon, kind, colour, material, self._rng)
                flat = tuple(value for point in shapes.from_top(visible) for value in point)
                self._things.append(
                    Thing(kind, colour, material, size, shapes.bounds(visible), flat, grouped)
                )
                return

    def add_word(self) -> None:
        text = self._rng.choice(world.WORDS)
        style = paint.lettering(self._rng, text, min(self._size), self._difficulty)
        width, height = self._size
        for _ in range(_TRIES):
            left = self._rng.uniform(2, max(3, width - style.width - 2))
            top = self._rng.uniform(2, max(3, height - style.height - 2))
            corner = (round(left), round(top))
            quad = style.quad_at(corner)
            box = shapes.bounds(list(zip(quad[::2], quad[1::2], strict=True)))
            if self._is_free(box, 0.0) and box[2] <= width and box[3] <= height:
                style.print_on(self._image, corner)
                self._words.append(Word(text, quad, box))
                return

    def scene(self) -> Scene:
        return Scene(
            self._image,
            tuple(sorted(self._things, key=lambda thing: thing.bbox_xyxy)),
            tuple(sorted(self._words, key=lambda word: word.bbox_xyxy)),
            self._background,
            self._texture,
        )

    def _place(self, radius: float) -> shapes.Point:
        """A centre; the harder, the more often the border cuts the thing."""
        margin = radius * (0.4 if self._rng.random() < 0.3 * self._difficulty else 1.05)
        width, height = self._size
        return self._rng.uniform(margin, width - margin), self._rng.uniform(margin, height - margin)

    def _is_free(self, box: Box, shared: float) -> bool:
        """Whether box shares at most this part of the smaller of it and any box already there."""
        others = [*(t.bbox_xyxy for t in self._things), *(w.bbox_xyxy for w in self._words)]
        return all(_shared(box, other) <= shared for other in others)


def _shared(a: Box, b: Box) -> float:
    """Intersection over the smaller area."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / min((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b))
