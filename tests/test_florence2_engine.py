import itertools
import multiprocessing
import platform
import resource

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoProcessor, GenerationConfig

from stages.base import Model
from stages.florence2.attention import PRODUCTS, attend
from stages.florence2.decode_attention import (
    BY_COLUMNS,
    BY_ROWS,
    FUSED,
    attention_for,
    is_fast_at_few_rows,
)
from stages.florence2.encoders import TorchEncoders
from stages.florence2.engine import Decoding, Engine
from stages.florence2.loading import load_checkpoint
from stages.florence2.memory import keep_freed_memory
from stages.florence2.packed import PackedLinear, can_pack
from stages.florence2.prompts import TASKS, build_prompt
from stages.florence2.requests import Request

LIMITS = dict.fromkeys(TASKS, 24)
GROUNDING = "caption_to_phrase_grounding"
ROOTS = ["caption", "od", "region_proposal", "ocr_with_region"]


@pytest.fixture
def encoded(lively):
    """Shapes of what the vision tower was given, in order."""
    shapes = []
    tower = lively.model.model.vision_tower
    hook = tower.register_forward_hook(lambda module, given, made: shapes.append(given[0].shape))
    yield shapes
    hook.remove()


@pytest.fixture(scope="module")
def exact(lively_checkpoint):
    """In float64, where rounding decides between no two tokens."""
    loaded = load_checkpoint(Model(checkpoint=str(lively_checkpoint), device="cpu"))
    loaded.model.double()
    return loaded


def plain_generate(checkpoint, folder, image, text, **settings):
    inputs = AutoProcessor.from_pretrained(folder)(images=image, text=text, return_tensors="pt")
    settings = {"num_beams": 1, "no_repeat_ngram_size": 0, "early_stopping": False, **settings}
    config = GenerationConfig(
        max_new_tokens=24, bos_token_id=0, pad_token_id=1, eos_token_id=2,
        decoder_start_token_id=2, forced_bos_token_id=0, forced_eos_token_id=2, **settings,
    )  # fmt: skip
    with torch.inference_mode():
        inputs["pixel_values"] = inputs["pixel_values"].to(checkpoint.model.dtype)
        tokens = checkpoint.model.generate(**inputs, generation_config=config)[0].tolist()[1:]
    return tuple(tokens[: tokens.index(2) + 1])


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="greedy"),
        pytest.param({"no_repeat_ngram_size": 3}, id="no repeats"),
        pytest.param({"num_beams": 3, "early_stopping": True}, id="beams"),
        pytest.param(
            {"num_beams": 3, "early_stopping": True, "no_repeat_ngram_size": 3},
            id="beams, no repeats",
        ),
        pytest.param({"num_beams": 3, "early_stopping": False}, id="beams, late stopping"),
    ],
)
def test_tokens_are_those_of_plain_generate_per_prompt(
    settings, exact, lively_checkpoint, pictures
):
    engine = Engine(exact, Decoding(LIMITS, **settings))
    caption = "A red circle is left of a star."
    requests = [Request(i, task) for i in range(2) for task in ROOTS]
    requests.append(Request(0, GROUNDING, about=caption))
    results = engine.run(pictures, requests)
    assert len({result.tokens for result in results}) > 6
    for result in results:
        request = result.request
        text = f"<{request.task.upper()}>{request.about or ''}"
        image = pictures[request.image]
        assert result.tokens == plain_generate(exact, lively_checkpoint, image, text, **settings), (
            request
        )


def test_late_stopping_finds_answers_that_early_stopping_does_not(exact, pictures):
    requests = [
        Request(i, task) for i in range(3) for task in TASKS if TASKS[task].asks_about == "nothing"
    ]
    early, late = (
        {r.request: r for r in Engine(exact, Decoding(LIMITS, 3, 0, stops)).run(pictures, requests)}
        for stops in (True, False)
    )
    assert any(late[asked].tokens != result.tokens for asked, result in early.items())


def test_every_image_is_encoded_once_cascades_included(lively, pictures, encoded):
    def ground(result):
        if result.request.task == "caption":
            about = f"a circle {result.request.image}"
            yield Request(result.request.image, GROUNDING, about, ("caption",))

    requests = [Request(i, task) for i in range(3) for task in ROOTS]
    results = Engine(lively, Decoding(LIMITS), batch_size=2).run(pictures, requests, ground)
    assert len(results) == 15
    assert encoded == [(1, 3, 160, 160)] * 3


