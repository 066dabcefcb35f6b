"""Words that several commands print."""


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 image`, `2,000 images`; `many` where the plural is no `s`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
