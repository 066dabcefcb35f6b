"""Steps as CUDA runs them, on the CPU: every slot, shapes by the bucket, several at a time."""

import copy
import weakref
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stages.base import Model
from stages.errors import StageError
from stages.florence2.beams import Rules, _best, _best_of_each, step
from stages.florence2.decode_attention import BY_COLUMNS, BY_ROWS, FUSED
from stages.florence2.decoder import Decoder
from stages.florence2.engine import Decoding, Engine
from stages.florence2.hypotheses import tensors
from stages.florence2.loading import load_checkpoint
from stages.florence2.memory import slots_that_fit
from stages.florence2.prompts import TASKS
from stages.florence2.requests import Request
from stages.florence2.slots import Slots
from stages.florence2.steps import AT_ONCE, Steps

ROOTS = ("caption", "od", "region_proposal", "ocr_with_region")
WAYS = pytest.mark.parametrize(("beams", "ban"), [(1, 0), (1, 3), (3, 0), (3, 3)])


@pytest.fixture(autouse=True)
def attention_of_a_gpu(monkeypatch):
    monkeypatch.setattr("stages.florence2.decoder.attention_for", lambda *_: FUSED)


@pytest.fixture(scope="module")
def exact(lively_checkpoint):
    """In float64, where rounding decides between no two tokens."""
    loaded = load_checkpoint(Model(checkpoint=str(lively_checkpoint), device="cpu"))
    loaded.model.double()
    return loaded


def answers(engine, pictures, requests):
    return {result.request: result for result in engine.run(pictures, requests)}


def capture_with(engine, capture):
    decoding = engine._answers
    decoding.steps = Steps(decoding.decoder, decoding.steps._rules, lambda: capture)
    return engine


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for asked, theirs in expected.items():
        ours = found[asked]
        assert ours.tokens == theirs.tokens, asked
        for name in ("chosen", "end", "locations"):
            np.testing.assert_allclose(
                getattr(ours.scores, name), getattr(theirs.scores, name), atol=1e-5
            )


@pytest.mark.parametrize(("beams", "ban"), [(1, 3), (3, 3)])
def test_a_step_compiles_to_one_graph_and_once_while_the_bucket_stays(beams, ban, exact, pictures):
    compiler, decoding = CompileCounter(), Decoding(dict.fromkeys(TASKS, 12), beams, ban)
    requests = [Request(image, task) for image in range(2) for task in ROOTS[:3]]

    def compiled(run):
        return torch.compile(run, fullgraph=True, dynamic=False, backend=compiler)

    torch._dynamo.reset()
    engine = capture_with(Engine(exact, decoding, 4), compiled)
    with torch._dynamo.config.patch(error_on_recompile=True):
        found = answers(engine, pictures, requests)
    assert compiler.frame_count == 1
    assert_same(found, answers(Engine(exact, decoding, 4), pictures, requests))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("way", [BY_COLUMNS, BY_ROWS, FUSED])
@pytest.mark.parametrize(
    ("room", "wider", "as_they_are"),
    [
        ((128, 64), ("keys", "values"), ("cross_keys", "cross_values")),
        ((64, 128), ("cross_keys", "cross_values"), ("keys", "values")),
    ],
)
def test_room_is_added_around_what_is_there(
    room, wider, as_they_are, way, beams, exact, monkeypatch
):
    monkeypatch.setattr("stages.florence2.decoder.attention_for", lambda *_: way)
    slots = Slots.allocate(Decoder(exact, beams), 2, 64, 64)
    for tensor in tensors(slots.caches):
        tensor.normal_()
    after = slots.with_room(*room)
    assert (after.positions, after.room) == room
    for then, now in zip(slots.caches, after.caches, strict=True):
        for name in as_they_are:
            assert getattr(now, name) is getattr(then, name)
        for name in wider:
            old, new = getattr(then, name), getattr(now, name)
            assert torch.equal(new[:, :, :64], old)
            assert new.shape[2] == 128
            assert not new[:, :, 64:].any()
            assert (new.stride(-1) == 1) == (old.stride(-1) == 1)
    assert (after.locations is slots.locations) == (room[0] == 64)


@pytest.mark.parametrize("beams", [1, 3])
def test_slots_take_a_quarter_of_the_memory(beams, exact, monkeypatch):
    decoder = Decoder(exact, beams)
    longest = exact.max_positions
    one = sum(of.nbytes for of in tensors(Slots.allocate(decoder, 1, longest, longest)))
    pages = {"SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    for quarter, count in ((one / 2, 8), (20 * one, 20), (1000 * one, 32)):
        pages["SC_PHYS_PAGES"] = int(4 * quarter) // 4096
        assert slots_that_fit(decoder) == pytest.approx(count, rel=0.06)
    decoder.device = torch.device("cuda")
    # Of what torch keeps, what no tensor holds is free too.
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda _: 9_000_000)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda _: 8_000_000)
    for quarter, count in ((one / 2, 8), (100 * one, 100), (1000 * one, 256)):
        free = int(4 * quarter) - 1_000_000
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda _, free=free: (free, 0))
        assert slots_that_fit(decoder) == pytest.approx(count, rel=0.06)