@pytest.mark.parametrize("beams", [1, 3])
def test_answers_depend_neither_on_the_number_of_slots_nor_on_the_order(beams, exact, pictures):
    captions = ["a star", "A large red circle is at the left of a small blue star."]
    requests = [Request(i, task) for i in range(3) for task in ROOTS]
    requests += [Request(i, GROUNDING, caption) for i in range(3) for caption in captions]
    alone, together, reversed_order = (
        {r.request: r for r in Engine(exact, Decoding(LIMITS, beams), size).run(pictures, asked)}
        for size, asked in ((1, requests), (8, requests), (5, requests[::-1]))
    )
    assert alone.keys() == set(requests)
    for others in (together, reversed_order):
        assert others.keys() == alone.keys()
        for asked, ours in alone.items():
            theirs = others[asked]
            assert (theirs.tokens, theirs.answer) == (ours.tokens, ours.answer)
            for name in ("chosen", "end", "locations"):
                np.testing.assert_allclose(
                    getattr(theirs.scores, name), getattr(ours.scores, name), atol=1e-5
                )


def test_a_caption_that_is_too_long_to_ask_about_is_cut_and_said(lively, pictures):
    about = "a red circle and a blue star " * 200
    engine = Engine(lively, Decoding(LIMITS))
    [result] = engine.run(pictures, [Request(0, GROUNDING, about)])
    assert result.prompt.cut
    assert 101 + len(result.prompt.ids) <= 1024


def test_a_limit_beyond_the_decoder_s_positions_is_lowered_to_them(lively, pictures):
    engine = Engine(lively, Decoding(dict.fromkeys(TASKS, 5000)))
    [result] = engine.run(pictures, [Request(1, "more_detailed_caption")])
    assert len(result.tokens) <= 1023


def test_nothing_asked_is_nothing_answered(lively, encoded):
    assert Engine(lively, Decoding(LIMITS)).run([], []) == []
    assert encoded == []


def test_a_shorter_limit_for_one_task_holds_for_it_alone(lively, pictures):
    engine = Engine(lively, Decoding({"caption": 6, "od": 24}))
    results = engine.run(pictures[:1], [Request(0, "caption"), Request(0, "od")])
    assert {r.request.task: len(r.tokens) for r in results} == {"caption": 6, "od": 24}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packed_encoders_compute_the_same_and_leave_the_model_alone(
    dtype, lively_checkpoint, pictures, monkeypatch
):
    monkeypatch.setattr("stages.florence2.encoders.SMALL", 0)
    loaded = load_checkpoint(Model(checkpoint=str(lively_checkpoint), device="cpu", dtype=dtype))
    if not can_pack(loaded.model.dtype, loaded.device):
        pytest.skip("this CPU or this torch cannot pack")
    before = {name: (w, w.clone(), w.stride()) for name, w in loaded.model.named_parameters()}
    prompts = [build_prompt(task, loaded.vocabulary, 500) for task in ("caption", "od")]
    with torch.inference_mode():
        encoders = TorchEncoders(loaded)
        assert encoders.prompts_at_once == 1
        with pytest.raises(AssertionError):
            encoders.encode_prompts(prompts, [torch.zeros(101, 64)] * 2)
        blocks = encoders._tower.blocks[0][0]
        for module in (
            encoders._encoder.layers[0].self_attn,
            blocks.channel_block.channel_attn,
            blocks.spatial_block.window_attn,
        ):
            assert module.config._attn_implementation == PRODUCTS
        for module in (loaded.model.get_encoder(), loaded.model.model.vision_tower):
            assert module.config._attn_implementation == "sdpa"
        for module in (encoders._tower, encoders._encoder):
            packed = [part for part in module.modules() if isinstance(part, PackedLinear)]
            assert {part.activation for part in packed} == {"none", "gelu"}
        features = encoders.encode_images(pictures[:1])
        states, _ = encoders.encode_prompts(prompts[:1], features)
        pixels = loaded.image_processor(images=pictures[:1], return_tensors="pt")["pixel_values"]
        theirs = loaded.model.get_image_features(pixels.to(loaded.model.dtype)).pooler_output
        words = loaded.model.get_input_embeddings()(torch.tensor([prompts[0].ids]))
        embedded = torch.cat([features[0][None], words], dim=1)
        expected = loaded.model.get_encoder()(inputs_embeds=embedded).last_hidden_state
    # In bfloat16 products round logits before the softmax, which the fused attention does not.
    near = (1e-3, 1e-3) if dtype == "float32" else (0.1, 0.15)
    for ours, plain, apart in zip((features[0], states), (theirs[0], expected), near, strict=True):
        assert (ours - plain).norm() <= apart * plain.norm()
    after = dict(loaded.model.named_parameters())
    assert before.keys() == after.keys()
    for name, (weight, values, stride) in before.items():
        assert after[name] is weight, name
        assert weight.stride() == stride, name
        assert weight.equal(values), name


