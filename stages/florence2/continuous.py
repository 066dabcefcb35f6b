"""Continuous decoding: answers join free slots, step together, and leave when they end."""

from typing import Generic, TypeVar

import numpy as np
import torch

from stages.florence2.beams import NEVER, Rules, step
from stages.florence2.checkpoint import Checkpoint
from stages.florence2.decoder import Decoder
from stages.florence2.scores import TokenScores
from stages.florence2.slots import Slots

ROOM = 64
"""Positions and encoder states are laid out in multiples of so many."""
STEPS_AT_ONCE = 4
"""Steps on a GPU before the host asks which answers have ended, which makes it wait."""

Key = TypeVar("Key")


class ContinuousDecoding(Generic[Key]):
    """Up to `count` answers at a time, each known by the key that it joined with."""

    def __init__(self, checkpoint: Checkpoint, count: int, beams: int, rules: Rules) -> None:
        self.vocabulary = checkpoint.vocabulary
        self.decoder = Decoder(checkpoint)
        self.count = count
        self.rules = rules
        self._slots = Slots.allocate(self.decoder, count, beams, ROOM, ROOM)
        self._keys: list[Key] = []
        self._ages: list[int] = []
        self._tokens: list[int] = []
        self._at_once = 1 if checkpoint.device.type == "cpu" else STEPS_AT_ONCE

    def __len__(self) -> int:
        """How many answers are being decoded."""
        return len(self._keys)

    def clear(self) -> None:
        """Drop all answers."""
        self._keys, self._ages, self._tokens = [], [], []

    @property
    def free(self) -> int:
        """How many answers may join."""
        return self.count - len(self._keys)

    def join(self, key: Key, hidden: torch.Tensor, limit: int) -> None:
        """Begin the answer of at most `limit` tokens to encoder states (tokens, width)."""
        slot, tokens = len(self._keys), len(hidden)
        self._make_room(positions=0, tokens=tokens)
        slots = self._slots
        hidden = hidden.to(self.decoder.weight_dtype)[None]
        for layer, (keys, values) in enumerate(self.decoder.cross(hidden)):
            slots.cross_keys[slot, layer, :, :tokens] = keys[0]
            slots.cross_values[slot, layer, :, :tokens] = values[0]
        slots.tokens[slot], slots.limit[slot] = tokens, limit
        slots.position[slot], slots.active[slot] = 0, True
        slots.open.ids[slot, :, 0] = self.vocabulary.eos
        slots.open.scores[slot], slots.ended.scores[slot] = NEVER, 2 * NEVER
        slots.open.scores[slot, 0] = 0
        self._keys.append(key)
        self._ages.append(0)
        self._tokens.append(tokens)

    def advance(self) -> list[tuple[Key, tuple[int, ...], TokenScores]]:
        """Step all answers on; those that have ended, in no particular order."""
        oldest = max(self._ages) + self._at_once
        self._make_room(positions=oldest, tokens=0)
        view = self._slots.view(len(self._keys), oldest, max(self._tokens))
        for _ in range(self._at_once):
            step(self.decoder, view, self.rules)
        self._ages = [age + self._at_once for age in self._ages]
        active = view.active.tolist()
        ended = [slot for slot, going_on in enumerate(active) if not going_on]
        leaving = [(self._keys[slot], *self._answer(slot)) for slot in ended]
        for slot in reversed(ended):
            self._leave(slot)
        return leaving

    def _leave(self, slot: int) -> None:
        """The last answer moves to the slot that is left, so that there are no holes."""
        last = len(self._keys) - 1
        if slot < last:
            self._slots.move(last, slot)
            self._keys[slot], self._ages[slot] = self._keys[last], self._ages[last]
            self._tokens[slot] = self._tokens[last]
        del self._keys[last], self._ages[last], self._tokens[last]

    def _answer(self, slot: int) -> tuple[tuple[int, ...], TokenScores]:
        slots = self._slots
        best = slots.open if slots.beams == 1 else slots.ended
        ids: list[int] = best.ids[slot, 0, 1:].tolist()
        tokens = ids[: ids.index(self.vocabulary.eos) + 1]
        count = len(tokens)
        bins = [self.vocabulary.bin_of(token) is not None for token in tokens]
        places = np.flatnonzero(bins)
        origin = best.origin[slot, 0, :count]
        rows = torch.arange(count, device=origin.device)
        located = torch.as_tensor(places, device=origin.device)
        return tuple(tokens), TokenScores(
            chosen=best.chosen[slot, 0, :count].cpu().numpy().copy(),
            end=slots.end[slot, rows, origin].cpu().numpy(),
            location_positions=places,
            locations=slots.locations[slot, located, origin[located]].cpu().numpy(),
        )

    def _make_room(self, positions: int, tokens: int) -> None:
        now = self._slots
        if positions <= now.positions and tokens <= now.room:
            return
        self._slots = Slots.allocate(
            self.decoder,
            self.count,
            now.beams,
            _room(max(positions, now.positions)),
            _room(max(tokens, now.room)),
        )
        self._slots.copy_from(now)


def _room(wanted: int) -> int:
    return -(-wanted // ROOM) * ROOM
