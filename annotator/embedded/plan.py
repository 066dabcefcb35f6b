"""How the embedded checkpoint is trained: sizes, rates, and what is taught when."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """Rates are AdamW's at their highest; minutes count the whole training, resumed ones too.

    `images_to_see` more images per step teach only the vision tower in the second stage.
    """

    minutes: float
    output: Path
    further_from: Path | None = None
    seed: int = 0
    threads: int = 1
    images: int = 8
    images_to_see: int = 2
    questions: int = 6
    heads_share: float = 0.3
    vision_minutes: float = 10
    rate: float = 1e-3
    vision_rate: float = 2e-3
    warm_up_steps: int = 50
    difficulty: float = 0.6
    ramp: float = 0.25
    exam_minutes: float = 6
    exam_scenes: int = 48
    hard_from: float = 0.75

    def seeing(self, spent: float) -> bool:
        """Whether only the vision tower is taught, after so many seconds."""
        return spent < 60 * self.vision_minutes

    def progress(self, spent: float) -> float:
        return spent / (60 * self.minutes)

    def talking(self, spent: float) -> float:
        """Progress of the second stage in [0, 1]."""
        past = spent / 60 - self.vision_minutes
        return max(0.0, past / (self.minutes - self.vision_minutes))

    def beginning(self, spent: float) -> bool:
        """Whether the language model is still asked its first tasks only."""
        return not self.further_from and self.talking(spent) < 0.1

    def level(self, spent: float) -> float:
        """Highest difficulty of the scenes: full for the eyes, growing for the language."""
        if self.seeing(spent) or self.further_from:
            return self.difficulty
        return self.difficulty * min(1.0, 0.3 + 0.7 * self.talking(spent) / self.ramp)

    def rate_at(self, spent: float, steps_of_stage: int) -> float:
        """Up over a stage's first steps, and linearly to almost 0 over the last half."""
        warm = min(1.0, (steps_of_stage + 1) / self.warm_up_steps)
        if self.seeing(spent):
            return self.vision_rate * warm
        return self.rate * warm * min(1.0, max(0.01, 2 * (1 - self.progress(spent))))
