"""Runs the decode step: over the answers that there are, or captured once for each shape."""

from collections.abc import Callable
from functools import partial

import torch

from stages.florence2.beams import Rules, step
from stages.florence2.decoder import Decoder
from stages.florence2.slots import Slots, bucket

AT_ONCE = 4
"""Captured steps before the host asks which answers have ended, which makes it wait."""

Run = Callable[[], None]
Capture = Callable[[Run], Run]
"""Records work on tensors that stay where they are, without doing it; what it returns does it."""
Captures = Callable[[], Capture]
"""Makes a way to capture work on slots that are new."""


class Steps:
    """Steps the answers of slots on.

    Without `captures`, one step over as few slots, positions and encoder states as are in use.
    With it, `at_once` steps over every slot, over positions and encoder states by the bucket: the
    shapes repeat, and each is captured once. What is captured works on these slots' memory, so
    other slots drop it all.
    """

    def __init__(self, decoder: Decoder, rules: Rules, captures: Captures | None = None) -> None:
        self.at_once = AT_ONCE if captures else 1
        self._decoder = decoder
        self._rules = rules
        self._captures = captures
        self._slots: Slots | None = None
        self._captured: dict[tuple[int, int], Run]
        self._capture: Capture

    @property
    def every_slot(self) -> bool:
        """Whether slots are stepped that hold no answer: not active, and at position 0."""
        return self._captures is not None

    def run(self, slots: Slots, used: int, positions: int, tokens: int) -> None:
        """`at_once` steps of the answers in the first `used` slots, which need so much room."""
        if self._captures is None:
            self._step(slots.view(used, positions, tokens))
            return
        if slots is not self._slots:
            self._slots, self._captured, self._capture = slots, {}, self._captures()
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
    """Captures work of one GPU as graphs. They share memory: one runs at a time and leaves
    nothing. When all that it captured are dropped it is of no more use: torch makes no graph in
    memory that its last graph has left."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Run) -> Run:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(graph, pool=self._pool):
            run()
        return graph.replay
