"""Rows of a query, to the terminal or to a file: batch by batch, so that memory never holds all."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from annotator.cli.tables import MAX_ROWS, as_json, json_objects, print_table
from annotator.errors import AnnotatorError

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("table", "csv", "json", "parquet")


def format_of(format_name: str | None, output: Path | None) -> str:
    """The format that is named, else the one of the file's ending; UsageError where none fits."""
    if format_name is None:
        ending = output.suffix.removeprefix(".").lower() if output else "table"
        if ending not in FORMATS:
            raise click.UsageError(f"{output}: say its --format: csv, json or parquet")
        format_name = ending
    if output is None and format_name == "parquet":
        raise click.UsageError("--format parquet needs --output FILE")
    if output is not None and format_name == "table":
        raise click.UsageError("--format table is for reading: --output takes csv, json or parquet")
    return format_name


def write_rows(batches: "pa.RecordBatchReader", format_name: str, output: Path | None) -> None:
    """A file appears under its name when it is whole."""
    if output is None:
        _WRITERS[format_name](batches, sys.stdout)
        return
    with _whole(output) as unfinished:
        if format_name == "parquet":
            _write_parquet(batches, unfinished)
        else:
            with unfinished.open("w", encoding="utf-8", newline="") as stream:
                _WRITERS[format_name](batches, stream)


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    unfinished = output.with_name(f".{output.name}.tmp")
    try:
        yield unfinished
        unfinished.replace(output)
    except OSError as error:
        reason = error.strerror or error
        raise AnnotatorError(
            f"{output}: cannot be written ({reason}); choose another --output"
        ) from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _rows(batch: "pa.RecordBatch") -> list[Sequence[Any]]:
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _write_table(batches: "pa.RecordBatchReader", stream: TextIO) -> None:
    first: list[Sequence[Any]] = []
    total = 0
    for batch in batches:
        first += _rows(batch.slice(0, MAX_ROWS - len(first)))
        total += len(batch)
    print_table(batches.schema.names, first, total)


def _write_csv(batches: "pa.RecordBatchReader", stream: TextIO) -> None:
    """NULL is an empty field, a list or struct its JSON."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(batches.schema.names)
    for batch in batches:
        writer.writerows([_csv_field(value) for value in row] for row in _rows(batch))


def _csv_field(value: object) -> object:
    return json.dumps(value, default=as_json) if isinstance(value, (list, dict)) else value


def _write_json(batches: "pa.RecordBatchReader", stream: TextIO) -> None:
    """An array with one object per row."""
    separator = "[\n"
    for batch in batches:
        for row in json_objects(batches.schema.names, _rows(batch)):
            stream.write(separator + json.dumps(row, default=as_json, ensure_ascii=False))
            separator = ",\n"
    stream.write("[]\n" if separator == "[\n" else "\n]\n")


def _write_parquet(batches: "pa.RecordBatchReader", path: Path) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


_WRITERS = {"table": _write_table, "csv": _write_csv, "json": _write_json}
