"""Scores of a label from the model's own log-probabilities; None where there is nothing to score.

`position`s are those of the answer's tokens (`grammar`). All probabilities come from raw logits:
before any ban on repeats and before forced tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.boxes import BINS
from stages.florence2.grammar import Instance

WINDOW = 3
"""Bins on either side that the windowed location score counts as the same place."""
LABEL_WEIGHT = 0.5
"""Exponent of the label score in the joint score; the location has the rest."""


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Natural-log probabilities of one answer of T tokens.

    `chosen` (T,): of the token written; `end` (T,): of `</s>` in its place; `locations` (n, 1000):
    of every location token at the n positions in `location_positions`, which is sorted.
    """

    chosen: NDArray[np.float32]
    end: NDArray[np.float32]
    location_positions: NDArray[np.int64]
    locations: NDArray[np.float32]

    def at_locations(self, positions: Sequence[int]) -> NDArray[np.float64]:
        """Rows of `locations` at these positions, each of which holds a location token."""
        rows = np.searchsorted(self.location_positions, np.asarray(positions, dtype=np.int64))
        return self.locations[rows].astype(np.float64)


@dataclass(frozen=True, slots=True)
class TextScores:
    """As the columns of TEXTS."""

    score: float | None
    min_token_score: float | None


@dataclass(frozen=True, slots=True)
class RegionScores:
    """As the columns of REGIONS; `joint` is the location's alone where there is no label."""

    location: float
    windowed_location: float
    spread: float
    label: float | None
    joint: float
    end: float


def text_scores(positions: Sequence[int], tokens: TokenScores) -> TextScores:
    """Mean (geometric) and smallest probability of the tokens of a text."""
    if not positions:
        return TextScores(None, None)
    chosen = tokens.chosen[list(positions)].astype(np.float64)
    return TextScores(float(np.exp(chosen.mean())), float(np.exp(chosen.min())))


def region_scores(instance: Instance, tokens: TokenScores) -> RegionScores:
    """Of one box, quad or polygon set; a label shared by several boxes scores alike in each."""
    bins = np.asarray([bin for part in instance.parts for bin in part], dtype=np.int64)
    chosen = tokens.chosen[list(instance.location_tokens)].astype(np.float64)
    rows = tokens.at_locations(instance.location_tokens)
    windowed = _windowed(rows, bins)
    label = text_scores(instance.label_tokens, tokens).score
    return RegionScores(
        location=float(np.exp(chosen.mean())),
        windowed_location=windowed,
        spread=_spread(rows, bins),
        label=label,
        joint=_joint(label, windowed),
        end=float(np.exp(tokens.end[instance.start])),
    )


def _joint(label: float | None, location: float) -> float:
    return location if label is None else label**LABEL_WEIGHT * location ** (1 - LABEL_WEIGHT)


def _windowed(rows: NDArray[np.float64], bins: NDArray[np.int64]) -> float:
    """Geometric mean over coordinates of the mass within WINDOW bins of the one written."""
    near = np.abs(np.arange(BINS) - bins[:, None]) <= WINDOW
    mass = np.where(near, np.exp(rows), 0).sum(axis=1)
    return float(np.exp(np.log(np.maximum(mass, np.finfo(np.float64).tiny)).mean()).clip(0, 1))


def _spread(rows: NDArray[np.float64], bins: NDArray[np.int64]) -> float:
    """Mean standard deviation of the coordinates, in bins, over the mean side of the bounds.

    A side counts at least one bin, so that a thin box does not divide by zero.
    """
    weights = np.exp(rows - rows.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    places = np.arange(BINS)
    means = weights @ places
    variances = (weights * (places - means[:, None]) ** 2).sum(axis=1)
    sides = [max(1, int(np.ptp(axis))) for axis in (bins[0::2], bins[1::2])]
    return float(np.sqrt(variances).mean() / (sum(sides) / 2))
