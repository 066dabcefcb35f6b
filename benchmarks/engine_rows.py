"""The rows of the engine's benchmark: one way of answering, in a process of its own."""

import contextlib
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from engine_rivals import Answers, naive, tuned
from florence2_base import MENU
from PIL import Image

from stages.florence2.checkpoint import Checkpoint
from stages.florence2.encoders import open_encoders
from stages.florence2.engine import Decoding, Engine
from stages.florence2.requests import Request


@dataclass(frozen=True)
class Row:
    """One way of answering the menu; `slots` None is transformers' own."""

    title: str
    slots: int | None = None
    dtype: torch.dtype = torch.float32
    beams: int = 1
    backend: str = "torch"
    batched: bool = False


@dataclass(frozen=True)
class Turn:
    """Seconds an image, and the answers."""

    cpu: float
    wall: float
    answers: Answers


def rows_of(device: str, slots: Sequence[int]) -> dict[str, Row]:
    """By the name that --rows takes."""
    half, most = torch.bfloat16, slots[-1]
    rows = {
        "naive": Row("transformers, one generate per prompt"),
        "tuned": Row("transformers, features once, one batch", batched=True),
        "fp32": Row(f"ours, fp32, {most} slots", most),
        **{f"bf16-{n}": Row(f"ours, bf16, {n} slots", n, half) for n in slots},
        "naive-beams": Row("transformers, one per prompt, 3 beams", beams=3),
        "beams": Row(f"ours, fp32, {most} slots, 3 beams", most, beams=3),
    }
    if device == "cpu":
        rows["openvino"] = Row("ours, OpenVINO f32", most, backend="openvino")
        rows["openvino-bf16"] = Row("ours, OpenVINO bf16", most, half, backend="openvino")
    else:
        rows["naive-bf16"] = Row("transformers, bf16, one per prompt", dtype=half)
        rows["tuned-bf16"] = Row("transformers, bf16, one batch", dtype=half, batched=True)
        rows["beams-bf16"] = Row(f"ours, bf16, {most} slots, 3 beams", most, half, beams=3)
    return rows


@contextlib.contextmanager
def worker(
    row: Row, checkpoint: Checkpoint, images: Sequence[Image.Image], device: str, threads: int
) -> Iterator[Callable[[int | None], Any]]:
    """A process that answers when asked with an image's number; asked None, its peak memory."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    process = fork.Process(target=_work, args=(theirs, row, checkpoint, images, device, threads))
    process.start()
    theirs.close()

    def ask(number: int | None) -> Any:
        ours.send(number)
        return ours.recv()

    try:
        ours.recv()  # it is ready: what it does before is not to disturb another one's turn
        yield ask
    finally:
        process.terminate()
        process.join()


def _work(
    pipe: Any,
    row: Row,
    checkpoint: Checkpoint,
    images: Sequence[Image.Image],
    on: str,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # transformers' float32 is to be float32 too
    device = torch.device(on)
    model = checkpoint.model.to(device, row.dtype)
    answer = _way(row, replace(checkpoint, model=model, device=device), images)
    pipe.send("ready")
    while (number := pipe.recv()) is not None:
        pipe.send(_turn(answer, number, len(images) if row.slots else 1, device))
    pipe.send(_peak(device))


def _way(
    row: Row, checkpoint: Checkpoint, images: Sequence[Image.Image]
) -> Callable[[int], Answers]:
    if row.slots:
        encoders = open_encoders(checkpoint, row.backend)
        limits = {task: length for task, (length, _) in MENU.items()}
        engine = Engine(checkpoint, Decoding(limits, row.beams), row.slots, encoders)
        return lambda _: _ours(engine, images)
    if row.batched:
        return lambda number: tuned(checkpoint, images, [number])
    return lambda number: naive(checkpoint, images, [number], row.beams)


def _ours(engine: Engine, images: Sequence[Image.Image]) -> Answers:
    """All of the menu about all images."""
    requests = [
        Request(number, task, about)
        for number in range(len(images))
        for task, (_, about) in MENU.items()
    ]
    return {(r.request.image, r.request.task): r.tokens for r in engine.run(images, requests)}


def _turn(answer: Callable[[int], Answers], number: int, images: int, device: torch.device) -> Turn:
    cpu, wall = time.process_time(), time.perf_counter()
    answers = answer(number)
    if device.type == "cuda":
        torch.cuda.synchronize()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Turn(cpu / images, wall / images, answers)


def _peak(device: torch.device) -> float:
    """In thousand million bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
