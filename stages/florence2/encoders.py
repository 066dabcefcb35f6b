"""Images → features, prompts with features → encoder states: what runs before decoding."""

from collections.abc import Sequence
from typing import Protocol

import torch
from PIL import Image

from stages.florence2.checkpoint import Checkpoint
from stages.florence2.prompts import Prompt


class Encoders(Protocol):
    """A backend; how many images and prompts it likes to be given at once, at most."""

    images_at_once: int
    prompts_at_once: int

    def encode_images(self, images: Sequence[Image.Image]) -> list[torch.Tensor]:
        """Features of each RGB image, shape (image tokens, width), on the checkpoint's device."""
        ...

    def encode_prompts(
        self, prompts: Sequence[Prompt], features: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[int]]:
        """States (n, longest, width) and how many of each row count; padding is at the right.

        `features` are those of each prompt's image, which stand before its words.
        """
        ...


def open_encoders(checkpoint: Checkpoint, backend: str) -> Encoders:
    """`torch` or `openvino`; StageError where the latter is not installed."""
    if backend == "torch":
        return TorchEncoders(checkpoint)
    from stages.florence2.openvino import OpenVINOEncoders

    return OpenVINOEncoders(checkpoint)


class TorchEncoders:
    """The checkpoint's own modules."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.images_at_once = 1 if checkpoint.device.type == "cpu" else 16
        self.prompts_at_once = 8

    def encode_images(self, images: Sequence[Image.Image]) -> list[torch.Tensor]:
        """As Encoders."""
        ours = self.checkpoint
        pixels = ours.image_processor(images=list(images), return_tensors="pt")["pixel_values"]
        pixels = pixels.to(ours.device, ours.model.dtype)
        return list(ours.model.get_image_features(pixels).pooler_output)

    def encode_prompts(
        self, prompts: Sequence[Prompt], features: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[int]]:
        """As Encoders; positions are absolute, so padding at the left would shift every prompt."""
        ours = self.checkpoint
        longest = max(len(prompt.ids) for prompt in prompts)
        pad = ours.vocabulary.pad
        ids = [[*p.ids, *[pad] * (longest - len(p.ids))] for p in prompts]
        lengths = [len(features[0]) + len(prompt.ids) for prompt in prompts]
        words = ours.model.get_input_embeddings()(torch.tensor(ids, device=ours.device))
        embedded = torch.cat([torch.stack(list(features)), words], dim=1)
        places = torch.arange(embedded.shape[1], device=ours.device)
        mask = (places < torch.tensor(lengths, device=ours.device)[:, None]).long()
        encoder = ours.model.get_encoder()
        return encoder(inputs_embeds=embedded, attention_mask=mask).last_hidden_state, lengths
