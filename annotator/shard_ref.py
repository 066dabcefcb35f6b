"""What names a shard."""

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

SCENES = "scenes://"
"""How the address of a computed shard begins."""


@dataclass(frozen=True)
class ShardRef:
    """One shard; `name` is its base name without .tar, .tar.gz or .tgz, unique within a run."""

    url: str
    name: str

    @property
    def address(self) -> str:
        """The url without query, user and password, which may be secret: for tables and people."""
        if "://" not in self.url:
            return self.url
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
