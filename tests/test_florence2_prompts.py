import subprocess
import sys

import pytest
from pydantic import ValidationError
from transformers import AutoProcessor

from stages.base import normalise_task
from stages.florence2 import Florence2
from stages.florence2.prompts import TASKS, build_prompt

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


@pytest.mark.parametrize("words", ["<loc_5>", "</s>", "<od>", "<image>", "<s>", "<pad>", "<poly>"])
def test_no_special_token_comes_from_the_words_asked_about(words, vocabulary):
    prompt = build_prompt("caption_to_phrase_grounding", vocabulary, 900, f"a {words} b")
    assert not vocabulary.special & set(prompt.ids[1:-1])
    assert vocabulary.ids_to_words(prompt.ids[1:-1]).endswith(f"caption: a {words} b")


def test_an_over_long_prompt_is_cut_after_a_word(vocabulary):
    prompt = build_prompt("caption_to_phrase_grounding", vocabulary, 40, "a red circle " * 50)
    assert prompt.cut
    assert 36 <= len(prompt.ids) <= 40
    words = vocabulary.ids_to_words(prompt.ids[1:-1]).split()
    assert set(words[6:]) == {"a", "red", "circle"}


def test_one_word_that_is_too_long_is_cut_after_a_character(vocabulary):
    prompt = build_prompt("caption_to_phrase_grounding", vocabulary, 40, "é" * 300)
    assert prompt.cut
    assert 39 <= len(prompt.ids) <= 40
    assert vocabulary.ids_to_words(prompt.ids[1:-1]).endswith("éé")


def test_a_task_is_asked_about_what_it_takes(vocabulary):
    with pytest.raises(ValueError, match="od asks about nothing, not about words"):
        build_prompt("od", vocabulary, 900, "cat")


@pytest.mark.parametrize("name", ["<OD>", "OD", "od", " <od> "])
def test_a_task_may_be_written_as_its_token(name):
    assert normalise_task(name) == "od"
    assert Florence2(model="m", tasks=[name]).tasks == ("od",)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        pytest.param([], "tasks is empty: name at least one, such as caption or od", id="none"),
        pytest.param(["od", "<OD>"], "tasks names od more than once", id="twice"),
        pytest.param(
            ["od", "caption_to_phrase_grounding"],
            "caption_to_phrase_grounding needs a caption to ground: "
            "add one of caption, detailed_caption, more_detailed_caption to tasks",
            id="nothing to ground",
        ),
    ],
)
def test_tasks_that_make_no_sense_are_refused(tasks, message):
    with pytest.raises(ValidationError) as caught:
        Florence2(model="m", tasks=tasks)
    assert [e["msg"] for e in caught.value.errors()] == [f"Value error, {message}"]


def test_every_option_is_described():
    assert all(field.description for field in Florence2.model_fields.values())
