"""Pieces of SQL, and of what DuckDB says."""


def quoted(value: object) -> str:
    """A string literal of SQL, for the statements that take no parameters."""
    return "'" + str(value).replace("'", "''") + "'"


def first_line(error: Exception) -> str:
    """What DuckDB says, without its hints and the echo of the statement."""
    return str(error).strip().partition("\n")[0]
