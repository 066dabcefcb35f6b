"""Task ↔ Microsoft's prompt, and the token ids of a prompt, whatever its input text says."""

import bisect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from stages.florence2.vocabulary import Vocabulary

Task = Literal[
    "caption",
    "detailed_caption",
    "more_detailed_caption",
    "od",
    "dense_region_caption",
    "region_proposal",
    "ocr",
    "ocr_with_region",
    "caption_to_phrase_grounding",
    "referring_expression_segmentation",
    "region_to_segmentation",
    "open_vocabulary_detection",
    "region_to_category",
    "region_to_description",
    "region_to_ocr",
]
Output = Literal["text", "boxes", "proposals", "phrases", "quads", "polygons", "boxes_or_polygons"]
Bins = tuple[int, int, int, int]
About = str | tuple[str, ...] | Bins | None
"""What a prompt asks about: words, several phrases at once, a region, or nothing."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """`prompt` holds `{input}` where the task asks about something: words or a region."""

    prompt: str
    output: Output
    max_new_tokens: int
    asks_about: Literal["nothing", "words", "region"] = "nothing"


TASKS: dict[Task, TaskSpec] = {
    "caption": TaskSpec("What does the image describe?", "text", 64),
    "detailed_caption": TaskSpec("Describe in detail what is shown in the image.", "text", 192),
    "more_detailed_caption": TaskSpec(
        "Describe with a paragraph what is shown in the image.", "text", 384
    ),
    "od": TaskSpec("Locate the objects with category name in the image.", "boxes", 512),
    "dense_region_caption": TaskSpec(
        "Locate the objects in the image, with their descriptions.", "boxes", 512
    ),
    "region_proposal": TaskSpec("Locate the region proposals in the image.", "proposals", 512),
    "ocr": TaskSpec("What is the text in the image?", "text", 512),
    "ocr_with_region": TaskSpec("What is the text in the image, with regions?", "quads", 768),
    "caption_to_phrase_grounding": TaskSpec(
        "Locate the phrases in the caption: {input}", "phrases", 512, "words"
    ),
    "referring_expression_segmentation": TaskSpec(
        "Locate {input} in the image with mask", "polygons", 768, "words"
    ),
    "region_to_segmentation": TaskSpec(
        "What is the polygon mask of region {input}", "polygons", 768, "region"
    ),
    "open_vocabulary_detection": TaskSpec(
        "Locate {input} in the image.", "boxes_or_polygons", 768, "words"
    ),
    "region_to_category": TaskSpec("What is the region {input}?", "text", 32, "region"),
    "region_to_description": TaskSpec(
        "What does the region {input} describe?", "text", 96, "region"
    ),
    "region_to_ocr": TaskSpec("What text is in the region {input}?", "text", 96, "region"),
}
"""The prompts are Microsoft's to the byte; the token limits are ours: about four times what the
published label lengths need, so that a sound answer is never cut and a loop ends."""

CAPTION_LEVELS: dict[str, str] = {
    "caption": "brief",
    "detailed_caption": "detailed",
    "more_detailed_caption": "more_detailed",
}
"""Caption task → the level of its text."""
GROUNDING: Final = "caption_to_phrase_grounding"
CATEGORY: Final = "region_to_category"
DETECTION: Final = "open_vocabulary_detection"
PHRASE_TASKS: tuple[Task, ...] = ("referring_expression_segmentation", DETECTION)
"""Tasks that ask where the thing is that a phrase names."""
REGION_TASKS = tuple(task for task, spec in TASKS.items() if spec.asks_about == "region")
PLACE_TASKS = tuple(
    task for task, spec in TASKS.items() if spec.asks_about == "nothing" and spec.output != "text"
)
"""Tasks that look for places in an image on its own: they are what a tile is asked."""
BOX_TASKS = (*PLACE_TASKS, GROUNDING, DETECTION)
"""Tasks whose answers hold boxes that can be asked about."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """`ids` with `<s>` and `</s>`, without image tokens; `cut`: the input text was too long."""

    ids: tuple[int, ...]
    cut: bool = False


def build_prompt(task: Task, vocabulary: Vocabulary, limit: int, about: About = None) -> Prompt:
    """At most `limit` ids. Of phrases that are too long together the last are left out; a text that
    is too long alone is cut after a word."""
    _check_input(task, about)
    before, _, after = TASKS[task].prompt.partition("{input}")
    if TASKS[task].asks_about == "region":
        places = [vocabulary.first_loc + int(bin) for bin in about or ()]
        inner = [*vocabulary.words_to_ids(before), *places, *vocabulary.words_to_ids(after)]
        return Prompt((vocabulary.bos, *inner, vocabulary.eos))

    def ids(phrases: Sequence[str]) -> tuple[int, ...]:
        inner = vocabulary.phrases_to_ids(before, phrases, after)
        return (vocabulary.bos, *inner, vocabulary.eos)

    asked = [about or ""] if isinstance(about, str | None) else [str(part) for part in about]
    asked = [phrase.strip() for phrase in asked]
    kept = _longest_that_fit(asked, lambda phrases: len(ids(phrases)) <= limit)
    return Prompt(ids(kept), cut=kept != asked)


def _check_input(task: Task, about: About) -> None:
    if about is None:
        given = "nothing"
    elif isinstance(about, str) or all(isinstance(part, str) for part in about):
        given = "words"
    else:
        given = "region"
    if given != TASKS[task].asks_about:
        raise ValueError(f"{task} asks about {TASKS[task].asks_about}, not about {given}")


def _longest_that_fit(phrases: list[str], fit: Callable[[Sequence[str]], bool]) -> list[str]:
    """All phrases, or the first ones that fit, or the first one's beginning."""
    while len(phrases) > 1 and not fit(phrases):
        phrases = phrases[:-1]
    if fit(phrases):
        return phrases
    return [_longest_that_fits(phrases[0], lambda part: fit([part]))]


def _longest_that_fits(text: str, fits: Callable[[str], bool]) -> str:
    """The text up to the end of a word; up to a character where not even one word fits."""
    ends: Sequence[int] = [0, *(match.end() for match in re.finditer(r"\S+", text))]
    first_word = ends[1] if len(ends) > 1 else 0
    if not fits(text[:first_word]):
        ends = range(first_word + 1)
    first_too_long = bisect.bisect_left(ends, True, key=lambda end: not fits(text[:end]))
    return text[: ends[max(0, first_too_long - 1)]]