def test_slots_that_take_more_than_half_of_the_memory_are_refused(exact, pictures, monkeypatch):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 10**8}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    decoding = Decoding(dict.fromkeys(TASKS, 80))
    engine = Engine(exact, decoding, 16)
    laid_out = sum(of.nbytes for of in tensors(engine._answers._slots))
    pages["SC_PHYS_PAGES"] = int(1.8 * laid_out) // 4096
    with pytest.raises(StageError, match=r"batch_size 16 takes [\d.]+ GB, more than half of this"):
        Engine(exact, decoding, 16)
    pages["SC_PHYS_PAGES"] = int(2.2 * laid_out) // 4096
    engine = Engine(exact, decoding, 16)
    with pytest.raises(StageError, match="or set it below 16"):  # the slots would have to grow
        engine.run(pictures, [Request(0, task) for task in ROOTS])


def test_a_machine_that_does_not_tell_its_memory_gets_the_usual_slots(exact, monkeypatch):
    monkeypatch.delattr("os.sysconf")
    assert slots_that_fit(Decoder(exact, 1)) == 32


@pytest.mark.parametrize("count", [1, 6, 32])
def test_the_best_tokens_are_found_by_blocks(count):
    random = torch.Generator().manual_seed(count)
    # Few different numbers, so that many are equal; fewer blocks than are asked for.
    logits = torch.randint(0, 200, (3, 2, 5 * 64), generator=random).float()
    values, tokens = _best_of_each(logits, count)
    assert torch.equal(values, logits.topk(count).values)
    assert torch.equal(logits.gather(2, tokens), values)
    assert all(len(set(row)) == count for row in tokens.flatten(0, 1).tolist())
    best, token = _best(logits)
    first = logits.numpy().argmax(axis=2)
    assert token.tolist() == first.tolist()
    assert torch.equal(best, values[:, :, 0])


@WAYS
def test_slots_that_are_empty_and_answers_that_have_ended_change_nothing(
    beams, ban, exact, pictures
):
    limits = {"caption": 6, "od": 70, "region_proposal": 17, "ocr_with_region": 24}
    requests = [Request(image, task) for image in range(2) for task in ROOTS]
    decoding = Decoding(limits, beams, ban)
    engine = capture_with(Engine(exact, decoding, 5), lambda run: run)
    answers(engine, pictures, requests[2:4])
    found = answers(engine, pictures, requests)
    assert_same(found, answers(Engine(exact, decoding, 5), pictures, requests))


def test_a_stream_that_is_left_early_does_not_disturb_the_next(exact, pictures):
    decoding = Decoding(dict.fromkeys(TASKS, 12), 3)
    requests = [Request(image, task) for image in range(3) for task in ROOTS]
    engine = capture_with(Engine(exact, decoding, 5), lambda run: run)
    next(engine.stream(pictures, requests))
    found = answers(engine, pictures, requests[:2])
    assert_same(found, answers(Engine(exact, decoding, 5), pictures, requests[:2]))


