"""Deterministic ids: a retry of the same work makes equal ids."""

import hashlib
import json
from typing import Any

RECIPE_LENGTH = 16


def image_id(shard: str, key: str) -> str:
    """`shard/key`: fixed by the input alone, whatever machine or run reads it."""
    return f"{shard}/{key}"


def local_id(source: str, kind: str, label_no: int) -> str:
    """A label's id within its image, as the column `parent` holds it."""
    return f"{source}/{kind}/{label_no}"


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def recipe_id(value: Any) -> str:
    """First 16 hex digits of the sha256 of all that shapes a result, as canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:RECIPE_LENGTH]
