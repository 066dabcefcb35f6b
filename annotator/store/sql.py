"""Pieces of SQL, and of what DuckDB says."""

_HINTS = ("Did you mean", "Candidate bindings")


def quoted(value: object) -> str:
    """A string literal of SQL, for the statements that take no parameters."""
    return "'" + str(value).replace("'", "''") + "'"


def first_line(error: Exception) -> str:
    """What DuckDB says, without its hints and the echo of the statement."""
    return str(error).strip().partition("\n")[0]


def swept_meanwhile(error: Exception) -> str | None:
    """What to do where DuckDB misses what was there when the tables were opened."""
    text = first_line(error)
    lost = "Cannot open file" in text and text.endswith("No such file or directory")
    if lost or "No snapshot found at version" in text:
        return "where `annotator expire` or `annotator gc` ran meanwhile, open the tables again"
    return None


def explained(error: Exception) -> str:
    """DuckDB's first line, with the names that it proposes."""
    if advice := swept_meanwhile(error):
        return f"{first_line(error)}: {advice}"
    hints = [line for line in str(error).splitlines()[1:] if line.startswith(_HINTS)]
    return " ".join([first_line(error), *hints[:1]])
