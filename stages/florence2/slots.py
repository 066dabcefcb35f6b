"""The memory of answers being decoded: tensors laid out beforehand, one slot for each answer."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from schemas.boxes import BINS
from stages.florence2.decoder import Attended, Cache, Decoder
from stages.florence2.hypotheses import Hypotheses, tensors

BUCKET = 64
"""Positions and encoder states are laid out in multiples of so many."""
NEVER = -1e9
"""The score of what is not to be chosen while anything else is left, as in transformers."""


def bucket(wanted: int) -> int:
    """The least multiple of BUCKET that holds as many."""
    return -(-wanted // BUCKET) * BUCKET


@dataclass(frozen=True)
class Slots:
    """Every tensor's first dimension is the slot; a slot holds one request's answer.

    `caches` are what each layer looks back on; of the encoder states it is the first `tokens`
    (slots,). `position` (slots,) is how many tokens the answer has, `limit` how many it may have;
    `active` where it has not ended. `ended` holds the answers that have, `open` those that have
    not. `end` (slots, positions, beams) is the log-probability of `</s>`, `locations` (slots,
    positions, beams, bins) that of the location tokens.
    """

    caches: tuple[Cache, ...]
    tokens: torch.Tensor
    position: torch.Tensor
    limit: torch.Tensor
    active: torch.Tensor
    end: torch.Tensor
    locations: torch.Tensor
    open: Hypotheses
    ended: Hypotheses

    @classmethod
    def allocate(cls, decoder: Decoder, count: int, positions: int, tokens: int) -> "Slots":
        """Zeroed: a masked place is multiplied by 0, and 0 times rubbish may be NaN.

        For that reason an empty slot too looks at one encoder state.
        """
        device, heads, width = decoder.device, decoder.heads, decoder.head_width
        beams, attention = decoder.beams, decoder.attention

        def states(turned: bool, *places: int) -> torch.Tensor:
            """Laid out as the attention wants them."""
            shape = (width, *places) if turned else (*places, width)
            made = torch.zeros(count, heads, *shape, dtype=decoder.dtype, device=device)
            return made.movedim(2, -1) if turned else made

        def numbers(*shape: int) -> torch.Tensor:
            return torch.zeros(count, *shape, device=device)

        def counts(*shape: int) -> torch.Tensor:
            return torch.zeros(count, *shape, dtype=torch.long, device=device)

        def hypotheses() -> Hypotheses:
            return Hypotheses(
                ids=counts(beams, 1 + positions),
                chosen=numbers(beams, positions),
                origin=counts(beams, positions),
                scores=numbers(beams),
            )

        caches = (
            Cache(
                keys=states(attention.keys_turned, positions, beams),
                values=states(attention.values_turned, positions, beams),
                cross_keys=states(attention.keys_turned, tokens),
                cross_values=states(attention.values_turned, tokens),
            )
            for _ in decoder.layers
        )
        return cls(
            caches=tuple(caches),
            tokens=counts() + 1,
            position=counts(),
            limit=counts(),
            active=torch.zeros(count, dtype=torch.bool, device=device),
            end=numbers(positions, beams),
            locations=numbers(positions, beams, BINS),
            open=hypotheses(),
            ended=hypotheses(),
        )

    @property
    def beams(self) -> int:
        """How many answers of each slot are followed."""
        return self.open.ids.shape[1]

    @property
    def positions(self) -> int:
        """How long an answer there is room for."""
        return self.end.shape[1]

    @property
    def room(self) -> int:
        """How many encoder states there is room for."""
        return self.caches[0].cross_keys.shape[2]

    def view(self, count: int, positions: int, tokens: int) -> "Slots":
        """The first slots, positions and encoder states, sharing memory."""

        def hypotheses(of: Hypotheses) -> Hypotheses:
            return Hypotheses(
                of.ids[:count, :, : 1 + positions],
                of.chosen[:count, :, :positions],
                of.origin[:count, :, :positions],
                of.scores[:count],
            )

        caches = (
            Cache(
                of.keys[:count, :, :positions],
                of.values[:count, :, :positions],
                of.cross_keys[:count, :, :tokens],
                of.cross_values[:count, :, :tokens],
            )
            for of in self.caches
        )
        return Slots(
            caches=tuple(caches),
            tokens=self.tokens[:count],
            position=self.position[:count],
            limit=self.limit[:count],
            active=self.active[:count],
            end=self.end[:count, :positions],
            locations=self.locations[:count, :positions],
            open=hypotheses(self.open),
            ended=hypotheses(self.ended),
        )

    def with_room(self, positions: int, tokens: int) -> "Slots":
        """These answers with room for so many positions and encoder states, no fewer than now.

        What need not grow is shared with these slots, which are not to be used any more.
        """

        def hypotheses(of: Hypotheses) -> Hypotheses:
            return Hypotheses(
                _widened(of.ids, 2, 1 + positions),
                _widened(of.chosen, 2, positions),
                _widened(of.origin, 2, positions),
                of.scores,
            )

        caches = (
            Cache(
                _widened(of.keys, 2, positions),
                _widened(of.values, 2, positions),
                _widened(of.cross_keys, 2, tokens),
                _widened(of.cross_values, 2, tokens),
            )
            for of in self.caches
        )
        return dataclasses.replace(
            self,
            caches=tuple(caches),
            end=_widened(self.end, 1, positions),
            locations=_widened(self.locations, 1, positions),
            open=hypotheses(self.open),
            ended=hypotheses(self.ended),
        )

    def begin(
        self,
        slots: Sequence[int],
        cross: Sequence[torch.Tensor],
        tokens: Sequence[int],
        limits: Sequence[int],
    ) -> None:
        """Answers in these slots; `cross` as `Decoder.cross`, `tokens` how many of each count."""
        rows, lengths, longest = (
            torch.tensor(numbers, device=self.tokens.device) for numbers in (slots, tokens, limits)
        )
        for cache, (keys, values) in zip(self.caches, cross, strict=True):
            cache.cross_keys[rows, :, : keys.shape[2]] = keys
            cache.cross_values[rows, :, : values.shape[2]] = values
        self.tokens[rows], self.limit[rows] = lengths, longest
        self.position[rows], self.active[rows] = 0, True
        self.open.scores[rows], self.ended.scores[rows] = NEVER, 2 * NEVER
        self.open.scores[rows, 0] = 0

    def empty(self, slots: Sequence[int]) -> None:
        """Make these slots such as may be stepped without an answer in them."""
        rows = torch.tensor(slots, dtype=torch.long, device=self.tokens.device)
        self.position[rows], self.active[rows] = 0, False

    def wipe(self, slots: Sequence[int]) -> None:
        """Zero what answers left that met numbers that are not finite: a masked place is multiplied
        by 0, and 0 times NaN is NaN."""
        rows = torch.tensor(slots, dtype=torch.long, device=self.tokens.device)
        for tensor in (*tensors(self.caches), self.end):
            tensor[rows] = 0

    def move(self, source: int, target: int) -> None:
        """Copy one slot's answer over another's."""
        for tensor in tensors(self):
            tensor[target] = tensor[source]

    def last(self) -> torch.Tensor:
        """The last token of each beam, (slots, beams)."""
        place = self.position[:, None, None].expand(-1, self.beams, -1)
        return self.open.ids.gather(2, place)[:, :, 0]

    def attended(self) -> Attended:
        """What the next step looks back on, itself included."""
        device, dtype = self.tokens.device, self.caches[0].keys.dtype
        beams = torch.arange(self.beams, device=device)
        places = torch.arange(self.positions, device=device)
        now = self.position[:, None, None, None]
        seen = (self.open.origin[..., None] == beams) & (places[:, None] < now)
        seen |= (places[:, None] == now) & (beams[:, None, None] == beams)
        words = torch.arange(self.room, device=device) < self.tokens[:, None]
        return Attended(
            caches=self.caches,
            mask=_additive(seen.flatten(2)[:, None], dtype),
            cross_mask=_additive(words[:, None, None], dtype),
        )


def _additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    hidden = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return hidden.masked_fill_(~seen, -torch.inf)


def _widened(of: torch.Tensor, place: int, size: int) -> torch.Tensor:
    """With zeros up to so much room in one dimension, laid out in memory as before."""
    if of.shape[place] == size:
        return of
    shape = [*of.shape[:place], size, *of.shape[place + 1 :]]
    order = sorted(range(of.ndim), key=of.stride, reverse=True)
    wider = torch.empty_permuted(shape, order, dtype=of.dtype, device=of.device)
    wider.narrow(place, 0, of.shape[place]).copy_(of)
    wider.narrow(place, of.shape[place], size - of.shape[place]).zero_()
    return wider
