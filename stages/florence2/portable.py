"""The vision tower and the prompt encoder as plain functions of tensors, for other runtimes."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from stages.errors import StageError
from stages.florence2.checkpoint import Checkpoint

VISION_TOWER, PROMPT_ENCODER = "vision_tower.onnx", "prompt_encoder.onnx"


class VisionTower(nn.Module):
    """Pixels (n, 3, height, width) → features (n, image tokens, width)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower, self.projector = model.model.vision_tower, model.model.multi_modal_projector

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        states = pixel_values
        for convolution, blocks in zip(self.tower.convs, self.tower.blocks, strict=True):
            states = convolution(states)
            for block in blocks:
                states = block(states)
        features: torch.Tensor = self.projector(states)
        return features


class PromptEncoder(nn.Module):
    """Features, ids of the words after them and a mask over both → states.

    Shapes (n, image tokens, width), (n, words), (n, image tokens + words) → (n, image tokens +
    words, width). The mask is 1 where there is a token and 0 in the padding at the right.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        encoder = model.get_encoder()
        places = encoder.embed_positions
        self.words, self.norm = model.get_input_embeddings(), encoder.layernorm_embedding
        self.places = nn.Buffer(places.weight[places.offset :].detach())
        self.layers = encoder.layers

    def forward(
        self, features: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        states: torch.Tensor = torch.cat([features, self.words(input_ids)], dim=1)
        states = self.norm(states + self.places[: states.shape[1]])
        absent = 1 - attention_mask[:, None, None, :].to(states.dtype)
        for layer in self.layers:
            states = layer(states, absent * torch.finfo(states.dtype).min)
        return states


def vision_program(checkpoint: Checkpoint) -> ExportedProgram:
    """VisionTower in float32, for any number of images of the size that the checkpoint takes."""
    size = checkpoint.image_processor.size
    pixels = torch.zeros(2, 3, size["height"], size["width"])
    return _program(VisionTower(checkpoint.model), (pixels,), ({0: Dim.DYNAMIC},))


def prompt_program(checkpoint: Checkpoint) -> ExportedProgram:
    """PromptEncoder in float32, for any number of prompts of any length."""
    width = checkpoint.model.config.text_config.d_model
    ids = torch.full((2, 3), checkpoint.vocabulary.pad)
    features, mask = torch.zeros(2, 5, width), torch.ones(2, 8, dtype=torch.long)
    dynamic = {0: Dim.AUTO, 1: Dim.AUTO}
    return _program(PromptEncoder(checkpoint.model), (features, ids, mask), (dynamic,) * 3)


def export_onnx(checkpoint: Checkpoint, folder: Path) -> list[Path]:
    """Write both as ONNX, in float32, for ONNX Runtime or TensorRT; the files that were written."""
    try:
        import onnxscript  # noqa: F401 - torch.onnx needs it, and says so in many words
    except ImportError:
        raise StageError(
            "exporting to ONNX needs the packages onnx and onnxscript: "
            "pip install 'annotator[onnx]'"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    programs = {
        VISION_TOWER: (vision_program(checkpoint), "features"),
        PROMPT_ENCODER: (prompt_program(checkpoint), "states"),
    }
    for name, (program, output) in programs.items():
        with quiet():
            torch.onnx.export(
                program, (), folder / name, dynamo=True, output_names=[output], verbose=False
            )
    return sorted(folder.glob("*.onnx*"))


@torch.no_grad()
def _program(module: nn.Module, example: tuple[Any, ...], dynamic: Any) -> ExportedProgram:
    whole = copy.deepcopy(module).cpu().float().eval()
    with quiet():
        return torch.export.export(whole, example, dynamic_shapes=dynamic)


@contextmanager
def quiet() -> Iterator[None]:
    """What torch and its exporters say of their own insides is of no use to anybody here."""
    log = logging.getLogger("torch")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(before)
