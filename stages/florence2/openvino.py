"""Encoders that OpenVINO runs on the CPU; decoding stays with torch."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch.nn.utils.rnn import pad_sequence

from stages.errors import StageError
from stages.florence2 import portable
from stages.florence2.checkpoint import Checkpoint
from stages.florence2.pixels import Pixels
from stages.florence2.portable import prompt_program, quiet, vision_program
from stages.florence2.prompts import Prompt


class OpenVINOEncoders:
    """As TorchEncoders, of which they differ by rounding.

    A checkpoint in bfloat16 is computed in bfloat16, any other in float32, on as many threads as
    torch has when this is made. One image and one prompt at a time: more are no faster on a CPU.
    The converted model is kept in the user's cache folder (`XDG_CACHE_HOME`, or `~/.cache`).
    """

    images_at_once = 1
    prompts_at_once = 1

    def __init__(self, checkpoint: Checkpoint) -> None:
        openvino = _openvino()
        self.checkpoint = checkpoint
        self._pixels = Pixels(checkpoint)
        size = checkpoint.image_processor.size
        width = checkpoint.model.config.text_config.d_model
        half = checkpoint.model.dtype is torch.bfloat16
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        core = openvino.Core()

        def compiled(make: Callable[[Checkpoint], Any], *shapes: list[int]) -> Any:
            graph = _graph(openvino, checkpoint, make)
            fixed = map(openvino.PartialShape, shapes)
            graph.reshape(dict(zip(graph.inputs, fixed, strict=True)))
            return core.compile_model(graph, "CPU", options)

        self._tower = compiled(vision_program, [1, 3, size["height"], size["width"]])
        self._encoder = compiled(prompt_program, [1, -1, width], [1, -1], [1, -1])

    def encode_images(self, images: Sequence[Image.Image]) -> list[torch.Tensor]:
        """As Encoders."""
        found = (self._tower([one[None].numpy()])[0] for one in self._pixels(images))
        return [torch.from_numpy(features)[0] for features in found]

    def encode_prompts(
        self, prompts: Sequence[Prompt], features: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[int]]:
        """As Encoders."""
        pairs = zip(prompts, features, strict=True)
        states = [self._encode_prompt(prompt, of_image) for prompt, of_image in pairs]
        return pad_sequence(states, batch_first=True), [len(one) for one in states]

    def _encode_prompt(self, prompt: Prompt, features: torch.Tensor) -> torch.Tensor:
        ids = torch.tensor([prompt.ids])
        mask = torch.ones(1, len(features) + len(prompt.ids), dtype=torch.long)
        inputs = [features[None].numpy(), ids.numpy(), mask.numpy()]
        return torch.from_numpy(self._encoder(inputs)[0])[0]


def _openvino() -> Any:
    try:
        import openvino
    except ImportError:
        raise StageError(
            "backend openvino needs the package openvino: pip install 'annotator[openvino]'"
        ) from None
    return openvino


def _graph(openvino: Any, checkpoint: Checkpoint, make: Callable[[Checkpoint], Any]) -> Any:
    """The program that `make` makes of a checkpoint, converted, or as it was kept when it was
    converted before: a conversion takes longer than all the rest of opening a model."""
    path = _kept_at(openvino, checkpoint) / f"{make.__name__}.xml"
    try:
        return openvino.Core().read_model(path)
    except RuntimeError:  # not there, or damaged
        logging.getLogger(__name__).info("%s is made anew", path)
    with quiet():
        graph = openvino.convert_model(make(checkpoint))
    try:
        _keep(openvino, graph, path)
    except OSError as error:
        logging.getLogger(__name__).info("the converted model cannot be kept: %s", error)
    return graph


def _kept_at(openvino: Any, checkpoint: Checkpoint) -> Path:
    """A folder of its own for each checkpoint, precision, attention, converter and program."""
    whole = hashlib.sha256(Path(portable.__file__).read_bytes())
    model = checkpoint.model
    whole.update(f"{checkpoint.digest} {model.dtype} {model.config._attn_implementation}".encode())
    for package in (openvino, torch, transformers):
        whole.update(f" {package.__name__} {package.__version__}".encode())
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "annotator" / "openvino" / whole.hexdigest()[:32]


def _keep(openvino: Any, graph: Any, path: Path) -> None:
    """Weights first, so that a graph which is there is whole, whoever else is writing it too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        written = Path(scratch) / path.name
        try:
            openvino.save_model(graph, written, compress_to_fp16=False)
        except RuntimeError as error:  # what OpenVINO makes of a full disk
            raise OSError(str(error)) from error
        for suffix in (".bin", ".xml"):
            written.with_suffix(suffix).replace(path.with_suffix(suffix))
