"""What the bytes of each shard are called, remembered while nothing says that they changed."""

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annotator.errors import ShardError
from annotator.shards import ShardRef, count_images, fingerprint, shard_sha256
from schemas.ids import recipe_id

CONTENT_LENGTH = 12


@dataclass(frozen=True)
class Content:
    """`name` is of the bytes; `images` is None where counting them would cost a fetch."""

    fingerprint: Mapping[str, Any]
    name: str
    images: int | None


class ShardContents:
    """Kept in a file, only as a cache: what cannot be read or written there is found out anew."""

    def __init__(self, path: Path) -> None:
        self._path, self._new = path, False
        self._known: dict[str, Content] = {}
        with suppress(OSError, ValueError, TypeError, AttributeError):
            known = json.loads(path.read_text())
            self._known = {address: Content(**content) for address, content in known.items()}

    def of(self, ref: ShardRef) -> Content:
        """ShardError where the shard is not there."""
        now = fingerprint(ref)
        known = self._known.get(ref.address)
        if known is None or known.fingerprint != now:
            self._new = True
            known = self._known[ref.address] = _find_out(ref, now)
        return known

    def save(self) -> None:
        """A place that cannot be written is the commit's matter to report."""
        if not self._new:
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(f".{uuid.uuid4().hex}.tmp")
            temporary.write_text(json.dumps({a: asdict(c) for a, c in self._known.items()}))
            temporary.replace(self._path)


def _find_out(ref: ShardRef, now: Mapping[str, Any]) -> Content:
    """Remote shards are named by what their server says of them: reading them twice would cost."""
    by_fingerprint = recipe_id(now)[:CONTENT_LENGTH]
    try:
        name = by_fingerprint if "://" in ref.url else shard_sha256(ref)[:CONTENT_LENGTH]
        return Content(now, name, count_images(ref))
    except ShardError:
        # The worker will meet the same, and its sentence costs this shard alone.
        return Content(now, by_fingerprint, 0)
