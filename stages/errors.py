"""What a stage raises."""


class StageError(Exception):
    """Something the user can mend, in one sentence: an unknown checkpoint, a missing extra."""
