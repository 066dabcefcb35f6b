"""A careless annotator: the things of a scene with chosen mistakes in their labels."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from annotator.scenes import world
from annotator.scenes.draw import Box, Scene, Thing

JITTER = 0.25
"""Standard deviation of an edge at noise 1, as a share of the side of the box."""
_FARTHEST = 0.45
"""No edge moves by more of the side, so that no box turns inside out."""


def noisy_things(scene: Scene, noise: float, key: str) -> list[Thing]:
    """The things as a person drew them; equal for equal keys, and the truth itself at noise 0.

    Each thing by itself, with `noise` in [0, 1]:
    - it is left out with probability noise / 2;
    - where it is not, it goes under one of the other kinds with probability noise / 2;
    - each edge of its box moves by a normal deviate of standard deviation noise * JITTER * side
      (the width for x0 and x1, the height for y0 and y1), cut at 0.45 sides and at the border of
      the image; the outline is stretched with the box.

    Nothing is added. More noise keeps the mistakes of less: the same things are left out or renamed
    and more, and edges move the same way, further.
    """
    if noise == 0:
        return list(scene.things)
    return list(_labelled(scene.things, scene.image.size, noise, random.Random(f"noise/{key}")))


def _labelled(
    things: Sequence[Thing], size: tuple[int, int], noise: float, rng: random.Random
) -> Iterator[Thing]:
    for thing in things:
        # All are drawn for every thing, so that one mistake does not shift the next thing's.
        left_out, swapped = (rng.random() < noise / 2 for _ in range(2))
        other = rng.choice([kind for kind in world.KINDS if kind != thing.category])
        deviates = [rng.gauss(0, 1) for _ in range(4)]
        if not left_out:
            box = _moved(thing.bbox_xyxy, [noise * JITTER * d for d in deviates], size)
            category = other if swapped else thing.category
            outline = _stretched(thing.outline, thing.bbox_xyxy, box)
            yield replace(thing, category=category, bbox_xyxy=box, outline=outline)


def _moved(box: Box, shares: Sequence[float], size: tuple[int, int]) -> Box:
    """Each edge by its share of the side it ends."""
    sides = (box[2] - box[0], box[3] - box[1]) * 2
    x0, y0, x1, y1 = (
        min(max(edge + max(-_FARTHEST, min(_FARTHEST, share)) * side, 0.0), limit)
        for edge, share, side, limit in zip(box, shares, sides, size * 2, strict=True)
    )
    return x0, y0, x1, y1


def _stretched(outline: Sequence[float], before: Box, after: Box) -> tuple[float, ...]:
    """x, y, x, y… that lie in the one box as they lay in the other."""
    scales = [(after[i + 2] - after[i]) / (before[i + 2] - before[i]) for i in (0, 1)]
    return tuple(
        after[i % 2] + (value - before[i % 2]) * scales[i % 2] for i, value in enumerate(outline)
    )
