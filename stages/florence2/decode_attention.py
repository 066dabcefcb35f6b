"""How a step of the decoder looks back: one query of each beam, on keys and values of a slot."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch.nn import functional

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes queries (slots, beams, heads, head width), keys and values (slots, heads, places, head
width), and a mask (slots, 1, beams or 1, places) that is added; gives (slots, beams, width)."""
AVX512 = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""What OpenBLAS calls the kernels with AVX-512, on any maker's processor."""


@dataclass(frozen=True)
class DecodeAttention:
    """One way, and how it wants keys and values to lie in memory: turned is with the places beside
    one another, not the numbers of a place."""

    attend: Attend
    keys_turned: bool = False
    values_turned: bool = False


def attention_for(device: torch.device, beams: int) -> DecodeAttention:
    """The fastest there. On a CPU torch's fused attention, which is made for many queries, takes
    half as long again as products, or more."""
    if device.type != "cpu":
        return FUSED
    # Torch shares the heads out among threads, NumPy does not.
    if beams > 1 and torch.get_num_threads() == 1 and is_fast_at_few_rows():
        return BY_ROWS
    return BY_COLUMNS


def _by_columns(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """By products with a column for each beam, which read keys and values nearly as fast as can be
    where there is one."""
    slots, beams, heads, width = query.shape
    # A column is a row turned, and no view of (…, 1): MKL has a fast way for the former only.
    rows = (query * width**-0.5).transpose(1, 2).reshape(slots * heads, beams, width)
    logits = torch.bmm(keys.flatten(0, 1), rows.mT).mT.unflatten(0, (slots, heads))
    weights = logits.contiguous().add_(mask).softmax(dim=3).flatten(0, 1)
    found = torch.bmm(values.flatten(0, 1).mT, weights.mT).mT
    return found.reshape(slots, heads, beams, width).transpose(1, 2).flatten(2)


def _by_rows(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """By NumPy's products with a row for each beam, two thirds of the time of columns."""
    slots, beams, heads, width = query.shape
    rows = (query * width**-0.5).transpose(1, 2)
    logits = query.new_empty(slots, heads, beams, keys.shape[2])
    np.matmul(rows.numpy(), keys.mT.numpy(), out=logits.numpy())
    weights = logits.add_(mask).softmax(dim=3)
    found = query.new_empty(slots, heads, beams, width)
    np.matmul(weights.numpy(), values.numpy(), out=found.numpy())
    return found.transpose(1, 2).flatten(2)


@cache
def is_fast_at_few_rows() -> bool:
    """Whether there is an OpenBLAS that uses AVX-512, for which it has kernels of their own for few
    rows; NumPy is taken to use it. Its other kernels take longer than MKL."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:  # the engine works with torch, transformers, numpy and Pillow alone
        return False
    with warnings.catch_warnings(action="ignore"):
        return any(library.get("architecture") in AVX512 for library in threadpool_info())


def _fused(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    found = functional.scaled_dot_product_attention(
        query.transpose(1, 2), keys, values, attn_mask=mask
    )
    return found.transpose(1, 2).flatten(2)


BY_COLUMNS = DecodeAttention(_by_columns, values_turned=True)
BY_ROWS = DecodeAttention(_by_rows, keys_turned=True)
FUSED = DecodeAttention(_fused)
