"""Where the catalogue and the files of tables lie: in their folder, unless a file there says more.

`place.json` in the folder of tables names a PostgreSQL that a team shares, files on S3, or both:

    {"catalog": "postgres:host=db.example dbname=labels", "catalog_schema": "cells",
     "data": "s3://bucket/cells"}

Parts stay in the folder. Nothing secret is written here: passwords are libpq's to find (PGPASSWORD,
~/.pgpass), keys of S3 botocore's (AWS_ACCESS_KEY_ID, ~/.aws, the machine's role).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from annotator.errors import StoreError

PLACE = "place.json"
CATALOG = "catalog.sqlite"
DATA = "data"
POSTGRES = "postgres:"
S3 = "s3://"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Place:
    """`catalog` is `sqlite:PATH`, or `postgres:` with libpq's words and `schema`; `data` ends in /.

    `schema` keeps the tables of one database apart; None in SQLite.
    """

    catalog: str
    data: str
    schema: str | None = None

    @property
    def is_shared(self) -> bool:
        """Whether the catalogue is a server's."""
        return self.catalog.startswith(POSTGRES)

    @property
    def is_remote(self) -> bool:
        """Whether the files lie on S3."""
        return self.data.startswith(S3)

    @property
    def database(self) -> str:
        """The catalogue's address without its kind."""
        return self.catalog.partition(":")[2]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    catalog: str | None = None
    catalog_schema: str | None = None
    data: str | None = None


def place_of(root: Path) -> Place:
    """Of the tables in a folder (absolute); StoreError for a place.json that cannot be followed."""
    here = Place(f"sqlite:{root / CATALOG}", f"{root / DATA}/")
    try:
        said = _Said.model_validate_json((root / PLACE).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return here
    except ValidationError as error:
        [first, *_] = error.errors()
        where = ".".join(map(str, first["loc"])) or "the file"
        raise StoreError(f"{root / PLACE}: {where}: {first['msg']}") from error
    if wrong := _mistake(said):
        raise StoreError(f"{root / PLACE}: {wrong}")
    data = f"{said.data.rstrip('/')}/" if said.data else here.data
    return Place(said.catalog or here.catalog, data, said.catalog_schema)


def _mistake(said: _Said) -> str | None:
    if said.catalog is not None and not said.catalog.startswith(POSTGRES):
        return f"catalog: begin with {POSTGRES!r}, as in 'postgres:host=db.example dbname=labels'"
    if said.catalog is not None and re.search(r"password\s*=|://", said.catalog):
        return (
            "catalog: write words such as 'host=… dbname=…', and leave the password to "
            "PGPASSWORD or ~/.pgpass"
        )
    if (said.catalog is None) != (said.catalog_schema is None):
        return "catalog and catalog_schema go together: the schema is the tables' own in the server"
    if said.catalog_schema is not None and not _SCHEMA.fullmatch(said.catalog_schema):
        return "catalog_schema: small letters, digits and '_', as in 'cells'"
    if said.data is not None and not re.match(r"s3://[^/]+/.|/.", said.data):
        return "data: an absolute path, or s3://bucket/folder"
    return None
