"""Florence-2-base with random weights, in memory: its true shapes and costs, and no files.

Answers vary with the image and the prompt, and end at their limit: the output layer is its own and
gives `</s>` the logit 0, which is never the best. What they say means nothing.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import (
    BartConfig,
    CLIPImageProcessorPil,
    Florence2Config,
    Florence2ForConditionalGeneration,
    GenerationConfig,
)
from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig

from schemas.boxes import BINS
from stages.florence2.checkpoint import Checkpoint
from stages.florence2.prompts import TASKS, About, Task
from stages.florence2.vocabulary import Vocabulary

SIDE, PLACES = 768, 577
"""Of an image in pixels, and how many tokens the model sees it as."""
END = 2
WORDS, ROWS = 50265, 51289
"""Entries of BART's vocabulary, and rows of the embedding with Florence-2's own tokens."""
CAPTION = " ".join(f"thing{number}" for number in range(80)) + "."
MENU: dict[Task, tuple[int, About]] = {
    "caption": (14, None),
    "detailed_caption": (45, None),
    "more_detailed_caption": (100, None),
    "od": (50, None),
    "dense_region_caption": (80, None),
    "region_proposal": (60, None),
    "ocr_with_region": (60, None),
    "caption_to_phrase_grounding": (80, CAPTION),
}
"""What is asked of every image: tokens of the answer, lengths as in FLD-5B, and the input."""


def make_checkpoint(seed: int = 0) -> Checkpoint:
    """On the CPU, in float32."""
    torch.manual_seed(seed)
    model: Any = Florence2ForConditionalGeneration(_config()).eval()
    model.generation_config = GenerationConfig()
    _enliven(model)
    pixels = CLIPImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        do_center_crop=False,
        resample=3,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    words = Vocabulary.of(SimpleNamespace(backend_tokenizer=_tokenizer()))
    return Checkpoint(model, pixels, words, f"random {seed}", None, torch.device("cpu"))


def made_up_images(count: int) -> list[Image.Image]:
    """800 x 600, smooth random colours."""
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return [Image.fromarray(one).resize((800, 600)) for one in colours]


def _config() -> Florence2Config:
    vision = Florence2VisionConfig(
        depths=(1, 1, 9, 1),
        patch_size=(7, 3, 3, 3),
        patch_stride=(4, 2, 2, 2),
        patch_padding=(3, 1, 1, 1),
        patch_prenorm=(False, True, True, True),
        embed_dim=(128, 256, 512, 1024),
        num_heads=(4, 8, 16, 32),
        num_groups=(4, 8, 16, 32),
        window_size=12,
        projection_dim=768,
        max_temporal_embeddings=100,
        max_position_embeddings=50,
    )
    text = BartConfig(
        vocab_size=ROWS,
        d_model=768,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=12,
        decoder_attention_heads=12,
        encoder_ffn_dim=3072,
        decoder_ffn_dim=3072,
        max_position_embeddings=1024,
    )
    return Florence2Config(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_id=ROWS - 1,
        tie_word_embeddings=False,
    )


@torch.no_grad()
def _enliven(model: Any) -> None:
    """A spread of one over the root of the inputs, and in the decoder such weights that an answer
    neither stands still nor forgets the image."""
    decoder = {"encoder_attn.q_proj": 4.0, "encoder_attn.k_proj": 4.0, "fc1": 2.0, "fc2": 2.0}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            gain = 1.0
            if ".decoder.layers." in name:
                gain = next((g for end, g in decoder.items() if name.endswith(end)), 0.7)
            nn.init.normal_(module.weight, std=gain * module.weight[0].numel() ** -0.5)
    model.lm_head.weight[END] = 0


def _tokenizer() -> Tokenizer:
    """One token for each word and mark, Florence-2's own after them."""
    known = ["<s>", "<pad>", "</s>", "<unk>"]
    split = pre_tokenizers.Whitespace()
    for text in (*(spec.prompt for spec in TASKS.values()), CAPTION):
        known += [piece for piece, _ in split.pre_tokenize_str(text.replace("{input}", ""))]
    known = list(dict.fromkeys(known))
    filled = known + [f"filler{number}" for number in range(WORDS - len(known))]
    ids = {word: number for number, word in enumerate(filled)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    locations = [f"<loc_{bin}>" for bin in range(BINS)]
    own = ["<od>", "</od>", "<ocr>", "</ocr>", *locations, "<sep>", "<poly>", "</poly>", "<and>"]
    tokenizer.add_special_tokens(own)
    return tokenizer
