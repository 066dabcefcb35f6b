"""Which token comes next: greedy or beam search over many answers at once, all on tensors.

The rules are those of transformers' `generate` with a length penalty of 1: a candidate that ends
counts only among the best `beams` ones, its score is the mean log-probability of its tokens, and an
answer is done at its limit, or when `beams` candidates have ended: with `early_stopping` at once,
without it as soon as the best open one, ended here, would not be better than the worst of them.
Bans and forced tokens decide which token is taken; the log-probability kept is the model's own.
"""

from dataclasses import dataclass, replace

import torch

from schemas.boxes import BINS
from stages.florence2.decoder import BLOCK, Decoder
from stages.florence2.hypotheses import Hypotheses
from stages.florence2.slots import NEVER, Slots
from stages.florence2.vocabulary import Vocabulary


@dataclass(frozen=True)
class Rules:
    """What the search must know of tokens; `no_repeat_ngram_size` 0 bans nothing."""

    bos: int
    eos: int
    first_loc: int
    no_repeat_ngram_size: int
    early_stopping: bool

    @classmethod
    def of(
        cls, vocabulary: Vocabulary, no_repeat_ngram_size: int = 0, early_stopping: bool = True
    ) -> "Rules":
        """Of a checkpoint."""
        known = vocabulary
        return cls(known.bos, known.eos, known.first_loc, no_repeat_ngram_size, early_stopping)


def step(decoder: Decoder, slots: Slots, rules: Rules) -> None:
    """One more token for every answer in these slots; those that are not active change nothing.

    No shape depends on a value and nothing is read back, so that a CUDA graph can hold the step.
    """
    position = slots.position
    # Where numbers are not finite, what was found best may be no token.
    tokens = slots.last().clamp(max=decoder.words.num_embeddings - 1)
    logits = decoder(tokens, position, slots.attended())
    total = logits.logsumexp(dim=2)
    end = logits[:, :, rules.eos] - total
    rows = torch.arange(len(position), device=position.device)
    slots.end[rows, position] = end
    bins = logits[:, :, rules.first_loc : rules.first_loc + BINS]
    slots.locations[rows, position] = bins - total[:, :, None]
    search = _Search(slots, rules, total, end, begin=logits[:, :, rules.bos] - total)
    if rules.no_repeat_ngram_size:
        _ban_repeats(logits, slots, rules.no_repeat_ngram_size)
    done = search.one_beam(logits) if slots.beams == 1 else search.several_beams(logits)
    position += slots.active
    slots.active.logical_and_(~done)


