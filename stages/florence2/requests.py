"""What is asked of the engine, and what it answers."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from stages.florence2.grammar import Answer
from stages.florence2.prompts import About, Prompt, Task
from stages.florence2.scores import TokenScores


@dataclass(frozen=True, slots=True)
class Request:
    """A task asked of one image, an index into the images of the run.

    `about` is what a task with an input asks about. `parents` say which labels those are, for
    whoever reads the result; the engine does not look at them.
    """

    image: int
    task: Task
    about: About = None
    parents: tuple[Hashable, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """`tokens` are the generated ones up to and including `</s>`; `scores` are aligned to them."""

    request: Request
    prompt: Prompt
    tokens: tuple[int, ...]
    answer: Answer
    scores: TokenScores


FollowUp = Callable[[Result], Iterable[Request]]
