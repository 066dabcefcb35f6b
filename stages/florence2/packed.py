"""Layers as a CPU runs them best: linear ones whose weights oneDNN has laid out beforehand, on many
CPUs twice as fast, and attention by products in bfloat16."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface
from transformers.activations import GELUActivation

PRODUCTS = "annotator_products"
"""What transformers knows `attend_by_products` by."""


class PackedLinear(nn.Module):
    """Does what the `nn.Linear` it is made of does, for inference on the CPU.

    With `activation` "gelu" what follows it too, without another pass over the memory.
    """

    def __init__(self, linear: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self.bias, self.activation = linear.bias, activation
        # A private operation of torch: `can_pack` tries it before anything relies on it.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(
            linear.weight.detach().contiguous(), None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (…, features in) to (…, features out)."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self.bias, self.activation, [], "none"
        )
        return product


@torch.inference_mode()
def can_pack(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the packed product is there and right, by trial."""
    if device.type != "cpu" or dtype not in (torch.float32, torch.bfloat16):
        return False
    random = torch.Generator().manual_seed(0)
    linear = nn.Linear(64, 96).to(dtype)
    x = torch.randn(2, 17, 64, generator=random).to(dtype)
    try:
        ours, active = PackedLinear(linear)(x), PackedLinear(linear, "gelu")(x)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    near = 1e-5 if dtype is torch.float32 else 0.05
    theirs = linear(x)
    return torch.allclose(ours, theirs, atol=near) and torch.allclose(
        active, functional.gelu(theirs), atol=near
    )


def pack(module: Any) -> None:
    """Replace every `nn.Linear` inside this module, which is the caller's own copy."""
    for parent in list(module.modules()):
        # The vision tower's blocks and BART's layers name theirs alike.
        if isinstance(getattr(parent, "activation_fn", None), GELUActivation):
            parent.fc1, parent.activation_fn = PackedLinear(parent.fc1, "gelu"), nn.Identity()
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child))


def attend_by_products(
    _: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float,
    **_options: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers asks of an attention: (1, heads, places, width) to (1, places, heads,
    width). There is no mask, which transformers keeps from an attention of ours: one prompt only.

    For the encoder in bfloat16, where torch's fused attention takes half as long again.
    """
    assert len(query) == 1
    queries, keys, values = (of.flatten(0, 1) for of in (query, key, value))
    nothing = query.new_zeros(1)
    logits = torch.baddbmm(nothing, queries, keys.mT, beta=0, alpha=scaling)
    found = torch.bmm(logits.softmax(dim=2), values)
    return found.view(query.shape).transpose(1, 2), None


def use_products(encoder: Any) -> None:
    """Let a copy of BART's encoder attend by products, unless another attention is asked for than
    transformers' usual one."""
    if encoder.config._attn_implementation == "sdpa":
        AttentionInterface.register(PRODUCTS, attend_by_products)
        encoder.config._attn_implementation = PRODUCTS
