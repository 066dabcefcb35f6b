"""Our reading of answers beside that of transformers' processor: alike where that one is right.

The table of where it is not stands in docs/engine.md; each of its rows is a case here.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from written_answers import PLAIN_WORDS, Writer, Written

from schemas.boxes import bins_to_pixels
from stages.florence2.grammar import Answer, parse_answer
from stages.florence2.prompts import Output

SIZE = (640, 480)
TASK_OF: Mapping[Output, str] = {
    "text": "<CAPTION>",
    "boxes": "<OD>",
    "proposals": "<REGION_PROPOSAL>",
    "phrases": "<CAPTION_TO_PHRASE_GROUNDING>",
    "quads": "<OCR_WITH_REGION>",
    "polygons": "<REGION_TO_SEGMENTATION>",
    "boxes_or_polygons": "<OPEN_VOCABULARY_DETECTION>",
}


@pytest.fixture(scope="module")
def processor(tiny_checkpoint):
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(tiny_checkpoint)


def test_plain_answers_are_read_alike(processor, vocabulary):
    compared = 0
    for number in range(400):
        writer = Writer(vocabulary, f"native {number}", PLAIN_WORDS)
        groups = [group for group in writer.answer() if known_to_native(group, writer.output)]
        tokens = [vocabulary.bos, *(token for group in groups for token in group.tokens)]
        task = TASK_OF[writer.output]
        text = vocabulary.ids_to_transcript(tokens)
        native = processor.post_process_generation(text=text, task=task, image_size=SIZE)[task]
        answer = parse_answer([*tokens, vocabulary.eos], writer.output, vocabulary, 10_000)
        assert as_native(answer, writer.output) == native, number
        compared += len(answer.instances)
    assert compared > 1000


def known_to_native(group: Written, output: Output) -> bool:
    """It takes boxes among polygons for polygons, and reads one quad of a text."""
    if output == "boxes_or_polygons":
        return group.places[0].shape == "polygon"
    return output != "quads" or len(group.places) == 1


def as_native(answer: Answer, output: Output) -> dict[str, Any]:
    """In the form of transformers, pixels cut to whole ones as there."""
    places = [[whole_pixels(part) for part in place.parts] for place in answer.instances]
    labels = [place.label for place in answer.instances]
    firsts = [parts[0] for parts in places]
    forms: dict[Output, dict[str, Any]] = {
        "quads": {"quad_boxes": firsts, "labels": labels},
        "polygons": {"polygons": places, "labels": labels},
        "boxes_or_polygons": {
            "bboxes": [], "bboxes_labels": [], "polygons": places, "polygons_labels": labels,
        },
    }  # fmt: skip
    return forms.get(output, {"bboxes": firsts, "labels": labels})


def whole_pixels(bins: tuple[int, ...]) -> list[int]:
    sides = [SIZE[i % 2] for i in range(len(bins))]
    return [int(pixel) for pixel in bins_to_pixels(bins, sides)]


def locations(*bins: int) -> str:
    return "".join(f"<loc_{bin}>" for bin in bins)


BOX, OTHER = locations(1, 2, 3, 4), locations(10, 20, 30, 40)
QUAD = locations(1, 1, 9, 1, 9, 5, 1, 5)
TRIANGLE = locations(0, 0, 9, 0, 9, 9)
ONE, TWO, CORNERS, THREE = (
    (1, 2, 3, 4), (10, 20, 30, 40), (1, 1, 9, 1, 9, 5, 1, 5), (0, 0, 9, 0, 9, 9),
)  # fmt: skip


@pytest.mark.parametrize(
    ("output", "written", "native", "ours", "flags"),
    [
        pytest.param(
            "boxes", f"car{locations(1, 2)}person{BOX}",
            {"bboxes": [[*ONE]], "labels": ["loc_2>person"]}, [("person", ONE)],
            ["label_without_location", "stray_locations"], id="two locations",
        ),
        pytest.param(
            "boxes", f"car{BOX}{locations(5)}", {"bboxes": [[*ONE]], "labels": ["car"]},
            [("car", ONE)], ["stray_locations"], id="fifth location",
        ),
        pytest.param(
            "boxes", f"café{BOX}日本{OTHER}",
            {"bboxes": [[*ONE], [*TWO]], "labels": ["caf", ""]},
            [("café", ONE), ("日本", TWO)], [], id="other scripts",
        ),
        pytest.param(
            "boxes", f"x < y{BOX}", {"bboxes": [[*ONE]], "labels": ["y"]},
            [("x < y", ONE)], [], id="less than",
        ),
        pytest.param(
            "boxes", f"car{locations(9, 8, 3, 4)}",
            {"bboxes": [[9, 8, 3, 4]], "labels": ["car"]}, [], ["inverted_box"], id="inverted box",
        ),
        pytest.param(
            "boxes", f"{BOX}car{OTHER}", {"bboxes": [[*TWO]], "labels": ["loc_4>car"]},
            [("", ONE), ("car", TWO)], ["missing_label"], id="box before its label",
        ),
        pytest.param(
            "boxes", f"ca<sep>r{BOX}", {"bboxes": [[*ONE]], "labels": ["sep>r"]},
            [("car", ONE)], ["stray_tokens"], id="mark in a label",
        ),
        pytest.param(
            "phrases", "a man", {"bboxes": [], "labels": []}, [], ["label_without_location"],
            id="phrase without a box",
        ),
        pytest.param(
            "quads", f"STOP{locations(1, 2, 3, 4, 5, 6, 7)}GO{QUAD}",
            {
                "quad_boxes": [[*CORNERS]],
                "labels": [f"STOP{locations(1, 2, 3, 4, 5, 6, 7)}GO"],
            },
            [("GO", CORNERS)], ["label_without_location", "stray_locations"],
            id="seven locations of a quad",
        ),
        pytest.param(
            "quads", f"two\nlines{QUAD}", {"quad_boxes": [[*CORNERS]], "labels": ["lines"]},
            [("two\nlines", CORNERS)], [], id="line break",
        ),
        pytest.param(
            "quads", f"STOP{QUAD}{QUAD}GO{QUAD}",
            {"quad_boxes": [[*CORNERS]] * 2, "labels": ["STOP", f"{QUAD}GO"]},
            [("STOP", CORNERS)] * 2 + [("GO", CORNERS)], [], id="two quads of one text",
        ),
        pytest.param(
            "polygons", BOX, {"polygons": [[[*ONE]]], "labels": [""]}, [], ["short_polygon"],
            id="polygon of two corners",
        ),
        pytest.param(
            "polygons", f"<poly>{TRIANGLE}</poly><poly>{QUAD}",
            {"polygons": [[[*THREE]]], "labels": [""]}, [("", THREE), ("", CORNERS)], [],
            id="last polygon not closed",
        ),
        pytest.param(
            "boxes_or_polygons", f"car{BOX}cat<poly>{TRIANGLE}</poly>",
            {
                "bboxes": [], "bboxes_labels": [],
                "polygons": [[[*ONE]], [[*THREE]]], "polygons_labels": ["car", "cat"],
            },
            [("car", ONE), ("cat", THREE)], [], id="box beside a polygon",
        ),
        pytest.param(
            "boxes_or_polygons", f"car<poly></poly>cat<poly>{TRIANGLE}</poly>",
            {
                "bboxes": [], "bboxes_labels": [],
                "polygons": [[[*THREE]]], "polygons_labels": ["/poly>cat"],
            },
            [("cat", THREE)], ["label_without_location"], id="empty polygon",
        ),
    ],
)  # fmt: skip
def test_where_the_native_parser_errs_ours_does_not(
    output, written, native, ours, flags, processor, vocabulary, florence_tokenizer
):
    task = TASK_OF[output]
    # At a thousand pixels a bin is a pixel, and the native cut to whole pixels changes nothing.
    read = processor.post_process_generation(text=written, task=task, image_size=(1000, 1000))
    assert read == {task: native}
    tokens = florence_tokenizer(f"{written}</s>").input_ids[:-1]
    answer = parse_answer(tokens, output, vocabulary, 1000)
    assert [(place.label, *place.parts) for place in answer.instances] == ours
    assert [flag.kind for flag in answer.flags] == flags


@pytest.mark.parametrize(
    ("task", "written", "form", "native", "ours"),
    [
        pytest.param("<CAPTION>", "A cat.<pad><pad>", "text", "A cat.<pad><pad>", "A cat.",
                     id="padding"),
        pytest.param("<CAPTION>", "A café", "sequence", "A caf\ufffd\ufffd", "A café",
                     id="letters of two tokens"),
        pytest.param("<REGION_TO_CATEGORY>", f"car{BOX}", "text", f"car{BOX}", "car",
                     id="region repeated"),
    ],
)  # fmt: skip
def test_a_text_is_its_words_and_no_more(
    task, written, form, native, ours, processor, vocabulary, florence_tokenizer
):
    tokens = florence_tokenizer(f"{written}</s>").input_ids[:-1]
    given = {"text": written} if form == "text" else {"sequence": tokens}
    assert processor.post_process_generation(**given, task=task) == {task: native}
    assert parse_answer(tokens, "text", vocabulary, 1000).text == ours


def test_native_pixels_do_not_lead_back_to_their_bins(processor):
    """Of the 1000 bins of an image 640 pixels wide, and of ours none."""
    import torch

    native = processor.post_processor
    bins = torch.arange(1000)[:, None].repeat(1, 2)
    again = native.quantize(native.dequantize(bins, (640, 640)), (640, 640))
    assert int((again[:, 0] != bins[:, 0]).sum()) == 640
    ours = torch.from_numpy(bins_to_pixels(bins.numpy(), [640, 640]))
    assert torch.equal(native.quantize(ours, (640, 640)), bins.int())
