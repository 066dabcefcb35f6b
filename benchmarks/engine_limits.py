"""What the menu costs in arithmetic, and what this CPU or GPU can do."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from florence2_base import MENU
from torch import nn
from torch.nn import functional

from stages.florence2.packed import PackedLinear, can_pack

VISION, ENCODER, CROSS, DECODER = 381.0, 459.0, 68.0, 93.0
"""Thousand million floating-point operations an image, counted by torch's FlopCounterMode: the
vision tower once; the encoder, the cross-attention's keys and values, and the decoder of a menu."""
ONCE = VISION + ENCODER + CROSS + DECODER
NAIVE = ONCE + (len(MENU) - 1) * VISION
TOKENS = sum(length for length, _ in MENU.values())
CROSS_BYTES = {1: 6.1e9, 3: 6.7e9}
"""Read from the key-value cache for an image in bfloat16, by beams: each token looks back once on
its prompt's keys and values, which the beams share."""


@dataclass(frozen=True)
class Rates:
    """What a GPU does in a second: operations of a large bfloat16 matrix product, and bytes of a
    copy, reads and writes."""

    gpu: str
    operations: float
    bytes: float


H200 = Rates("an H200 as measured before", 790e12, 4.3e12)


def measured_peaks() -> dict[str, float]:
    """Thousand million operations a second of one product of the model's commonest shape."""
    found: dict[str, float] = {}
    for dtype, name in ((torch.float32, "fp32"), (torch.bfloat16, "bf16")):
        linear = nn.Linear(768, 3072).to(dtype).requires_grad_(False)
        x = torch.randn(590, 768).to(dtype)
        ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "as torch does it": lambda x, of=linear: functional.linear(x, of.weight, of.bias)
        }
        if can_pack(dtype, x.device):
            ways["packed"] = PackedLinear(linear)
        for way, product in ways.items():
            found[f"{name}, {way}"] = 2e-9 * 590 * 768 * 3072 / _fastest(product, x)
    return found


@torch.inference_mode()
def _fastest(product: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> float:
    """Processor seconds of one call."""
    best, until = float("inf"), time.perf_counter() + 1
    while time.perf_counter() < until:
        started = time.process_time()
        product(x)
        best = min(best, time.process_time() - started)
    return best


def measured_rates() -> Rates:
    """Of the current GPU."""
    side = 8192
    x, source = torch.randn(side, side, device="cuda").bfloat16(), torch.randn(2**29, device="cuda")
    target = torch.empty_like(source)
    return Rates(
        torch.cuda.get_device_name(),
        operations=2 * side**3 / _median_seconds(lambda: x @ x),
        bytes=2 * source.nbytes / _median_seconds(lambda: target.copy_(source)),
    )


def _median_seconds(work: Callable[[], Any]) -> float:
    """On the GPU's clock: of 20 calls, after 5 to warm up."""
    started, ended = ([torch.cuda.Event(enable_timing=True) for _ in range(25)] for _ in range(2))
    for start, end in zip(started, ended, strict=True):
        start.record()
        work()
        end.record()
    torch.cuda.synchronize()
    times = [start.elapsed_time(end) for start, end in zip(started, ended, strict=True)]
    return statistics.median(times[5:]) / 1000


def gpu_limits(rates: Rates, beams: int) -> tuple[float, float]:
    """Images a second in bfloat16: at these rates, and at the shares of them that such work reaches
    (40 % of the products in the vision tower, 55 % in the encoder, 60 % of the bandwidth, and
    0.3 ms for each step of 256 beams, as on an H200). Reckoned, not measured."""
    decoder, read = DECODER * beams, CROSS_BYTES[beams]
    floor = (VISION + ENCODER + CROSS + decoder) * 1e9 / rates.operations + read / rates.bytes
    likely = VISION / (0.4 * rates.operations) + (ENCODER + CROSS) / (0.55 * rates.operations)
    likely = likely * 1e9 + read / (0.6 * rates.bytes) + 0.3e-3 * TOKENS * beams / 256
    return 1 / floor, 1 / likely
