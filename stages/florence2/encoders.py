"""Images → features, prompts with features → encoder states: what runs before decoding."""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from PIL import Image

from stages.florence2.attention import use_products
from stages.florence2.checkpoint import Checkpoint
from stages.florence2.packed import can_pack, pack
from stages.florence2.pixels import Pixels
from stages.florence2.prompts import Prompt

SMALL = 20_000_000
"""Parameters up to which the work is many short operations. Packed weights then gain nothing, and
threads cost more than they give: they wait for one another at each operation, and for ever on a
core that something else is using."""


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
    """The checkpoint's own modules; of a large one on the CPU, copies with packed linears, which
    attend by products and know no padding, so that prompts are encoded one by one."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        model = checkpoint.model
        on_cpu = checkpoint.device.type == "cpu"
        large = checkpoint.parameters > SMALL
        self.checkpoint = checkpoint
        self._pixels = Pixels(checkpoint)
        self.images_at_once = 1 if on_cpu else 16
        self.prompts_at_once = 1 if on_cpu and large else 8
        parts = model.model.vision_tower, model.model.multi_modal_projector, model.get_encoder()
        packed = large and can_pack(model.dtype, checkpoint.device)
        self._tower, self._projector, self._encoder = map(_packed, parts) if packed else parts
        if packed:
            self._tower.to(memory_format=torch.channels_last)
            use_products(self._tower)
            use_products(self._encoder)

    def encode_images(self, images: Sequence[Image.Image]) -> list[torch.Tensor]:
        """As Encoders."""
        pixels = self._pixels(images).to(self.checkpoint.model.dtype)
        return list(self._projector(self._tower(pixels).last_hidden_state))

    def encode_prompts(
        self, prompts: Sequence[Prompt], features: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[int]]:
        """As Encoders; positions are absolute, so padding at the left would shift every prompt."""
        ours = self.checkpoint
        assert len(prompts) <= self.prompts_at_once
        longest = max(len(prompt.ids) for prompt in prompts)
        pad = ours.vocabulary.pad
        ids = [[*p.ids, *[pad] * (longest - len(p.ids))] for p in prompts]
        lengths = [len(features[0]) + len(prompt.ids) for prompt in prompts]
        words = ours.model.get_input_embeddings()(torch.tensor(ids, device=ours.device))
        embedded = torch.cat([torch.stack(list(features)), words], dim=1)
        places = torch.arange(embedded.shape[1], device=ours.device)
        mask = (places < torch.tensor(lengths, device=ours.device)[:, None]).long()
        encoded = self._encoder(inputs_embeds=embedded, attention_mask=mask)
        return encoded.last_hidden_state, lengths


def _packed(module: Any) -> Any:
    """A copy with packed linears; it shares all other weights but those of convolutions, whose
    layout may be changed."""
    weights = (*module.parameters(), *module.buffers())
    ours = copy.deepcopy(module, {id(weight): weight for weight in weights if weight.ndim != 4})
    pack(ours)
    return ours
