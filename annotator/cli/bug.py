"""What is kept of a failure that the user cannot mend, so that we can."""

import platform
import shlex
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("annotator", "duckdb", "pyarrow", "pydantic", "torch", "transformers", "distributed")


def report_bug(error: Exception, arguments: Sequence[str]) -> str:
    """Write versions and traceback to a file of its own; the words that name it.

    Where no file can be written the words hold it all.
    """
    kept = f"{_versions(arguments)}\n\n{''.join(traceback.format_exception(error))}"
    summary = f"{type(error).__name__}: {error}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="annotator-bug-", suffix=".log", encoding="utf-8", delete=False
        ) as file:
            file.write(kept)
    except OSError:
        return f"this is a bug of annotator\n\n{kept}"
    return f"this is a bug of annotator: {summary}\nplease report it with {Path(file.name)}"


def _versions(arguments: Sequence[str]) -> str:
    command = shlex.join(["annotator", *arguments])
    machine = f"Python {platform.python_version()}, {platform.platform()}"
    return "\n".join([command, machine, *(f"{name} {_version(name)}" for name in PACKAGES)])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
