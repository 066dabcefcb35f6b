"""What can go wrong that the user can mend: one class per thing a caller may want to catch.

AnnotatorError
├── ConfigError        pipelines.yaml, or a name in it
├── ShardError         a shard that cannot be opened at all
├── StoreError         the folder of versioned tables
├── QueryError         a user's SQL
└── MissingDependency  an extra that is not installed
"""


class AnnotatorError(Exception):
    """The message is one sentence for the user: what, where, what to do. Exit code 1."""


class ConfigError(AnnotatorError):
    """The pipelines file, or a name that should be in it."""


class ShardError(AnnotatorError):
    """A shard that is missing, or is no tar at all."""


class StoreError(AnnotatorError):
    """The versioned tables cannot be opened, written or found."""


class QueryError(AnnotatorError):
    """SQL that DuckDB refuses, or that we refuse because it would write."""


class MissingDependency(AnnotatorError):
    """An optional package is needed; the message says the pip command."""
