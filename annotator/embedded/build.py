"""Make a native Florence-2 of a few million parameters from nothing: files, no training.

The tokenizer is a byte-level BPE that can write any text; its merges come from the words of the
synthetic world, and it carries every task and location token of Florence-2.
"""

import itertools
import json
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    BartConfig,
    BartTokenizer,
    CLIPImageProcessorPil,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    GenerationConfig,
)
from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig

from annotator.scenes import world
from schemas.boxes import BINS

IMAGE_SIDE = 160
VISUAL_TOKENS = (IMAGE_SIDE // 16) ** 2 + 1
WIDTH = 160
"""Numbers per token in the language model and in the last stage of the vision tower."""
HEAD = 32
BASIC_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
TASK_TOKENS = (
    *("<od>", "</od>", "<ocr>", "</ocr>"),
    *(f"<loc_{bin}>" for bin in range(BINS)),
    *("<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>", "</dcap>", "<grounding>", "</grounding>"),
    *("<seg>", "</seg>", "<sep>", "<region_cap>", "</region_cap>", "<region_to_desciption>"),
    *("</region_to_desciption>", "<proposal>", "</proposal>", "<poly>", "</poly>", "<and>"),
)
"""Florence-2's own tokens in Microsoft's order, Microsoft's spelling included."""
TASK_SENTENCES = (
    "What does the image describe?",
    "Describe in detail what is shown in the image.",
    "Describe with a paragraph what is shown in the image.",
    "What is the text in the image?",
    "What is the text in the image, with regions?",
    "Locate the objects with category name in the image.",
    "Locate the objects in the image, with their descriptions.",
    "Locate the region proposals in the image.",
    "Locate the phrases in the caption: ",
    "Locate a circle in the image with mask",
    "What is the polygon mask of region ",
    "What is the region ?",
    "What does the region describe?",
    "What text is in the region ?",
    "The image shows a group of circles and the word STOP at the left on a gray background.",
    "There are an orange ring, the leftmost square, the rightmost star and the highest cross.",
    "There is a large striped red circle at the top. The word STOP is printed at the bottom.",
    "The background is flat, noisy or checkered, a gradient or plain. Nothing is there. An empty",
)
ANSWER_PARSERS = (
    *("ocr", "phrase_grounding", "pure_text", "description_with_bboxes", "polygons", "bboxes"),
    *("description_with_polygons", "description_with_bboxes_or_polygons"),
)


def build_checkpoint(folder: Path, *, seed: int = 0) -> None:
    """Write model, processor and generation settings with random weights; equal for equal seeds."""
    shutil.rmtree(folder, ignore_errors=True)
    processor = build_processor()
    build_model(processor, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    generation_settings().save_pretrained(folder)


def build_processor() -> Florence2Processor:
    """Resizing to IMAGE_SIDE, and the tokenizer."""
    images = CLIPImageProcessorPil(
        size={"height": IMAGE_SIDE, "width": IMAGE_SIDE},
        crop_size={"height": IMAGE_SIDE, "width": IMAGE_SIDE},
        do_center_crop=False,
        resample=3,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    images.image_seq_length = VISUAL_TOKENS  # type: ignore[attr-defined]  # Florence2Processor reads it
    return Florence2Processor(
        image_processor=images,
        tokenizer=build_tokenizer(),
        post_processor_config={parser: {} for parser in ANSWER_PARSERS},
    )


def build_tokenizer() -> BartTokenizer:
    """All bytes, merges of the world's words, then Florence-2's tokens, then `<image>`."""
    vocabulary, merges = _byte_pairs()
    tokenizer = BartTokenizer(
        vocab=vocabulary,
        merges=merges,  # type: ignore[arg-type]  # pairs are what tokenizers.models.BPE takes
        mask_token=None,  # type: ignore[arg-type]  # None: there is no such token
    )
    # <image> goes last: given to the constructor it would shift every other token.
    tokenizer.add_special_tokens({"additional_special_tokens": list(TASK_TOKENS)})
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]}, False)
    tokenizer._set_model_specific_special_tokens(special_tokens={"image_token": "<image>"})
    return tokenizer


def _byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=list(BASIC_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sentences(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def _sentences() -> list[str]:
    """Every word of the world as it begins an answer, within one, and in the plural."""
    names = itertools.chain(
        world.KINDS, world.COLOURS, world.MATERIALS, world.SIZES, world.BACKGROUNDS, world.WORDS
    )
    plurals = [f" {'crosses' if kind == 'cross' else kind + 's'}" for kind in world.KINDS]
    places = [f" {place}" for row in world.PLACES for place in row]
    words = [form for name in names for form in (name, f" {name}")]
    return [*words, *plurals, *places, "the", "the", "an", *world.TEXTURES, *TASK_SENTENCES]


def build_model(processor: Florence2Processor, seed: int) -> Florence2ForConditionalGeneration:
    """Random weights for this processor's vocabulary."""
    config = Florence2Config(
        vision_config=_vision_config().to_dict(),
        text_config=_text_config(len(processor.tokenizer)).to_dict(),
        image_token_id=processor.tokenizer.image_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Florence2ForConditionalGeneration(config)
        _widen(model)
        return model


def _vision_config() -> Florence2VisionConfig:
    return Florence2VisionConfig(
        depths=[1, 2],
        patch_size=[12, 3],
        # The usual 4 costs twice as much: its convolutions at high resolution are the dear ones.
        patch_stride=[8, 2],
        patch_padding=[2, 1],
        patch_prenorm=[False, True],
        embed_dim=[64, WIDTH],
        num_heads=[2, WIDTH // HEAD],
        num_groups=[2, WIDTH // HEAD],
        window_size=IMAGE_SIDE // 16,
        drop_path_rate=0.0,
        projection_dim=WIDTH,
    )


@torch.no_grad()
def _widen(model: Florence2ForConditionalGeneration) -> None:
    """A spread of one over the root of the inputs: 0.02 is meant for wider networks."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and module is not model.lm_head:
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=fan_in**-0.5)


def _text_config(vocabulary: int) -> BartConfig:
    return BartConfig(
        vocab_size=vocabulary,
        d_model=WIDTH,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=WIDTH // HEAD,
        decoder_attention_heads=WIDTH // HEAD,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        max_position_embeddings=1024,
        init_std=0.05,
    )


def generation_settings() -> GenerationConfig:
    """Microsoft's published settings, spelled out: a derived file would lose four of them."""
    return GenerationConfig(
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_bos_token_id=0,
        forced_eos_token_id=2,
        num_beams=3,
        no_repeat_ngram_size=3,
        early_stopping=True,
    )