def test_another_attention_than_usual_stays_what_it_is(lively_checkpoint, monkeypatch):
    monkeypatch.setattr("stages.florence2.encoders.SMALL", 0)
    asked = Model(checkpoint=str(lively_checkpoint), device="cpu", attention="eager")
    encoders = TorchEncoders(load_checkpoint(asked))
    assert encoders._encoder.config._attn_implementation == "eager"
    assert encoders._tower.config._attn_implementation == "eager"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("count", "order"),
    [
        pytest.param(1, (0, 1, 3, 2, 4), id="a prompt"),
        pytest.param(6, (0, 1, 3, 2, 4), id="windows"),
        pytest.param(1, (0, 1, 3, 4, 2), id="channels"),
    ],
)
def test_attention_by_products_is_attention(count, order, dtype):
    if not can_pack(dtype, torch.device("cpu")):
        pytest.skip("this CPU or this torch cannot pack")
    random = torch.Generator().manual_seed(0)
    # As the layers make them: queries, keys and values of all places lie together.
    made = torch.randn(count, 7, 3, 4, 8, generator=random).to(dtype).movedim(2, 0)
    query, key, value = made.permute(order)
    found, _ = attend(torch.nn.Identity(), query, key, value, None, scaling=0.3)
    full = [of.double() for of in (query, key, value)]
    theirs = functional.scaled_dot_product_attention(*full, scale=0.3).transpose(1, 2)
    near = 1e-6 if dtype is torch.float32 else 0.03
    torch.testing.assert_close(found.double(), theirs, atol=near, rtol=near)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("way", [BY_COLUMNS, BY_ROWS], ids=["columns", "rows"])
def test_a_step_attends_as_the_fused_attention_does(way, beams):
    random = torch.Generator().manual_seed(0)

    def made(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=random)

    def states(turned):
        # Of more slots and places than are looked at.
        of = made(4, 3, 8, 11).mT if turned else made(4, 3, 11, 8)
        return of[:2, :, :7]

    query, mask = made(2, beams, 3, 8), made(2, 1, beams, 7)
    keys, values = states(way.keys_turned), states(way.values_turned)
    expected = FUSED.attend(query, keys, values, mask)
    torch.testing.assert_close(way.attend(query, keys, values, mask), expected)


@pytest.mark.parametrize(
    ("device", "beams", "threads", "is_fast", "way"),
    [
        ("cuda", 1, 1, True, FUSED),
        ("cuda", 3, 1, True, FUSED),
        ("cpu", 1, 1, True, BY_COLUMNS),
        ("cpu", 3, 1, True, BY_ROWS),
        ("cpu", 3, 2, True, BY_COLUMNS),
        ("cpu", 3, 1, False, BY_COLUMNS),
    ],
)
def test_the_attention_hangs_on_the_device_the_beams_and_the_threads(
    device, beams, threads, is_fast, way, monkeypatch
):
    module = "stages.florence2.decode_attention"
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    monkeypatch.setattr(f"{module}.is_fast_at_few_rows", lambda: is_fast)
    assert attention_for(torch.device(device), beams) is way


@pytest.mark.parametrize(
    ("kernels", "is_fast"), [(["Haswell"], False), (["Zen", "SkylakeX"], True), ([None], False)]
)
def test_openblas_is_fast_at_few_rows_with_avx512(kernels, is_fast, monkeypatch):
    loaded = [{"architecture": name} if name else {} for name in kernels]
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: loaded)
    assert is_fast_at_few_rows.__wrapped__() is is_fast


