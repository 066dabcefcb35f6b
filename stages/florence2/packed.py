"""Linear layers whose weights oneDNN has laid out beforehand, on many CPUs twice as fast."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import GELUActivation


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
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self.bias, self.activation, [], "none"
        )
        return made


def product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Of (…, k) and the transpose of (n, k), by oneDNN, of matrices as they lie in memory."""
    made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "none")
    return made


@torch.inference_mode()
def can_pack(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether oneDNN's products are there and right, by trial."""
    if device.type != "cpu" or dtype not in (torch.float32, torch.bfloat16):
        return False
    random = torch.Generator().manual_seed(0)
    linear = nn.Linear(64, 96).to(dtype)
    x = torch.randn(2, 17, 64, generator=random).to(dtype)
    theirs = linear(x)
    expected = theirs, functional.gelu(theirs), theirs - linear.bias
    try:
        ours = (
            PackedLinear(linear)(x),
            PackedLinear(linear, "gelu")(x),
            product(x, linear.weight),
        )
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    near = 1e-5 if dtype is torch.float32 else 0.05
    return all(
        torch.allclose(mine, plain, atol=near) for mine, plain in zip(ours, expected, strict=True)
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
