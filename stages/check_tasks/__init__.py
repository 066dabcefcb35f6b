"""check_tasks: labels that the answers to other tasks about the image do not bear out."""

from stages.check_tasks.stage import CheckTasks

__all__ = ["CheckTasks"]