@pytest.mark.parametrize(("way", "beams"), [(FUSED, 1), (FUSED, 3), (BY_ROWS, 3)])
def test_every_attention_gives_the_same_answers(way, beams, exact, pictures, monkeypatch):
    requests = [Request(i, task) for i in range(2) for task in ROOTS]

    def answers(attention):
        monkeypatch.setattr("stages.florence2.decoder.attention_for", lambda *_: attention)
        engine = Engine(exact, Decoding(LIMITS, beams), 5)
        return {result.request: result for result in engine.run(pictures, requests)}

    ours, theirs = answers(way), answers(BY_COLUMNS)
    assert {asked: r.tokens for asked, r in ours.items()} == {
        asked: r.tokens for asked, r in theirs.items()
    }
    for asked, result in ours.items():
        np.testing.assert_allclose(
            result.scores.locations, theirs[asked].scores.locations, atol=1e-9
        )


@pytest.mark.parametrize("before", [False, True])
def test_denormal_numbers_count_as_zero_in_this_thread_while_answers_are_sought(
    before, lively, pictures
):
    least, seen = torch.tensor([torch.finfo(torch.float32).tiny / 2]), []
    hook = lively.model.model.vision_tower.register_forward_hook(
        lambda *_: seen.append((least * 1).item())
    )
    try:
        if not torch.set_flush_denormal(before):
            pytest.skip("this CPU has no such mode")
        outside = (least * 1).item()
        Engine(lively, Decoding(LIMITS)).run(pictures, [Request(0, "caption")])
        assert seen == [0]
        assert (outside == 0) == before
        assert (least * 1).item() == outside
    finally:
        torch.set_flush_denormal(False)
        hook.remove()


@pytest.mark.parametrize("slots", [2, 3])
@pytest.mark.parametrize("beams", [1, 3])
def test_numbers_that_are_not_finite_cut_an_answer_and_harm_no_other(
    beams, slots, lively_checkpoint, pictures
):
    """Of the decoder's positions one has no numbers. Who writes less far is not concerned, not even
    in a slot that such an answer was in before, or was moved from."""
    loaded = load_checkpoint(Model(checkpoint=str(lively_checkpoint), device="cpu"))
    limits = {"od": 24, "caption": 4, "detailed_caption": 24, "ocr": 16}
    requests = [Request(image, task) for image in range(3) for task in limits]
    engine = Engine(loaded, Decoding(limits, num_beams=beams), slots)
    whole = {result.request: result.tokens for result in engine.run(pictures, requests)}
    places = loaded.model.model.language_model.decoder.embed_positions
    places.weight.data[places.offset + 5] = torch.nan
    kinds = set()
    for order in itertools.islice(itertools.permutations(requests), 0, 400_000, 80_000):
        for found in engine.stream(pictures, order):
            expected = whole[found.request]
            flags = {flag.kind: flag.position for flag in found.answer.flags}
            if len(expected) <= 5:
                assert found.tokens == expected
                assert "not_finite" not in flags
            elif beams == 1 or "not_finite" in flags:  # else another beam had ended before
                assert flags["not_finite"] == len(found.tokens) == len(found.scores.end) == 5
                assert "truncated" not in flags
                assert found.tokens == expected[:5] or beams > 1
            kinds.add(flags.get("not_finite"))
    assert kinds == {None, 5}


def large_blocks_fault():
    """Pages that the system had to find for a block of 64 MiB, the fewest of many: small blocks get
    in between, so the first few find no gap that is wide enough."""
    faults = []
    for _ in range(30):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(2**24)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(faults)


def test_freed_memory_is_kept_for_what_comes_next():
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc can be told to")
    # In a process of its own: there is no way to ask what was told before, or to take it back.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        before = pool.apply(large_blocks_fault)
        pool.apply(keep_freed_memory)
        assert 8 * pool.apply(large_blocks_fault) < before


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    keep_freed_memory()


@pytest.mark.parametrize(("small", "kept"), [(0, 1), (10**9, 0)])
def test_memory_is_kept_for_a_large_checkpoint_alone(small, kept, lively, monkeypatch):
    told = []
    monkeypatch.setattr("stages.florence2.engine.keep_freed_memory", lambda: told.append(1))
    monkeypatch.setattr("stages.florence2.engine.SMALL", small)
    Engine(lively, Decoding(LIMITS))
    assert len(told) == kept