@dataclass(frozen=True)
class _Search:
    """One step's choice.

    `total`, `end` and `begin` (slots, beams) are the log of the logits' exponentials summed, and
    the log-probabilities of `</s>` and of `<s>`.
    """

    slots: Slots
    rules: Rules
    total: torch.Tensor
    end: torch.Tensor
    begin: torch.Tensor

    def one_beam(self, logits: torch.Tensor) -> torch.Tensor:
        """Greedy: whether the token ends its answer, (slots,)."""
        values, tokens = _best(logits)
        token, chosen = self._forced(tokens, values - self.total)
        found, place = self.slots.open, self.slots.position[:, None, None]
        found.ids.scatter_(2, place + 1, token[:, :, None])
        found.chosen.scatter_(2, place, chosen[:, :, None])
        return self._ends(token)[:, 0] | ~self.end[:, 0].isfinite()

    def several_beams(self, logits: torch.Tensor) -> torch.Tensor:
        """Beam search: whether `beams` answers of a slot have ended, (slots,)."""
        slots, count = self.slots, self.slots.beams
        candidates, tokens = self._candidates(logits)
        ends = self._ends(tokens)
        open = (candidates.scores + ends * NEVER).topk(count)
        mean = candidates.scores[:, :count] / (slots.position + 1)[:, None]
        mean = mean.masked_fill(mean.isnan(), 1.5 * NEVER)  # worse than all others, yet an answer
        just_ended = ends[:, :count] & slots.active[:, None]
        ended = slots.ended.beside(
            replace(candidates.first(count), scores=mean.masked_fill(~just_ended, 2 * NEVER))
        )
        slots.open.become(replace(candidates.pick(open.indices), scores=open.values))
        slots.ended.become(ended.pick(ended.scores.topk(count).indices))
        return self._decided() | self._at_limit()

    def _decided(self) -> torch.Tensor:
        """Whether enough beams have ended, (slots,); both kinds are sorted, the best first."""
        slots = self.slots
        enough = slots.ended.scores[:, -1] > NEVER
        if self.rules.early_stopping:
            return enough
        best_open = slots.open.scores[:, 0] / (slots.position + 1)
        return enough & (best_open <= slots.ended.scores[:, -1])

    def _candidates(self, logits: torch.Tensor) -> tuple[Hypotheses, torch.Tensor]:
        """The best 2 * beams continuations of each slot, best first, and the token of each."""
        slots, count = self.slots, 2 * self.slots.beams
        values, tokens = _best_of_each(logits, count)
        logs = values - self.total[:, :, None]
        token, chosen = self._forced(tokens[:, :, 0], logs[:, :, 0])
        tokens = torch.cat([token[:, :, None], tokens[:, :, 1:]], dim=2)
        kept = torch.cat([chosen[:, :, None], logs[:, :, 1:]], dim=2)
        scores = logs.masked_fill(self._is_forced()[:, None, None], -torch.inf)
        scores[:, :, 0].masked_fill_(self._is_forced()[:, None], 0)
        scores += slots.open.scores[:, :, None]
        best = scores.flatten(1).topk(count)
        parents = best.indices // count
        tokens, kept = (of.flatten(1).gather(1, best.indices) for of in (tokens, kept))
        candidates, place = slots.open.pick(parents), slots.position[:, None, None]
        place = place.expand(-1, count, -1)
        candidates.ids.scatter_(2, place + 1, tokens[:, :, None])
        candidates.chosen.scatter_(2, place, kept[:, :, None])
        candidates.origin.scatter_(2, place, parents[:, :, None])
        return replace(candidates, scores=best.values), tokens

    def _forced(
        self, token: torch.Tensor, chosen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The best token of each beam and its log-probability, or those of the forced one."""
        first, last = (self.slots.position == 0)[:, None], self._at_limit()[:, None]
        token = token.masked_fill(first, self.rules.bos).masked_fill(last, self.rules.eos)
        # A ban has made that of a forced token -inf.
        chosen = torch.where(token == self.rules.eos, self.end, chosen)
        return token, torch.where(first & ~last, self.begin, chosen)

    def _is_forced(self) -> torch.Tensor:
        return (self.slots.position == 0) | self._at_limit()

    def _at_limit(self) -> torch.Tensor:
        return self.slots.position >= self.slots.limit - 1

    def _ends(self, tokens: torch.Tensor) -> torch.Tensor:
        return (tokens == self.rules.eos) | self._at_limit()[:, None]


def _best(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest of each beam's and its token, (slots, beams) each: of equal ones the first.

    As `max` finds them, which takes several times as long to look at a whole vocabulary.
    """
    blocks = logits.unflatten(2, (-1, BLOCK))
    block = blocks.amax(dim=3).max(dim=2, keepdim=True).indices
    best = _at(blocks, block)[:, :, 0].max(dim=2)
    return best.values, block[:, :, 0] * BLOCK + best.indices


def _best_of_each(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` largest of each beam's, largest first, and their tokens, (slots, beams, count).

    They lie in the `count` blocks whose largest ones are largest. Where a ban leaves fewer, logits
    of -inf follow, whose tokens may be none.
    """
    blocks = logits.unflatten(2, (-1, BLOCK))
    block = blocks.amax(dim=3).topk(min(count, blocks.shape[2]), sorted=False).indices
    best = _at(blocks, block).flatten(2).topk(count)
    tokens = block.gather(2, best.indices // BLOCK) * BLOCK + best.indices % BLOCK
    return best.values, tokens


def _at(blocks: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Of (slots, beams, blocks, BLOCK) those at (slots, beams, n)."""
    return blocks.gather(2, chosen[..., None].expand(-1, -1, -1, BLOCK))


def _ban_repeats(logits: torch.Tensor, slots: Slots, size: int) -> None:
    """Every token that would repeat a run of `size` tokens gets the logit -inf, in place."""
    ids, position = slots.open.ids, slots.position[:, None, None]
    if ids.shape[2] < size:
        return
    runs = ids.unfold(2, size, 1)
    last = torch.arange(2 - size, 1, device=ids.device) + position
    last = last.clamp(min=0).expand(-1, slots.beams, -1)
    same = (runs[..., :-1] == ids.gather(2, last)[:, :, None]).all(dim=3)
    whole = torch.arange(size - 1, ids.shape[2], device=ids.device) <= position
    # Not torch.where of two numbers: it copies them to the GPU, which no graph can hold.
    ceiling = torch.full_like(same, torch.inf, dtype=logits.dtype)
    ceiling.masked_fill_(same & whole, -torch.inf)
    logits.scatter_reduce_(2, runs[..., -1], ceiling, "amin")
