"""Is a checkpoint alive? A drawn picture is captioned when it is loaded."""

import logging
import math
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image, ImageDraw
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from stages.errors import StageError
from stages.florence2.prompts import build_prompt

if TYPE_CHECKING:
    from stages.florence2.checkpoint import Checkpoint

LONGEST_ANSWER = 64
NEARLY_EVEN = 0.9
"""Entropy over its largest possible value from which on no token is preferred. Measured: 0.00 for
a trained checkpoint, 0.97 for random weights, 0.99 for a trained one with a fresh output layer."""


def check_answers(checkpoint: "Checkpoint", name: str) -> None:
    """Refuse what no training explains; warn of what an untrained checkpoint does too.

    StageError: probabilities that are no numbers, or an output layer of its own, not tied to the
    embedding as Florence-2's is, that prefers no token, as one does that was made afresh when the
    checkpoint was loaded or converted. Warned of, since a checkpoint that somebody has yet to train
    may do it: no token preferred, an answer without an end, ids that are no token's.
    """
    tokens, evenness = _caption(checkpoint, name)
    head, embedding = checkpoint.model.lm_head, checkpoint.model.get_input_embeddings()
    if evenness > NEARLY_EVEN and not torch.equal(head.weight, embedding.weight):
        raise StageError(
            f"checkpoint {name} has an output layer (lm_head) of its own that prefers no token: it "
            "was made afresh in a conversion, tie it to the embedding or convert again"
        )
    if doubt := _doubt(checkpoint, tokens, evenness):
        logging.getLogger(__name__).warning(
            "checkpoint %s %s: expect no sense from it until it is trained", name, doubt
        )


def _doubt(checkpoint: "Checkpoint", tokens: list[int], evenness: float) -> str | None:
    known = checkpoint.vocabulary
    if evenness > NEARLY_EVEN:
        return "prefers no token when it captions a drawn picture"
    if any(token >= known.size for token in tokens):
        return "captions a drawn picture with ids that are no token's"
    if known.eos not in tokens:
        return f"does not end its caption of a drawn picture within {LONGEST_ANSWER} tokens"
    return None


@torch.inference_mode()
def _caption(checkpoint: "Checkpoint", name: str) -> tuple[list[int], float]:
    """Greedy tokens, and the mean entropy of the choices, from 0 to 1."""
    model = checkpoint.model
    hidden = _encoded(checkpoint)
    answer: Any = model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
        attention_mask=torch.ones(hidden.shape[:2], dtype=torch.long, device=hidden.device),
        generation_config=GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=LONGEST_ANSWER,
            **checkpoint.vocabulary.generation_ids(),
            output_logits=True,
            return_dict_in_generate=True,
        ),
    )
    logits = torch.cat(answer.logits).float()
    if not logits.isfinite().all():
        dtype = str(model.dtype).removeprefix("torch.")
        cure = "" if dtype == "float32" else "set dtype to float32, or "
        raise StageError(
            f"checkpoint {name} computes numbers that are not finite in {dtype}: {cure}write or "
            "fetch its weights again"
        )
    logs = logits.log_softmax(dim=-1)
    entropy = -(logs.exp() * logs).sum(dim=-1).mean().item()
    return answer.sequences[0].tolist()[1:], entropy / math.log(logits.shape[-1])


def _encoded(checkpoint: "Checkpoint") -> torch.Tensor:
    """Encoder states of the picture and the prompt, shape (1, tokens, width)."""
    model = checkpoint.model
    pixels = checkpoint.image_processor(images=picture(), return_tensors="pt")["pixel_values"]
    features = model.get_image_features(pixels.to(checkpoint.device, model.dtype)).pooler_output
    prompt = build_prompt("caption", checkpoint.vocabulary, checkpoint.max_positions)
    words = model.get_input_embeddings()(torch.tensor([prompt.ids], device=checkpoint.device))
    together = torch.cat([features, words], dim=1)
    states: torch.Tensor = model.get_encoder()(inputs_embeds=together).last_hidden_state
    return states


def picture() -> Image.Image:
    """A red circle and a blue square on grey."""
    image = Image.new("RGB", (320, 320), (200, 200, 200))
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 90, 180, 210), fill=(220, 30, 30))
    draw.rectangle((200, 40, 290, 130), fill=(40, 60, 200))
    return image
