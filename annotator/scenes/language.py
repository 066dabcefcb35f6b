"""What can be said of a scene: captions of three levels with the spans of their phrases."""

from collections.abc import Sequence
from dataclasses import dataclass

from annotator.scenes import world
from annotator.scenes.draw import Box, Scene, Thing, Word


@dataclass(frozen=True)
class Phrase:
    """Characters [start, end) of the caption speak of these boxes."""

    start: int
    end: int
    bboxes_xyxy: tuple[Box, ...]


@dataclass(frozen=True)
class Caption:
    """A caption's `level` is one of `brief`, `detailed`, `more_detailed`."""

    level: str
    text: str
    phrases: tuple[Phrase, ...]


def captions(scene: Scene) -> tuple[Caption, Caption, Caption]:
    """Brief, detailed and more detailed."""
    return brief_caption(scene), detailed_caption(scene), more_detailed_caption(scene)


def brief_caption(scene: Scene) -> Caption:
    """`A red circle and a blue star.`"""
    text = _Text()
    mentions = _mentions(scene)
    for i, things in enumerate(mentions):
        text.add(_joint(i, len(mentions)))
        text.phrase(_noun_phrase(things, text.at_start, full=False), things)
    if not mentions:
        text.add("An empty scene")
    return text.caption("brief")


def detailed_caption(scene: Scene) -> Caption:
    """`The image shows a large striped red circle at the left and the word STOP at the top.`"""
    text = _Text()
    text.add("The image shows ")
    mentions: list[Sequence[Thing | Word]] = [*_mentions(scene), *([word] for word in scene.words)]
    for i, named in enumerate(mentions):
        text.add(_joint(i, len(mentions)))
        text.phrase(_name(named), named)
        text.add(f" at the {place(named, scene)}")
    if not mentions:
        text.add("an empty scene")
    text.add(f" on a {scene.background} background")
    return text.caption("detailed")


def more_detailed_caption(scene: Scene) -> Caption:
    """One sentence on the background, then one on each thing and word."""
    text = _Text()
    text.add(f"The background is {scene.background} and {scene.texture}.")
    for things in _mentions(scene):
        text.add(" There is ")
        text.phrase(_name(things), things)
        text.add(f" at the {place(things, scene)}.")
    for word in scene.words:
        text.add(" There is ")
        text.phrase(_name([word]), [word])
        text.add(f" at the {place([word], scene)}.")
    return text.caption("more_detailed", stop="")


def describe(thing: Thing) -> str:
    """`large striped red circle`; plain is not said."""
    material = "" if thing.material == "plain" else f"{thing.material} "
    return f"{thing.size} {material}{thing.colour} {thing.category}"


def place(named: Sequence[Thing | Word], scene: Scene) -> str:
    """Which ninth of the image the middle of their common box lies in."""
    width, height = scene.image.size
    x0, y0, x1, y1 = _around(named)
    column = min(2, int(3 * (x0 + x1) / 2 / width))
    row = min(2, int(3 * (y0 + y1) / 2 / height))
    return world.PLACES[row][column]


def expressions(scene: Scene) -> list[tuple[str, Thing]]:
    """Referring expressions that fit exactly one thing of the scene."""
    found = []
    for thing in scene.things:
        if thing.grouped:
            continue
        found.append((f"the {thing.colour} {thing.category}", thing))
        same = [other for other in scene.things if other.category == thing.category]
        if len(same) == 1:
            found.append((f"the {thing.category}", thing))
        elif thing is same[0]:
            found.append((f"the leftmost {thing.category}", thing))
    return found


def plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _mentions(scene: Scene) -> list[Sequence[Thing]]:
    """Each thing by itself, a group once, from left to right."""
    group = [thing for thing in scene.things if thing.grouped]
    return [
        group if thing.grouped else [thing]
        for thing in scene.things
        if not thing.grouped or thing is group[0]
    ]


def _name(named: Sequence[Thing | Word]) -> str:
    first = named[0]
    if isinstance(first, Word):
        return f"the word {first.text}"
    return _noun_phrase([thing for thing in named if isinstance(thing, Thing)], False, full=True)


def _noun_phrase(things: Sequence[Thing], capital: bool, *, full: bool) -> str:
    first = things[0]
    words = describe(first) if full else f"{first.colour} {first.category}"
    if first.grouped:
        phrase = f"a group of {plural(words)}"
    else:
        phrase = f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
    return phrase[0].upper() + phrase[1:] if capital else phrase


def _joint(position: int, count: int) -> str:
    if position == 0:
        return ""
    return " and " if position == count - 1 else ", "


def _around(named: Sequence[Thing | Word]) -> Box:
    boxes = [one.bbox_xyxy for one in named]
    lows, highs = [box[:2] for box in boxes], [box[2:] for box in boxes]
    x0, y0 = (min(values) for values in zip(*lows, strict=True))
    x1, y1 = (max(values) for values in zip(*highs, strict=True))
    return x0, y0, x1, y1


class _Text:
    """Text under way, with the spans of its phrases."""

    def __init__(self) -> None:
        self._text = ""
        self._phrases: list[Phrase] = []

    @property
    def at_start(self) -> bool:
        return not self._text

    def add(self, words: str) -> None:
        self._text += words

    def phrase(self, words: str, named: Sequence[Thing | Word]) -> None:
        start = len(self._text)
        self.add(words)
        boxes = tuple(one.bbox_xyxy for one in named)
        self._phrases.append(Phrase(start, len(self._text), boxes))

    def caption(self, level: str, stop: str = ".") -> Caption:
        return Caption(level, self._text + stop, tuple(self._phrases))
