"""A checkpoint's vision tower and prompt encoder as ONNX files, compared with torch's."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from stages.errors import StageError
from stages.florence2.canary import picture
from stages.florence2.checkpoint import Checkpoint
from stages.florence2.encoders import TorchEncoders
from stages.florence2.portable import PROMPT_ENCODER, VISION_TOWER, export_onnx
from stages.florence2.prompts import build_prompt

EQUAL = 1e-4
"""Largest difference over the largest number, up to which two runtimes compute the same. Measured:
2e-6 in float32, 2e-2 in bfloat16."""


@dataclass(frozen=True)
class Exported:
    """`difference` as that of EQUAL, None where ONNX Runtime is not installed."""

    files: tuple[str, ...]
    difference: float | None


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Another one, to be filled, which becomes `folder` once all went well; StageError where that
    exists or cannot be made."""
    if os.path.lexists(folder):
        raise StageError(f"{folder} exists: name a folder that does not, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent)
    except OSError as error:
        raise StageError(
            f"{folder} cannot be made ({error.strerror}): name a folder where you may write"
        ) from None
    with scratch as name:
        written = Path(name) / "files"
        yield written
        written.rename(folder)


def export_files(checkpoint: Checkpoint, folder: Path) -> Exported:
    """Write the files; StageError where they do not compute what torch does.

    `checkpoint` is in float32 on the CPU.
    """
    files = export_onnx(checkpoint, folder)
    difference = largest_difference(checkpoint, folder)
    if difference is not None and not difference <= EQUAL:
        raise StageError(
            f"the ONNX files do not compute what torch does: {difference:.1g} of the largest "
            f"number apart, where {EQUAL:g} is allowed: try other versions of onnx, onnxscript "
            "and onnxruntime"
        )
    return Exported(tuple(path.name for path in files), difference)


@torch.inference_mode()
def largest_difference(checkpoint: Checkpoint, folder: Path) -> float | None:
    """Between ONNX Runtime and torch, on a drawn picture and two prompts about it."""
    try:
        import onnxruntime
    except ImportError:
        return None

    def run(name: str, **given: torch.Tensor) -> torch.Tensor:
        session = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        [found] = session.run(None, {key: value.numpy() for key, value in given.items()})
        return torch.from_numpy(found)

    return max(_differences(checkpoint, run))


def _differences(checkpoint: Checkpoint, run: Any) -> Iterator[float]:
    encoders = TorchEncoders(checkpoint)
    pixels = checkpoint.image_processor(images=[picture()], return_tensors="pt")["pixel_values"]
    [features] = encoders.encode_images([picture()])
    yield _difference(run(VISION_TOWER, pixel_values=pixels)[0], features)
    vocabulary, room = checkpoint.vocabulary, checkpoint.max_positions - len(features)
    words = build_prompt("caption_to_phrase_grounding", vocabulary, room, "a red circle, a star")
    prompts = [build_prompt("od", vocabulary, room), words]
    states = [encoders.encode_prompts([prompt], [features])[0][0] for prompt in prompts]
    ids = [torch.tensor(prompt.ids) for prompt in prompts]
    lengths = torch.tensor([len(of_one) for of_one in states])
    mask = torch.arange(max(lengths)) < lengths[:, None]
    found = run(
        PROMPT_ENCODER,
        features=torch.stack([features, features]),
        input_ids=pad_sequence(ids, batch_first=True, padding_value=vocabulary.pad),
        attention_mask=mask.long(),
    )
    yield _difference(found[mask], torch.cat(states))


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()
