"""Losses of the embedded checkpoint's training: heads that are thrown away, and answers."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from annotator.embedded.batches import GRID, NAMES, GridTruth
from annotator.scenes import world
from annotator.training import IGNORED, Batch, answer_logits
from schemas.boxes import BINS


class VisionHeads(nn.Module):
    """Read from each visual token what lies there, in the language model's own embeddings.

    A linear map per question, then the embeddings of the words and location tokens that could be
    the answer: what the vision tower learns to say is what the decoder will have to write.
    """

    def __init__(self, width: int, tokenizer: Any) -> None:
        super().__init__()
        self.center = nn.Linear(width, 1)
        self.words = nn.ModuleDict({name: nn.Linear(width, width) for name in _WORD_TABLES})
        self.sides = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        for name, table in _WORD_TABLES.items():
            ids = [_word_id(tokenizer, word) for word in table]
            self.register_buffer(f"ids_{name}", torch.tensor(ids), persistent=False)
        self.first_location = tokenizer.convert_tokens_to_ids("<loc_0>")

    def forward(
        self, features: Tensor, embeddings: Tensor, truth: GridTruth, smoothing: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Loss, and shares of right answers; `features` without the pooled token."""
        center = self.center(features).squeeze(-1)
        loss = nn.functional.binary_cross_entropy_with_logits(
            center, truth.center.float(), pos_weight=center.new_tensor(5.0)
        )
        figures = {}
        for name, head in self.words.items():
            there = (labels := getattr(truth, name)) >= 0
            logits = head(features[there]) @ embeddings[getattr(self, f"ids_{name}")].T
            loss = loss + _SHARES[name] * nn.functional.cross_entropy(logits, labels[there])
            figures[name] = (logits.argmax(-1) == labels[there]).float().mean().item()
        there = truth.names >= 0
        seen, bins = features[there], truth.boxes[there]
        locations = embeddings[self.first_location : self.first_location + BINS]
        off = []
        for side, head in enumerate(self.sides):
            logits = (head(seen) @ locations.T).log_softmax(-1)
            loss = loss - (smoothing[bins[:, side]] * logits).sum(-1).mean() / 4
            off.append((logits.argmax(-1) - bins[:, side]).abs().float().median().item())
        figures["bins_off"] = sum(off) / 4
        return loss, figures


_WORD_TABLES = {
    "names": NAMES,
    "colours": tuple(world.COLOURS),
    "materials": world.MATERIALS,
    "sizes": world.SIZES,
}

_SHARES = {"names": 2.0, "colours": 1.0, "materials": 3.0, "sizes": 1.0}
"""Patterns and printed words are the last that the vision tower learns."""


def _word_id(tokenizer: Any, word: str) -> int:
    """The token of the word within a sentence; the first one of several."""
    first: int = tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0]
    return first


def neighbours(sigma: float) -> Tensor:
    """BINS x BINS: the share of each bin that its neighbours get as targets."""
    bins = torch.arange(BINS, dtype=torch.float32)
    if sigma <= 0:
        return torch.eye(BINS)
    weights = torch.exp(-((bins[:, None] - bins[None, :]) ** 2) / (2 * sigma**2))
    return weights / weights.sum(1, keepdim=True)


def order_places(model: Any, first_location: int) -> None:
    """Start location tokens and image positions as points on smooth curves: near is alike.

    With random points each of the thousand bins would have to be learned by itself.
    """
    table = model.get_input_embeddings().weight
    position = model.model.multi_modal_projector.image_position_embed
    bins = (torch.arange(BINS) + 0.5) / BINS
    cells = (torch.arange(GRID) + 0.5) / GRID
    with torch.no_grad():
        table[first_location : first_location + BINS] = 0.1 * _curve(bins, table.shape[1], 40)
        for side in (position.row_embeddings.weight, position.column_embeddings.weight):
            side[:GRID] = 0.5 * _curve(cells, side.shape[1], GRID)


def _curve(places: Tensor, width: int, fastest: float) -> Tensor:
    """places x width: waves from a half to `fastest` half-turns over [0, 1]."""
    waves = torch.logspace(math.log10(0.5), math.log10(fastest), width // 2)
    angles = math.pi * places[:, None] * waves[None]
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


@torch.no_grad()
def take_over(model: Any, tokenizer: Any, checkpoint: Path) -> None:
    """Weights of a trained checkpoint; its words find their places in this tokenizer's order."""
    trained: Any = Florence2ForConditionalGeneration.from_pretrained(checkpoint)
    table = model.get_input_embeddings().weight.clone()
    rows = trained.get_input_embeddings().weight
    their_ids = AutoProcessor.from_pretrained(checkpoint).tokenizer.get_vocab()
    for word, place in tokenizer.get_vocab().items():
        if word in their_ids:
            table[place] = rows[their_ids[word]]
    ours = model.state_dict()
    weights = {k: v for k, v in trained.state_dict().items() if v.shape == ours[k].shape}
    model.load_state_dict(weights, strict=False)
    model.get_input_embeddings().weight.copy_(table)


def answer_loss(
    model: Any,
    features: Tensor,
    batch: Batch,
    smoothing: Tensor,
    weights: Tensor,
    first_location: int,
) -> tuple[Tensor, Tensor]:
    """Sums of the weighted loss and of the weights, over the tokens of the answers.

    `weights` has one number per token of the vocabulary: words that the image does not decide
    count for little. An answer counts as the root of its length, or the short ones, such as the
    empty answer about what is not there, would be lost among polygons.
    """
    there = batch.labels != IGNORED
    lengths = there.sum(1, keepdim=True).float()
    logits = answer_logits(model, features, batch)[there].log_softmax(-1)
    labels = batch.labels[there]
    first = first_location
    is_location = (labels >= first) & (labels < first + BINS)
    loss = -logits.gather(1, labels[:, None]).squeeze(1)
    soft = smoothing[labels[is_location] - first]
    loss = loss.masked_scatter(
        is_location, -(soft * logits[is_location, first : first + BINS]).sum(-1)
    )
    shares = weights[labels] * lengths.rsqrt().expand_as(there)[there]
    return (loss * shares).sum(), shares.sum()
