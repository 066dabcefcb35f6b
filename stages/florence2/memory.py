"""What is done with memory that is freed, and how many slots there is room for."""

import ctypes
import os
import sys

import torch

from schemas.boxes import BINS
from stages.errors import StageError
from stages.florence2.decoder import Decoder

SLOTS_ON_CPU, SLOTS_ON_GPU, LEAST_SLOTS = 32, 256, 8
"""When nobody says how many: more gain 2 % on a CPU, and little on an H200, as far as reckoned."""
LONGEST = 1024
"""Positions, and encoder states, for which memory is reckoned. Prompts and answers may be longer
where a checkpoint allows it, and hardly ever are."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As <malloc.h> numbers them."""
_LARGE = 2**30
"""Bytes up to which a block is kept."""


def keep_freed_memory() -> None:
    """Let freed blocks be used again and not be given back to the system, where glibc 2.35 or a
    newer one is: older ones refuse.

    It gives back whatever is larger than 32 MiB, and each page of the next such block costs a fault
    when it is first written to: of a vision tower with 90 million parameters a sixteenth of the
    time in float32, a tenth in bfloat16.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return
    # Either alone would only keep the first threshold from growing by itself.
    if mallopt(_MMAP_THRESHOLD, _LARGE):
        mallopt(_TRIM_THRESHOLD, _LARGE)


def slots_that_fit(decoder: Decoder) -> int:
    """How many to lay out: such that they take a quarter of a GPU's free memory, or of the
    machine's, were all answers and prompts long. Slots that grow are there twice."""
    most = SLOTS_ON_CPU if decoder.device.type == "cpu" else SLOTS_ON_GPU
    places = min(len(decoder.places), LONGEST)
    each = _bytes_of_slot(decoder, places, places)
    return max(LEAST_SLOTS, min(most, _memory(decoder.device) // 4 // each))


def check_room(decoder: Decoder, count: int, positions: int, tokens: int) -> None:
    """StageError where so many slots of this size take more than half of the machine's memory; of a
    GPU's, torch says when it is full."""
    needed = count * _bytes_of_slot(decoder, positions, tokens)
    if decoder.device.type == "cpu" and needed > _memory(decoder.device) // 2:
        fit = slots_that_fit(decoder)
        cure = f"leave it out, which makes it {fit}, or " if fit < count else ""
        raise StageError(
            f"batch_size {count} takes {needed / 1e9:.1f} GB, more than half of this machine's "
            f"memory: {cure}set it below {count}"
        )


def _bytes_of_slot(decoder: Decoder, positions: int, tokens: int) -> int:
    """With room for so many positions of each beam, and encoder states."""
    states = 2 * len(decoder.layers) * decoder.heads * decoder.head_width * decoder.dtype.itemsize
    written = decoder.beams * (states + BINS * torch.float32.itemsize)
    return positions * written + tokens * states


def _memory(device: torch.device) -> int:
    """Bytes that a GPU has free, or that this machine has."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # no POSIX
        return sys.maxsize
