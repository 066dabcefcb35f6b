"""Encode once, ask many: a queue of requests about images, answered from one encoding of each."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from stages.florence2.beams import Rules
from stages.florence2.checkpoint import Checkpoint
from stages.florence2.continuous import ContinuousDecoding
from stages.florence2.encoders import SMALL, Encoders, TorchEncoders
from stages.florence2.grammar import parse_answer
from stages.florence2.memory import keep_freed_memory
from stages.florence2.prompts import TASKS, Prompt, Task, build_prompt
from stages.florence2.requests import FollowUp, Request, Result
from stages.florence2.scores import TokenScores
from stages.florence2.waiting import Images, Job, Waiting


@dataclass(frozen=True, slots=True)
class Decoding:
    """How answers are sought; `max_new_tokens` per task.

    With `early_stopping` a search of several beams ends when as many answers have ended; without
    it, when none that goes on scores better than the worst of them, as `generate` has it.
    """

    max_new_tokens: Mapping[Task, int]
    num_beams: int = 1
    no_repeat_ngram_size: int = 0
    early_stopping: bool = True


@contextmanager
def _arithmetic(threads: int | None) -> Iterator[None]:
    """On the CPU, while this lasts: so many threads of torch's, None as many as before; and this
    thread takes denormal numbers for zero, since sharp attention makes many and each makes the
    processor wait."""
    before, flushed = torch.get_num_threads(), sys.float_info.min / 2 == 0
    torch.set_num_threads(threads or before)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        torch.set_num_threads(before)


class Engine:
    """Answers requests in an order and in company of its own; neither changes an answer.

    `batch_size` is how many answers are decoded at a time; None is as `slots_that_fit` has it.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        decoding: Decoding,
        batch_size: int | None = None,
        encoders: Encoders | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.decoding = decoding
        small = checkpoint.parameters <= SMALL
        if checkpoint.device.type == "cpu" and not small:
            keep_freed_memory()
        if checkpoint.device.type == "cuda":
            # Unless told not to, torch rounds what float32 convolutions are given to ten bits.
            torch.backends.cudnn.allow_tf32 = False
        self.encoders = encoders or TorchEncoders(checkpoint)
        rules = Rules.of(
            checkpoint.vocabulary, decoding.no_repeat_ngram_size, decoding.early_stopping
        )
        self._thread_count = 1 if small else None
        with _arithmetic(self._thread_count):  # the decoder's attention hangs on it
            self._answers: ContinuousDecoding[Job] = ContinuousDecoding(
                checkpoint, batch_size, decoding.num_beams, rules
            )
        self.batch_size = self._answers.count

    def run(
        self, images: Images, requests: Iterable[Request], follow_up: FollowUp = lambda _: ()
    ) -> list[Result]:
        """All results of `stream`, with the requests about an image brought together."""
        together = sorted(requests, key=lambda request: request.image)
        return list(self.stream(images, together, follow_up))

    def stream(
        self, images: Images, requests: Iterable[Request], follow_up: FollowUp = lambda _: ()
    ) -> Iterator[Result]:
        """Results as they end, those of the requests that `follow_up` makes of a result included.

        Requests are pulled in, and RGB images asked for, only as their turn comes. An image is
        encoded once, and forgotten when no request about it is left and the next one is about
        another. A request that follows from a result may be about any image. One stream at a time.
        """
        waiting = Waiting(requests, images, self.encoders, self._write, self.batch_size)
        encoded: deque[tuple[Job, torch.Tensor]] = deque()
        self._answers.clear()
        while True:
            with _arithmetic(self._thread_count), torch.inference_mode():
                self._join(waiting, encoded)
                if not self._answers:
                    return
                ended = self._answers.advance()
            for job, tokens, scores in ended:
                result = self._result(job, tokens, scores)
                waiting.put_first(follow_up(result))
                waiting.finished(job.request)
                yield result

    def _join(self, waiting: Waiting, encoded: deque[tuple[Job, torch.Tensor]]) -> None:
        """Let answers begin while there are slots for them."""
        while self._answers.free:
            waiting.fill()
            if not encoded and not waiting:
                return
            if not encoded:
                alike = waiting.take()
                hidden, lengths = self.encoders.encode_prompts(
                    [job.prompt for job in alike], [job.features for job in alike]
                )
                rows = (row[:length] for row, length in zip(hidden, lengths, strict=True))
                encoded.extend(zip(alike, rows, strict=True))
            joining = [encoded.popleft() for _ in range(min(self._answers.free, len(encoded)))]
            jobs, states = zip(*joining, strict=True)
            self._answers.join(jobs, states, [self._limit(job.request.task) for job in jobs])

    def _write(self, request: Request, image_tokens: int) -> Prompt:
        room = self.checkpoint.max_positions - image_tokens
        return build_prompt(request.task, self.checkpoint.vocabulary, room, request.about)

    def _limit(self, task: Task) -> int:
        return min(self.decoding.max_new_tokens[task], self.checkpoint.max_positions - 1)

    def _result(self, job: Job, tokens: tuple[int, ...], scores: TokenScores) -> Result:
        task, vocabulary = job.request.task, self.checkpoint.vocabulary
        broken = tokens[-1:] != (vocabulary.eos,)
        answer = parse_answer(tokens, TASKS[task].output, vocabulary, self._limit(task), broken)
        return Result(job.request, job.prompt, tokens, answer, scores)
