"""Words that several commands print."""


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 image`, `2,000 images`; `many` where the plural is no `s`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def in_bytes(count: int) -> str:
    """`999 B`, `1.2 kB`, `35.0 MB`: powers of 1,000."""
    if count < 1000:
        return f"{count} B"
    size, units = count / 1000, "kMGTP"
    while size >= 999.95 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:,.1f} {units[0]}B"
