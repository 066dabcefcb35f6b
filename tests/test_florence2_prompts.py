import subprocess
import sys

import pytest
from transformers import AutoProcessor

from stages.base import normalise_task
from stages.florence2.prompts import TASKS, build_prompt
from stages.florence2.stage import Florence2

BOX = (10, 20, 700, 999)
ABOUT = {
    "caption_to_phrase_grounding": "A red circle,  a café & 日本\n<3",
    "referring_expression_segmentation": "the leftmost square",
    "open_vocabulary_detection": "a star",
}


def test_importing_the_stage_imports_no_heavy_library():
    code = (
        "import sys, stages.florence2; "
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'huggingface_hub')"
        " if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


@pytest.mark.parametrize("task", TASKS)
def test_prompts_have_the_tokens_of_transformers_own_processor(
    task, tiny_checkpoint, vocabulary, pictures
):
    processor = AutoProcessor.from_pretrained(tiny_checkpoint)
    about = ABOUT.get(task)
    written = about or ""
    if TASKS[task].asks_about == "region":
        about, written = BOX, "<loc_10><loc_20><loc_700><loc_999>"
    theirs = processor(images=pictures[0], text=f"<{task.upper()}>{written}", return_tensors="pt")
    ids = theirs["input_ids"][0].tolist()
    prompt = build_prompt(task, vocabulary, 900, about)
    assert ids[101:] == list(prompt.ids)
    assert not prompt.cut


def test_several_phrases_have_the_tokens_of_transformers_own_processor(
    tiny_checkpoint, vocabulary, pictures
):
    processor = AutoProcessor.from_pretrained(tiny_checkpoint)
    text = "<OPEN_VOCABULARY_DETECTION>a star <and> red circle <and> café"
    theirs = processor(images=pictures[0], text=text, return_tensors="pt")["input_ids"][0].tolist()
    about = (" a star", "red circle", "café")
    prompt = build_prompt("open_vocabulary_detection", vocabulary, 900, about)
    assert theirs[101:] == list(prompt.ids)
    assert prompt.ids.count(vocabulary.and_) == 2


@pytest.mark.parametrize("task", ABOUT)
@pytest.mark.parametrize(
    "words", ["<loc_5>", "</s>", "<od>", "<image>", "<s>", "<pad>", "<poly>", "<and>"]
)
def test_no_special_token_comes_from_the_words_asked_about(words, task, vocabulary):
    prompt = build_prompt(task, vocabulary, 900, f"a {words} b")
    assert not vocabulary.special & set(prompt.ids[1:-1])
    assert f" a {words} b" in vocabulary.ids_to_words(prompt.ids[1:-1])


@pytest.mark.parametrize("task", ABOUT)
def test_an_over_long_text_is_cut_after_a_word_and_the_prompt_stays_whole(task, vocabulary):
    before, after = TASKS[task].prompt.split("{input}")
    prompt = build_prompt(task, vocabulary, 40, "a red circle " * 50)
    assert prompt.cut
    assert 36 <= len(prompt.ids) <= 40
    written = vocabulary.ids_to_words(prompt.ids[1:-1])
    assert written.startswith(before)
    assert written.endswith(after)
    words = written.removeprefix(before).removesuffix(after).split()
    assert words == (["a", "red", "circle"] * 13)[: len(words)]


@pytest.mark.parametrize("task", ABOUT)
def test_one_word_that_is_too_long_is_cut_after_a_character(task, vocabulary):
    before, after = TASKS[task].prompt.split("{input}")
    prompt = build_prompt(task, vocabulary, 40, "é" * 300)
    assert prompt.cut
    assert 39 <= len(prompt.ids) <= 40
    written = vocabulary.ids_to_words(prompt.ids[1:-1])
    assert set(written.removeprefix(before).removesuffix(after)) == {"é"}


def test_of_phrases_that_are_too_long_together_the_last_are_left_out(vocabulary):
    task, phrases = "open_vocabulary_detection", ("a red circle", "a star", "a blue square")
    whole = build_prompt(task, vocabulary, 900, phrases)
    prompt = build_prompt(task, vocabulary, len(whole.ids) - 1, phrases)
    assert not whole.cut
    assert prompt.cut
    assert prompt.ids == build_prompt(task, vocabulary, 900, phrases[:2]).ids
    first = build_prompt(task, vocabulary, 16, ("a red circle " * 5, "a star"))
    assert first.cut
    assert first.ids == build_prompt(task, vocabulary, 16, "a red circle " * 5).ids


def test_a_task_is_asked_about_what_it_takes(vocabulary):
    with pytest.raises(ValueError, match="od asks about nothing, not about words"):
        build_prompt("od", vocabulary, 900, "cat")
    with pytest.raises(ValueError, match="region_to_ocr asks about region, not about nothing"):
        build_prompt("region_to_ocr", vocabulary, 900)


@pytest.mark.parametrize("name", ["<OD>", "OD", "od", " <od> "])
def test_a_task_may_be_written_as_its_token(name):
    assert normalise_task(name) == "od"
    assert Florence2(model="m", tasks=[name]).tasks == ("od",)


def test_every_option_is_described():
    assert all(field.description for field in Florence2.model_fields.values())
