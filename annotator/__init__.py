"""The annotator: shards in, versioned tables of labels you can trust out."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annotator.config import load_config
    from annotator.query import open_tables
    from annotator.runner import run

__all__ = ["load_config", "open_tables", "run"]

_HOMES = {
    "load_config": "annotator.config",
    "open_tables": "annotator.query",
    "run": "annotator.runner",
}


def __getattr__(name: str) -> object:
    """The public names load when they are used, so that `annotator --help` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'annotator' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
