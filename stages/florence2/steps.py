"""Runs the decode step: over the answers that there are, or captured once for each shape."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from stages.florence2.beams import Rules, step
from stages.florence2.decoder import Decoder
from stages.florence2.slots import Slots, bucket

AT_ONCE = 4
"""Captured steps before the host asks which answers have ended, which makes it wait."""

Run = Callable[[], None]
Capture = Callable[[Run], Run]
"""Records work on tensors that stay where they are, without doing it; what it returns does it."""
NewCapture = Callable[[], Capture]
"""Makes a way to capture work on new slots."""


class Steps:
    """Steps the answers of slots on.

    Without `new_capture`, one step over as few slots, positions and encoder states as are in use.
    With it, `at_once` steps over every slot, over positions and encoder states by the bucket: the
    shapes repeat, and each is captured once. What is captured works on these slots' memory, so
    other slots drop it all.
    """

    def __init__(
        self, decoder: Decoder, rules: Rules, new_capture: NewCapture | None = None
    ) -> None:
        self.at_once = AT_ONCE if new_capture else 1
        self._decoder = decoder
        self._rules = rules
        self._new_capture = new_capture
        self._slots: Slots | None = None
        self._captured: dict[tuple[int, int], Run]
        self._capture: Capture

    @property
    def every_slot(self) -> bool:
        """Whether slots are stepped that hold no answer: not active, and at position 0."""
        return self._new_capture is not None

    def run(self, slots: Slots, used: int, positions: int, tokens: int) -> None:
        """`at_once` steps of the answers in the first `used` slots, which need so much room."""
        if self._new_capture is None:
            self._step(slots.view(used, positions, tokens))
            return
        if slots is not self._slots:
            self._slots, self._captured, self._capture = slots, {}, self._new_capture()
        shape = bucket(positions), bucket(tokens)
        if again := self._captured.get(shape):
            again()
            return
        # The first time is not captured: libraries load then, and allocate what they keep.
        run = partial(self._step, slots.view(len(slots.active), *shape))
        run()
        self._captured[shape] = self._capture(run)

    def _step(self, view: Slots) -> None:
        for _ in range(self.at_once):
            step(self._decoder, view, self._rules)


class CudaGraphs:
    """Makes ways to capture work of one GPU as graphs, for one engine.

    The graphs of one way share memory: one runs at a time and leaves nothing. New slots need a new
    way, because torch refuses memory whose graphs are all gone while anything is left in it, such
    as a workspace of cuBLAS. The stream is the engine's own, because with a graph torch frees the
    workspace of the stream that it was captured on (pytorch#193402).
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def __call__(self) -> Capture:
        return partial(self._capture, torch.cuda.graph_pool_handle())

    def _capture(self, pool: Any, run: Run) -> Run:
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(graph, pool=pool, stream=self._stream),
        ):
            run()
        return graph.replay
