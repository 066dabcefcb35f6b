"""Encoders that OpenVINO runs on the CPU; decoding stays with torch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch.export import ExportedProgram
from torch.nn.utils.rnn import pad_sequence

from stages.errors import StageError
from stages.florence2.checkpoint import Checkpoint
from stages.florence2.portable import prompt_program, quiet, vision_program
from stages.florence2.prompts import Prompt


class OpenVINOEncoders:
    """As TorchEncoders, of which they differ by rounding.

    A checkpoint in bfloat16 is computed in bfloat16, any other in float32, on as many threads as
    torch has when this is made. One image and one prompt at a time: more are no faster on a CPU.
    """

    images_at_once = 1
    prompts_at_once = 1

    def __init__(self, checkpoint: Checkpoint) -> None:
        compile_program = _compiler()
        self.checkpoint = checkpoint
        size = checkpoint.image_processor.size
        width = checkpoint.model.config.text_config.d_model
        half = checkpoint.model.dtype is torch.bfloat16
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        pixels = [1, 3, size["height"], size["width"]]
        self._tower = compile_program(vision_program(checkpoint), [pixels], options)
        prompt = [[1, -1, width], [1, -1], [1, -1]]
        self._encoder = compile_program(prompt_program(checkpoint), prompt, options)

    def encode_images(self, images: Sequence[Image.Image]) -> list[torch.Tensor]:
        """As Encoders."""
        pixels = self.checkpoint.image_processor(images=list(images), return_tensors="pt")
        found = (self._tower([one[None].numpy()])[0] for one in pixels["pixel_values"])
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


def _compiler() -> Callable[[ExportedProgram, list[list[int]], dict[str, Any]], Any]:
    try:
        import openvino
    except ImportError:
        raise StageError(
            "backend openvino needs the package openvino: pip install 'annotator[openvino]'"
        ) from None

    def compiled(program: ExportedProgram, shapes: list[list[int]], options: dict[str, Any]) -> Any:
        with quiet():
            graph = openvino.convert_model(program)
        graph.reshape(dict(zip(graph.inputs, map(openvino.PartialShape, shapes), strict=True)))
        return openvino.Core().compile_model(graph, "CPU", options)

    return compiled
