"""Continuous decoding: answers join free slots, step together, and leave when they end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from schemas.boxes import BINS
from stages.florence2.beams import Rules
from stages.florence2.checkpoint import Checkpoint
from stages.florence2.decoder import Decoder
from stages.florence2.memory import check_room, slots_that_fit
from stages.florence2.scores import TokenScores
from stages.florence2.slots import Slots, bucket
from stages.florence2.steps import CudaGraphs, Steps

Key = TypeVar("Key")


@dataclass
class _Going(Generic[Key]):
    """An answer in a slot: `tokens` encoder states, at most `age` positions so far."""

    key: Key
    tokens: int
    age: int = 0


class ContinuousDecoding(Generic[Key]):
    """Up to `count` answers at a time, each known by the key that it joined with; without a count
    as many as `slots_that_fit`."""

    def __init__(self, checkpoint: Checkpoint, count: int | None, beams: int, rules: Rules) -> None:
        self.vocabulary = checkpoint.vocabulary
        self.decoder = Decoder(checkpoint, beams)
        self.count = slots_that_fit(self.decoder) if count is None else count
        graphs = CudaGraphs(checkpoint.device) if checkpoint.device.type == "cuda" else None
        self.steps = Steps(self.decoder, rules, graphs)
        self._slots = self._lay_out()
        self._going: dict[int, _Going[Key]] = {}

    def __len__(self) -> int:
        """How many answers are being decoded."""
        return len(self._going)

    @torch.inference_mode()
    def clear(self) -> None:
        """Drop all answers."""
        self._slots.empty(list(self._going))
        self._slots.wipe(list(self._going))
        self._going = {}

    @property
    def free(self) -> int:
        """How many answers may join."""
        return self.count - len(self._going)

    def join(
        self, keys: Sequence[Key], states: Sequence[torch.Tensor], limits: Sequence[int]
    ) -> None:
        """Begin answers of at most so many tokens to encoder states, (tokens, width) each."""
        free = (slot for slot in range(self.count) if slot not in self._going)
        taken = dict(zip(free, map(_Going, keys, map(len, states)), strict=False))
        lengths = [going.tokens for going in taken.values()]
        self._make_room(positions=0, tokens=max(lengths))
        hidden = pad_sequence(list(states), batch_first=True).to(self.decoder.weight_dtype)
        self._slots.begin(list(taken), self.decoder.cross(hidden), lengths, limits)
        self._going |= taken

    def advance(self) -> list[tuple[Key, tuple[int, ...], TokenScores]]:
        """Step all answers on; those that have ended, in no particular order."""
        for going in self._going.values():
            going.age += self.steps.at_once
        used = 1 + max(self._going)
        oldest = max(going.age for going in self._going.values())
        self._make_room(positions=oldest, tokens=0)
        tokens = max(going.tokens for going in self._going.values())
        self.steps.run(self._slots, used, oldest, tokens)
        active = self._slots.active[:used].tolist()
        ended = [slot for slot in sorted(self._going) if not active[slot]]
        if not ended:
            return []
        leaving = [
            (self._going[slot].key, *answer)
            for slot, answer in zip(ended, self._answers(ended), strict=True)
        ]
        self._leave(ended)
        return leaving

    def _leave(self, ended: Sequence[int]) -> None:
        """Unless gaps are stepped anyway, the last answers move into them."""
        before = set(self._going)
        for slot in reversed(ended):
            del self._going[slot]
            last = max(self._going, default=slot)
            if slot < last and not self.steps.every_slot:
                self._slots.move(last, slot)
                self._going[slot] = self._going.pop(last)
        left = sorted(before - set(self._going))
        self._slots.empty(left)
        finite = self._slots.end[left].isfinite().flatten(1).all(dim=1).tolist()
        if broken := [slot for slot, whole in zip(left, finite, strict=True) if not whole]:
            self._slots.wipe(broken)

    def _answers(self, ended: Sequence[int]) -> Iterator[tuple[tuple[int, ...], TokenScores]]:
        """Of these slots. They come over together: a GPU makes the host wait each time."""
        slots = self._slots
        best = slots.open if slots.beams == 1 else slots.ended
        rows = torch.tensor(ended, device=self.decoder.device)
        ids, chosen = best.ids[rows, 0, 1:].cpu().numpy(), best.chosen[rows, 0].cpu().numpy()
        origin = best.origin[rows, 0]
        end = slots.end[rows].gather(2, origin[:, :, None])[:, :, 0].cpu().numpy()
        finite = np.isfinite(end)
        first = ((ids == self.vocabulary.eos) | ~finite).argmax(axis=1)
        # The end counts where it was computed of numbers.
        lengths = first + finite[np.arange(len(first)), first]
        written = np.arange(ids.shape[1]) < lengths[:, None]
        answers, places = np.nonzero(self._is_location(ids) & written)
        a, p = (torch.as_tensor(of, device=origin.device) for of in (answers, places))
        locations = slots.locations[rows[a], p, origin[a, p]].cpu().numpy()
        for number, length in enumerate(lengths.tolist()):
            of_it = answers == number
            yield (
                tuple(ids[number, :length].tolist()),
                TokenScores(
                    chosen=chosen[number, :length].copy(),
                    end=end[number, :length].copy(),
                    location_positions=places[of_it],
                    locations=locations[of_it],
                ),
            )

    def _is_location(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        first = self.vocabulary.first_loc
        return (ids >= first) & (ids < first + BINS)

    def _make_room(self, positions: int, tokens: int) -> None:
        now = self._slots
        if positions <= now.positions and tokens <= now.room:
            return
        wider = bucket(max(positions, now.positions)), bucket(max(tokens, now.room))
        check_room(self.decoder, self.count, *wider)
        self._slots = now.with_room(*wider)

    def _lay_out(self) -> Slots:
        check_room(self.decoder, self.count, bucket(1), bucket(1))
        slots = Slots.allocate(self.decoder, self.count, bucket(1), bucket(1))
        slots.open.ids[:, :, 0] = self.vocabulary.eos
        return slots