class NothingOfTheHost(TorchDispatchMode):
    """Fails where a GPU would wait for the host, or the host for it: numbers that cross over."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.lift_fresh.default,
        )
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        assert all(tensor.ndim for tensor in tensors), func
        return func(*args, **(kwargs or {}))


@WAYS
def test_a_step_neither_reads_a_number_back_nor_sends_one(beams, ban, exact):
    decoder = Decoder(exact, beams)
    slots = Slots.allocate(decoder, 2, 64, 64)
    with torch.inference_mode():
        hidden = torch.zeros(2, 5, decoder.heads * decoder.head_width, dtype=torch.float64)
        slots.begin([0, 1], decoder.cross(hidden), [5, 3], [9, 7])
        with NothingOfTheHost():
            step(decoder, slots.view(2, 16, 5), Rules.of(exact.vocabulary, ban, ban == 0))
    assert slots.position.tolist() == [1, 1]


class Graphs:
    """Counts what is captured, and what is run again. Like torch it makes no graph in memory that
    its last graph has left."""

    def __init__(self):
        self.made, self.replayed = 0, 0

    def captures(self):
        alive, used = weakref.WeakSet(), False

        def capture(run):
            nonlocal used
            assert alive or not used
            used = True
            self.made += 1

            def again():
                self.replayed += 1
                run()

            alive.add(again)
            return again

        return capture


def test_each_shape_is_captured_once_until_the_slots_are_others(exact):
    decoder, graphs = Decoder(exact, 1), Graphs()
    steps = Steps(decoder, Rules.of(exact.vocabulary), graphs.captures)
    slots, others = (Slots.allocate(decoder, 2, 128, 128) for _ in range(2))

    def run(slots, positions, tokens):
        steps.run(slots, 1, positions, tokens)
        return graphs.made, graphs.replayed

    with torch.inference_mode():
        assert run(slots, 4, 101) == (1, 0)
        assert run(slots, 64, 128) == (1, 1)
        assert run(slots, 65, 128) == (2, 1)
        assert run(slots, 8, 60) == (3, 1)
        assert run(slots, 70, 70) == (3, 2)
        assert run(others, 70, 70) == (4, 2)
        assert run(others, 70, 70) == (4, 3)
        assert run(slots, 70, 70) == (5, 3)


@pytest.mark.parametrize("at", [1, 2, AT_ONCE])
def test_steps_go_on_by_as_many_as_they_say(at, exact):
    decoder = Decoder(exact, 1)
    steps = Steps(decoder, Rules.of(exact.vocabulary), lambda: lambda run: run)
    slots = Slots.allocate(decoder, 3, 64, 64)
    with torch.inference_mode():
        hidden = torch.zeros(1, 5, decoder.heads * decoder.head_width, dtype=torch.float64)
        slots.begin([1], decoder.cross(hidden), [5], [at])
        steps.run(slots, 2, AT_ONCE, 5)
    assert slots.position.tolist() == [0, at, 0]
    assert slots.active.tolist() == [False, False, False]


@contextmanager
def on_a_gpu_without_numbers(checkpoint):
    """While this lasts, tensors have a shape and a device, and no memory; so has the checkpoint."""
    model = copy.deepcopy(checkpoint.model)
    with FakeTensorMode(), torch.inference_mode():
        for module in model.modules():
            for held in (module._parameters, module._buffers):
                for name, of in held.items():
                    if of is not None:
                        held[name] = torch.empty(of.shape, dtype=of.dtype, device="cuda")
        yield replace(checkpoint, model=model, device=torch.device("cuda"))


class AllOnTheGPU(TorchDispatchMode):
    """Fails where a tensor is made elsewhere: it would have to be copied there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        devices = {one.device.type for one in tree_leaves(made) if isinstance(one, torch.Tensor)}
        assert devices <= {"cuda"}, func
        return made


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="needs torch's build for CUDA")
@WAYS
def test_all_tensors_of_decoding_are_the_gpu_s(beams, ban, exact):
    """Mixed devices raise without a GPU too, and so does whatever reads a number."""
    with on_a_gpu_without_numbers(exact) as checkpoint:
        decoder = Decoder(checkpoint, beams)
        slots = Slots.allocate(decoder, 4, 64, 64)
        states = torch.empty(2, 70, decoder.heads * decoder.head_width, device="cuda").double()
        slots = slots.with_room(128, 128)
        slots.begin([0, 2], decoder.cross(states), [70, 66], [9, 7])
        with AllOnTheGPU():
            step(decoder, slots.view(4, 64, 128), Rules.of(checkpoint.vocabulary, ban, ban == 0))
        slots.empty([0, 2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@WAYS
def test_graphs_on_a_gpu_give_the_tokens_of_the_cpu(beams, ban, lively_checkpoint, pictures):
    requests = [Request(image, task) for image in range(3) for task in ROOTS]
    decoding = Decoding(dict.fromkeys(TASKS, 80), beams, ban)
    found = []
    for device in ("cpu", "cuda"):
        loaded = load_checkpoint(Model(checkpoint=str(lively_checkpoint), device=device))
        loaded.model.double()
        found.append(answers(Engine(loaded, decoding, 5), pictures, requests))
    assert_same(*found)
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_an_engine_s_graphs_outlive_those_of_another(lively_checkpoint, pictures):
    """The second one's slots grow, and drop their graphs, while the first replays its own."""
    requests = [Request(image, task) for image in range(3) for task in ROOTS]
    loaded = load_checkpoint(Model(checkpoint=str(lively_checkpoint), device="cuda"))
    loaded.model.double()
    first, second = (Engine(loaded, Decoding(dict.fromkeys(TASKS, n)), 5) for n in (40, 140))
    expected = answers(first, pictures, requests)
    stream = first.stream(pictures, requests)
    found = [next(stream)]
    answers(second, pictures, requests)
    found += stream
    assert_same({result.request: result for result in found}, expected)
