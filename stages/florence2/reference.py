"""The plain way, one `generate` per prompt: slow, and what the engine must equal."""

import torch
from PIL import Image
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling

from stages.florence2.checkpoint import Checkpoint
from stages.florence2.engine import Decoding
from stages.florence2.prompts import build_prompt
from stages.florence2.requests import Request

TIE = 1e-3
"""Logits closer than this may be ordered either way by float32 sums in another order."""


class Reference:
    """What transformers itself makes of one RGB image, which its vision tower sees once."""

    @torch.inference_mode()
    def __init__(self, checkpoint: Checkpoint, image: Image.Image) -> None:
        self.checkpoint = checkpoint
        pixels = checkpoint.image_processor(images=image, return_tensors="pt")["pixel_values"]
        pixels = pixels.to(checkpoint.device, checkpoint.model.dtype)
        self._features = checkpoint.model.get_image_features(pixels).pooler_output

    @torch.inference_mode()
    def generate(self, request: Request, decoding: Decoding) -> tuple[int, ...]:
        """Tokens of transformers' own decoding, up to and including `</s>`."""
        known, model = self.checkpoint.vocabulary, self.checkpoint.model
        image = [model.config.image_token_id] * self._features.shape[1]
        ids = torch.tensor([[*image, *self._prompt(request)]], device=self.checkpoint.device)
        sequences = model.generate(
            mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=self._features)},
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=GenerationConfig(
                do_sample=False,
                num_beams=decoding.num_beams,
                early_stopping=decoding.early_stopping and decoding.num_beams > 1,
                length_penalty=1.0,
                no_repeat_ngram_size=decoding.no_repeat_ngram_size,
                max_new_tokens=decoding.max_new_tokens[request.task],
                **known.generation_ids(),
                forced_eos_token_id=known.eos,
            ),
        )
        tokens: list[int] = sequences[0, 1:].tolist()
        return tuple(tokens[: tokens.index(known.eos) + 1])

    @torch.inference_mode()
    def logits(self, request: Request, tokens: tuple[int, ...]) -> torch.Tensor:
        """The model's raw logits in the place of each of these tokens, shape (T, vocabulary)."""
        model, device = self.checkpoint.model, self.checkpoint.device
        prompt = torch.tensor([self._prompt(request)], device=device)
        words = model.get_input_embeddings()(prompt)
        before = [self.checkpoint.vocabulary.eos, *tokens[:-1]]
        found: torch.Tensor = model(
            inputs_embeds=torch.cat([self._features, words], dim=1),
            decoder_input_ids=torch.tensor([before], device=device),
        ).logits[0]
        return found

    def part_at_a_tie(self, request: Request, one: tuple[int, ...], other: tuple[int, ...]) -> bool:
        """Whether two answers are equal up to two tokens that the model finds equally good."""
        pairs = enumerate(zip(one, other, strict=False))
        place = next((at for at, (mine, theirs) in pairs if mine != theirs), None)
        if place is None:
            return len(one) == len(other)
        logits = self.logits(request, one[: place + 1])[place]
        return abs(float(logits[one[place]] - logits[other[place]])) < TIE

    def _prompt(self, request: Request) -> tuple[int, ...]:
        room = self.checkpoint.max_positions - self._features.shape[1]
        known = self.checkpoint.vocabulary
        return build_prompt(request.task, known, room, request.about).ids
