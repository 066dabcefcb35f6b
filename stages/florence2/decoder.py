"""The decoder's weights and one step of it, on a cache that is laid out before decoding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from stages.florence2.checkpoint import Checkpoint
from stages.florence2.decode_attention import Attend, attention_for
from stages.florence2.packed import PackedLinear, can_pack

BLOCK = 64
"""Logits are made in multiples of so many."""


@dataclass(frozen=True)
class Cache:
    """What one layer looks back on in every slot.

    `keys` and `values` (slots, heads, positions, beams, head width) are of the answer, `cross_…`
    (slots, heads, tokens, head width) of the encoder states, which the beams share.
    """

    keys: torch.Tensor
    values: torch.Tensor
    cross_keys: torch.Tensor
    cross_values: torch.Tensor


@dataclass(frozen=True)
class Attended:
    """What a step looks back on, by layer.

    `mask` (slots, 1, beams, positions * beams) and `cross_mask` (slots, 1, 1, tokens) are added to
    the attention's logits.
    """

    caches: Sequence[Cache]
    mask: torch.Tensor
    cross_mask: torch.Tensor


class Decoder(nn.Module):
    """BART's decoder and output layer with the checkpoint's weights, for so many beams.

    Half-precision weights work on the CPU with float32 states and cache, which is faster there
    than half-precision attention, and more exact.
    """

    def __init__(self, checkpoint: Checkpoint, beams: int) -> None:
        super().__init__()
        model, device = checkpoint.model, checkpoint.device
        self.device, self.beams = device, beams
        self.attention = attention_for(device, beams)
        theirs = model.model.language_model.decoder
        weights = model.lm_head.weight.dtype
        self.weight_dtype = weights
        halved = weights in (torch.bfloat16, torch.float16)
        self.dtype = torch.float32 if halved and device.type == "cpu" else weights
        self.heads: int = theirs.layers[0].self_attn.num_heads
        self.head_width: int = theirs.layers[0].self_attn.head_dim
        self.words = theirs.embed_tokens
        positions = theirs.embed_positions
        self.places = positions.weight.detach()[positions.offset :]
        self.norm = _Norm(theirs.layernorm_embedding, self.dtype)
        packed = can_pack(weights, device)
        layers = [_Layer(layer, self.dtype, packed) for layer in theirs.layers]
        self.layers: Sequence[_Layer] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.head = _Linear([_filled(model.lm_head)], packed)

    def forward(
        self, tokens: torch.Tensor, positions: torch.Tensor, attended: Attended
    ) -> torch.Tensor:
        """Logits in float32, shape (slots, beams, vocabulary), up to a multiple of BLOCK with -inf.

        `tokens` (slots, beams) stand at `positions` (slots,), where their keys and values are
        written into `attended`.
        """
        states = (self.words(tokens) + self.places[positions][:, None]).to(self.dtype)
        states = self.norm(states)
        for layer, cache in zip(self.layers, attended.caches, strict=True):
            states = layer(states, positions, cache, attended, self.attention.attend)
        logits: torch.Tensor = self.head(states)
        return logits.float()

    def cross(self, hidden: torch.Tensor) -> list[torch.Tensor]:
        """Of each layer, keys and values of encoder states, (2, n, heads, tokens, head width)."""
        return [layer.cross(hidden).to(self.dtype) for layer in self.layers]


class _Layer(nn.Module):
    def __init__(self, layer: Any, dtype: torch.dtype, packed: bool) -> None:
        super().__init__()
        own, cross = layer.self_attn, layer.encoder_attn
        self.shape = (own.num_heads, own.head_dim)
        self.own = _Linear([own.q_proj, own.k_proj, own.v_proj], packed)
        self.own_out = _Linear([own.out_proj], packed)
        self.own_norm = _Norm(layer.self_attn_layer_norm, dtype)
        self.query = _Linear([cross.q_proj], packed)
        self.key_value = _Linear([cross.k_proj, cross.v_proj], packed)
        self.cross_out = _Linear([cross.out_proj], packed)
        self.cross_norm = _Norm(layer.encoder_attn_layer_norm, dtype)
        self.inner, self.outer = _Linear([layer.fc1], packed), _Linear([layer.fc2], packed)
        self.activation = layer.activation_fn
        self.norm = _Norm(layer.final_layer_norm, dtype)

    def forward(
        self,
        states: torch.Tensor,
        positions: torch.Tensor,
        cache: Cache,
        attended: Attended,
        attend: Attend,
    ) -> torch.Tensor:
        slots, beams, _ = states.shape
        query, key, value = self.own(states).view(slots, beams, 3, *self.shape).unbind(2)
        rows = torch.arange(slots, device=states.device)
        for known, new in ((cache.keys, key), (cache.values, value)):
            known[rows, :, positions] = new.transpose(1, 2)
        found = attend(query, cache.keys.flatten(2, 3), cache.values.flatten(2, 3), attended.mask)
        states = self.own_norm(states + self.own_out(found))
        query = self.query(states).view(slots, beams, *self.shape)
        found = attend(query, cache.cross_keys, cache.cross_values, attended.cross_mask)
        states = self.cross_norm(states + self.cross_out(found))
        inner = self.activation(self.inner(states))
        normed: torch.Tensor = self.norm(states + self.outer(inner))
        return normed

    def cross(self, hidden: torch.Tensor) -> torch.Tensor:
        n, tokens, _ = hidden.shape
        both: torch.Tensor = self.key_value(hidden).view(n, tokens, 2, *self.shape)
        return both.permute(2, 0, 3, 1, 4)


class _Norm(nn.Module):
    """A layer norm in the states' precision, whatever the weights' is."""

    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape, self.eps = norm.normalized_shape, norm.eps
        self.weight, self.bias = norm.weight.detach().to(dtype), norm.bias.detach().to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


class _Linear(nn.Module):
    """Linear layers of one input as one, in their own precision between states in another."""

    def __init__(self, linears: Sequence[nn.Linear], packed: bool) -> None:
        super().__init__()
        joined = linears[0] if len(linears) == 1 else _join(linears)
        self.dtype = joined.weight.dtype
        self.linear = PackedLinear(joined) if packed else joined

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = self.linear(x.to(self.dtype)).to(x.dtype)
        return product


def _filled(head: nn.Linear) -> nn.Linear:
    """A copy, up to a multiple of BLOCK with outputs that are -inf."""
    more = -head.out_features % BLOCK
    return _linear(
        functional.pad(head.weight.detach(), (0, 0, 0, more)),
        functional.pad(head.weight.new_zeros(head.out_features), (0, more), value=-torch.inf),
    )


def _join(linears: Sequence[nn.Linear]) -> nn.Linear:
    weight = torch.cat([linear.weight.detach() for linear in linears])
    bias = torch.cat([linear.bias.detach() for linear in linears])
    return _linear(weight, bias)


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    made.weight = nn.Parameter(weight, requires_grad=False)
    made.bias = nn.Parameter(bias, requires_grad=False)
    return made
