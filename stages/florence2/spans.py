"""Where the phrases of a caption stand in it, and which phrases are the same."""

import re
from collections.abc import Iterable


def plain(phrase: str) -> str:
    """Equal for phrases that differ in case and white space only."""
    return " ".join(phrase.casefold().split())


def phrase_spans(caption: str, phrases: Iterable[str]) -> list[tuple[int, int] | None]:
    """[start, end) in characters of each phrase, None where the caption does not hold it.

    Case and white space may differ. Phrases are looked for left to right, each after the one
    before, so that the second `a man` is found at its second place; then from the beginning.
    """
    spans: list[tuple[int, int] | None] = []
    cursor = 0
    for phrase in phrases:
        span = _find(caption, phrase, cursor) or _find(caption, phrase, 0)
        spans.append(span)
        cursor = span[1] if span else cursor
    return spans


def _find(caption: str, phrase: str, start: int) -> tuple[int, int] | None:
    if not phrase.split():
        return None
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    # Whole words first, so that `a man` is not found in `a mantle`.
    for pattern in (rf"(?<!\w){words}(?!\w)", words):
        if match := re.compile(pattern, re.IGNORECASE).search(caption, start):
            return match.span()
    return None
