"""Answers as far as a search has found them."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Hypotheses:
    """Answers as far as they are found, several beams in each slot.

    `ids` (slots, beams, 1 + positions) begin with the decoder's start token; `chosen` and `origin`
    (slots, beams, positions) are the log-probability of each token and the beam that computed it:
    a beam may continue another's answer. `scores` (slots, beams) are what the search compares.
    """

    ids: torch.Tensor
    chosen: torch.Tensor
    origin: torch.Tensor
    scores: torch.Tensor

    def pick(self, beams: torch.Tensor) -> "Hypotheses":
        """Copies of these beams of each slot, (slots, n)."""

        def rows(of: torch.Tensor) -> torch.Tensor:
            return of.gather(1, beams[:, :, None].expand(-1, -1, of.shape[2]))

        return Hypotheses(
            rows(self.ids), rows(self.chosen), rows(self.origin), self.scores.gather(1, beams)
        )

    def first(self, beams: int) -> "Hypotheses":
        """The first beams of each slot, sharing memory."""
        return Hypotheses(*(tensor[:, :beams] for tensor in tensors(self)))

    def beside(self, others: "Hypotheses") -> "Hypotheses":
        """These beams and then the others'."""
        pairs = zip(tensors(self), tensors(others), strict=True)
        return Hypotheses(*(torch.cat(pair, dim=1) for pair in pairs))

    def become(self, others: "Hypotheses") -> None:
        """Take over the others' values."""
        for mine, theirs in zip(tensors(self), tensors(others), strict=True):
            mine.copy_(theirs)


def tensors(of: Any) -> list[torch.Tensor]:
    """All that lie in a dataclass, in dataclasses and tuples within it, in their order."""
    if isinstance(of, torch.Tensor):
        return [of]
    if not isinstance(of, tuple):
        of = tuple(getattr(of, field.name) for field in dataclasses.fields(of))
    return [tensor for one in of for tensor in tensors(one)]
