"""DuckDB on S3, with the endpoint, region and credentials that s3fs finds too."""

import os
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import duckdb

from annotator.errors import MissingDependency, StoreError
from annotator.store.sql import quoted


def allow_s3(connection: duckdb.DuckDBPyConnection) -> None:
    """For the life of the connection, as credentials of a role may run out."""
    client = _client(os.getpid())
    endpoint = urlsplit(client.meta.endpoint_url)
    options = {
        "REGION": quoted(client.meta.region_name or "us-east-1"),
        "USE_SSL": "true" if endpoint.scheme == "https" else "false",
    }
    if not endpoint.netloc.endswith("amazonaws.com"):
        options |= {"ENDPOINT": quoted(endpoint.netloc), "URL_STYLE": "'path'"}
    found = _session(os.getpid()).get_credentials()
    if found is None:
        raise StoreError(
            "no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
        )
    keys = found.get_frozen_credentials()
    options |= {"KEY_ID": quoted(keys.access_key), "SECRET": quoted(keys.secret_key)}
    if keys.token:
        options["SESSION_TOKEN"] = quoted(keys.token)
    listed = ", ".join(f"{name} {value}" for name, value in options.items())
    connection.execute(f"CREATE OR REPLACE SECRET annotator_s3 (TYPE s3, {listed})")


@cache
def _session(process: int) -> Any:
    try:
        from botocore.session import get_session
    except ImportError as error:
        raise MissingDependency(
            "tables on S3 need other packages: pip install 'annotator[s3]'"
        ) from error
    return get_session()


@cache
def _client(process: int) -> Any:
    """Knows what endpoint and region all of botocore's settings come to."""
    return _session(process).create_client("s3")
