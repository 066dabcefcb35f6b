"""A training of pipelines.yaml: a version of some tables → a checkpoint that says where it is from.

The checkpoint appears under its name when it is whole; `training.json` in it holds the table, the
version, the options, the digest of the checkpoint it began as, what was taught, and the losses.
"""

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator.config import Config, Training, resolved_models
from annotator.errors import AnnotatorError, ConfigError, StoreError
from annotator.examples import Material, examples_of_version
from annotator.lessons import Syllabus
from annotator.store import Store
from annotator.training import TrainingLog, TrainingSettings, fit, room_in
from schemas.ids import recipe_id
from stages.errors import StageError
from stages.florence2.checkpoint import find_files, identity

PROVENANCE = "training.json"
BEHAVIOUR = 1
"""Raised by hand when the same labels and options begin to give another checkpoint."""


@dataclass(frozen=True)
class FineTuned:
    """`output` is the folder of the new checkpoint; `version` is of the tables it learnt from."""

    name: str
    output: Path
    table: Path
    version: int
    material: Material
    log: TrainingLog


def fine_tune(config: Config, name: str | None = None) -> FineTuned:
    """Run a training, the first of the file by default.

    AnnotatorError where the output exists or cannot be written, where the tables or that version
    of them do not exist, and where the version holds no label that teaches one of the tasks.
    """
    name, training = config.training(name)
    output = config.resolve(training.output)
    store = Store.open(config.store_folder(training.table))
    version = _version(store, training)
    parent, digest = _parent_checkpoint(config, training)
    settings = _settings(training)
    with _new_folder(output) as unfinished, tempfile.TemporaryFile(dir=unfinished.parent) as spool:
        syllabus = Syllabus(
            training.tasks, training.labels, room_in(parent, settings.max_target_tokens)
        )
        with closing(store.connect(version)) as connection:
            material = examples_of_version(connection, syllabus, spool)
        _need_examples(material, training, store, version)
        log = fit(parent, material.examples, unfinished, settings)
        tuned = FineTuned(name, output, store.root, version, material, log)
        _write_provenance(unfinished / PROVENANCE, tuned, training, digest)
    return tuned


def _version(store: Store, training: Training) -> int:
    """The number of the version to learn from."""
    if training.version != "latest":
        return store.version(training.version).number
    versions = store.versions()
    if not versions:
        raise StoreError(f"{store.root}: no version yet: `annotator run` makes the first")
    return versions[-1].number


def _parent_checkpoint(config: Config, training: Training) -> tuple[Path, str]:
    """Folder and digest."""
    model = resolved_models(config)[training.model]
    try:
        return find_files(model)[0], identity(model)["digest"]
    except StageError as error:
        raise ConfigError(str(error)) from error


def _settings(training: Training) -> TrainingSettings:
    return TrainingSettings(
        epochs=training.epochs,
        minutes=training.minutes,
        images_per_batch=training.batch_size,
        learning_rate=training.learning_rate,
        freeze_vision=training.freeze_vision,
        seed=training.seed,
    )


@contextmanager
def _new_folder(output: Path) -> Iterator[Path]:
    """A folder beside `output` that takes its name in the end, and is gone where that fails."""
    if output.exists():
        raise AnnotatorError(
            f"{output} exists: name another `output` for this training, or delete the folder"
        )
    work = output.parent / f".{output.name}.{uuid.uuid4().hex[:8]}"
    made = _missing_parents(output)
    try:
        work.mkdir(parents=True)
        yield work / output.name
        (work / output.name).rename(output)
    except OSError as error:
        reason = error.strerror or error
        raise AnnotatorError(
            f"{output}: cannot write the checkpoint ({reason}): name another `output`"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for folder in made:
            with suppress(OSError):  # not empty: the checkpoint is in it
                folder.rmdir()


def _missing_parents(output: Path) -> list[Path]:
    """Folders that would be made for it, the deepest first."""
    return [folder for folder in output.parents if not folder.exists()]


def _need_examples(material: Material, training: Training, store: Store, version: int) -> None:
    if material.examples:
        return
    found = f"version {version} of {store.root.name}"
    if material.lost:
        raise AnnotatorError(
            f"none of the {material.lost} labelled images of {found} is in its shard as it was: "
            "put the shards back, or run the pipeline again"
        )
    kind = "human labels" if training.labels == "human" else "kept labels"
    raise AnnotatorError(
        f"{found} holds no {kind} that teach {', '.join(training.tasks)}: "
        "choose other `tasks`, `labels` or another `version`"
    )


def _write_provenance(path: Path, tuned: FineTuned, training: Training, parent: str) -> None:
    log, material = tuned.log, tuned.material
    origin: dict[str, Any] = {
        "table": tuned.table.name,
        "version": tuned.version,
        "parent": parent,
        "options": training.model_dump(mode="json", exclude={"table", "version", "output"}),
        "behaviour": BEHAVIOUR,
    }
    result = {
        "images": len(material.examples),
        "lessons": material.lessons,
        "dropped": material.dropped,
        "lost": material.lost,
        "steps": len(log.losses),
        "images_seen": log.images,
        "questions_seen": log.questions,
        "seconds": round(log.seconds, 1),
        "losses": log.losses,
    }
    provenance = {"training": tuned.name, "recipe": recipe_id(origin), **origin, **result}
    path.write_text(json.dumps(provenance, indent=1) + "\n", encoding="utf-8")
