"""Attention of the vision tower and the encoder as a CPU does it best: by products of matrices."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface

from stages.florence2.packed import product

PRODUCTS = "annotator_products"
"""What transformers knows `attend` by."""


def attend(
    _: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float,
    **_options: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers asks of an attention: (n, heads, places, width) to (n, places, heads,
    width). There is no mask, which transformers keeps from an attention of ours: prompts must be
    given one at a time.
    """
    # A layer makes queries, keys and values of a place together, so of all that is attended to only
    # the numbers of one channel, the vision tower's, do not lie side by side.
    if query.stride(3) != 1:
        return _over_channels(query, key, value, scaling), None
    if query.dtype is torch.bfloat16:
        return _by_products(query, key, value, scaling), None
    if len(query) == 1:
        return _by_head(query[0], key[0], value[0], scaling)[None], None
    found = functional.scaled_dot_product_attention(query, key, value, scale=scaling)
    return found.transpose(1, 2).contiguous(), None


def _over_channels(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Of the vision tower's channels, whose width are the places of the image: what lies side by
    side in memory are the channels, and stays so."""
    queries, keys, values = (of.mT.flatten(0, 1).contiguous() for of in (query, key, value))
    logits = torch.baddbmm(query.new_zeros(1), queries.mT, keys, beta=0, alpha=scaling)
    found: torch.Tensor = torch.bmm(values, logits.softmax(dim=2).mT)
    return found.view(*query.shape[:2], *values.shape[1:]).permute(0, 3, 1, 2)


def _by_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> torch.Tensor:
    """For bfloat16, where torch's fused attention takes half as long again."""
    queries, keys, values = (of.flatten(0, 1) for of in (query, key, value))
    logits = torch.baddbmm(query.new_zeros(1), queries, keys.mT, beta=0, alpha=scaling)
    found = torch.bmm(logits.softmax(dim=2), values)
    return found.view(query.shape).transpose(1, 2).contiguous()


def _by_head(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> torch.Tensor:
    """For few large matrices in float32, of (heads, places, width). oneDNN takes one at a time: it
    multiplies faster than what torch uses in float32 on some CPUs, and what a head compares stays
    near the processor."""
    heads = zip(query * scaling, key.contiguous(), value.mT.contiguous(), strict=True)
    found = [product(product(q, k).softmax(dim=1), v) for q, k, v in heads]
    return torch.stack(found, dim=1)


def use_products(module: Any) -> None:
    """Let a copy of the vision tower or of BART's encoder `attend` so, unless another attention is
    asked for than transformers' usual one."""
    if module.config._attn_implementation == "sdpa":
        AttentionInterface.register(PRODUCTS, attend)
        module.config._attn_implementation = PRODUCTS
