"""pipelines.yaml → Config, or every mistake at once with its file and line."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    StringConstraints,
    Tag,
    ValidationError,
    field_validator,
)

from annotator.config_links import EMBEDDED, did_you_mean, is_folder
from annotator.config_mistakes import NAME, find_mistakes
from annotator.errors import ConfigError
from annotator.profiles import Profile, judges_of
from annotator.yaml_locations import MAX_BYTES, Document, Mistake, Place, read_yaml, shown
from stages.base import Model, normalise_tasks
from stages.catalogue import AnyJudge, AnyProposer

Entry = TypeVar("Entry")
Name = Annotated[str, StringConstraints(pattern=NAME, max_length=64)]
TaughtTask = Literal[
    "caption",
    "detailed_caption",
    "more_detailed_caption",
    "od",
    "dense_region_caption",
    "caption_to_phrase_grounding",
]
Text = Annotated[str, StringConstraints(min_length=1)]
Judges = Annotated[
    Annotated[Profile, Tag("profile")] | Annotated[list[AnyJudge], Tag("list")],
    Discriminator(lambda written: "profile" if isinstance(written, str) else "list"),
]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Pipeline(_Options):
    """Shards in, one version of one table set out."""

    shards: Text | Annotated[list[Text], Field(min_length=1)] = Field(
        description="addresses of shards: paths, globs, URLs, brace ranges, or scenes://COUNT"
    )
    table: Name | None = Field(
        None, description="folder of the versioned tables; by default the pipeline's name"
    )
    round: int = Field(0, ge=0, description="turn of the refinement loop that these labels are of")
    propose: list[AnyProposer] = Field(description="stages that see pixels, in order")
    judge: Judges = Field(
        [], description="stages that see labels only, in order; or a profile, all with defaults"
    )

    @property
    def judges(self) -> list[AnyJudge]:
        """Under `judge`, a profile written out."""
        return judges_of(self.judge) if isinstance(self.judge, str) else self.judge


class Training(_Options):
    """A version of some tables in, a fine-tuned checkpoint out."""

    table: Name = Field(description="the versioned tables to learn from")
    version: Annotated[int, Field(ge=1)] | Literal["latest"] = Field(
        "latest", description="which version of them"
    )
    model: str = Field(description="name of the model to begin with")
    labels: Literal["human", "kept"] = Field(
        "human", description="labels that people made, or all that judgement kept"
    )
    tasks: Annotated[list[TaughtTask], Field(min_length=1), BeforeValidator(normalise_tasks)] = (
        Field(["od"], description="Florence-2 tasks to teach")
    )
    output: Text = Field(description="folder of the new checkpoint")
    epochs: float = Field(7, gt=0, description="passes over the labels")
    batch_size: int = Field(6, ge=1, description="images in one step")
    learning_rate: float = Field(1e-6, gt=0, description="of AdamW at the start; falls to zero")
    freeze_vision: bool = Field(True, description="leave the vision tower as it is")
    seed: int = Field(0, ge=0, description="of the order of the labels")
    minutes: float | None = Field(None, gt=0, description="stop after so long, done or not")

    @field_validator("tasks")
    @classmethod
    def _once_each(cls, tasks: list[TaughtTask]) -> list[TaughtTask]:
        if twice := sorted({task for task in tasks if tasks.count(task) > 1}):
            raise ValueError(f"names {', '.join(twice)} more than once")
        return tasks


class Config(_Options):
    """What pipelines.yaml says. Relative paths in it are relative to the folder it is in."""

    version: Literal[1] = Field(description="of this format")
    store: Text = Field("tables", description="folder that holds one folder per table")
    models: dict[Name, Model] = Field(description="checkpoints by name")
    pipelines: dict[Name, Pipeline] = Field(
        min_length=1, description="in the order people run them"
    )
    trainings: dict[Name, Training] = Field({}, description="fine-tunings by name")

    _path: Path = PrivateAttr(default_factory=lambda: Path("pipelines.yaml").absolute())

    @property
    def path(self) -> Path:
        """Where this was read, absolute."""
        return self._path

    def resolve(self, path: str) -> Path:
        """A path as the file writes it → absolute."""
        return self._path.parent / path

    def pipeline(self, name: str | None = None) -> tuple[str, Pipeline]:
        """By name, or the first of the file."""
        return self._entry("pipeline", self.pipelines, name)

    def training(self, name: str | None = None) -> tuple[str, Training]:
        """By name, or the first of the file."""
        return self._entry("training", self.trainings, name)

    def store_folder(self, name: str) -> Path:
        """Folder of a table by its name, else of a pipeline's tables, else of any in the store."""
        store = self.resolve(self.store)
        tables = {name: line.table or name for name, line in self.pipelines.items()}
        if name in tables.values():
            return store / name
        if name in tables:
            return store / tables[name]
        if (store / name).parent == store and (store / name).is_dir():
            return store / name
        known = dict.fromkeys([*tables.values(), *tables])
        raise ConfigError(self._unknown("table or pipeline", name, known))

    def _entry(
        self, kind: str, entries: Mapping[str, Entry], name: str | None
    ) -> tuple[str, Entry]:
        if not entries:
            raise ConfigError(f"{self._path} has no {kind}s: write one under '{kind}s:'")
        if name is None:
            return next(iter(entries.items()))
        if name not in entries:
            raise ConfigError(self._unknown(kind, name, entries))
        return name, entries[name]

    def _unknown(self, kind: str, name: str, known: Mapping[str, object]) -> str:
        return (
            f"unknown {kind} {shown(name)}{did_you_mean(name, known)}"
            f" ({self._path.name} has {', '.join(known)})"
        )


def load_config(path: Path | str) -> Config:
    """ConfigError holds every mistake, one per line, sorted by line: `file:line: place: what`."""
    path = Path(path)
    document = read_yaml(_read_text(path))
    config, error = _validate(document)
    mistakes = find_mistakes(document, error, Config, path.absolute().parent)
    if mistakes or config is None:
        raise ConfigError("\n".join(_line(path, mistake) for mistake in mistakes))
    config._path = path.absolute()
    return config


def _validate(document: Document) -> tuple[Config | None, ValidationError | None]:
    if not document.whole or document.value is None:
        return None, None
    try:
        return Config.model_validate(document.value), None
    except ValidationError as error:
        return None, error


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: name the file in it")
    try:
        with path.open("rb") as file:
            encoded = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        folder = path.absolute().parent
        raise ConfigError(
            f"no {path.name} in {folder}: run it where one is, or name it with --config"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(encoded) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES:,} bytes: is it a pipelines file?")
    return _decode(path, encoded)


def _decode(path: Path, encoded: bytes) -> str:
    try:
        return encoded.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = encoded.count(b"\n", 0, error.start) + 1
        byte = f"0x{encoded[error.start]:02x}"
        raise ConfigError(
            f"{path}:{line}: not UTF-8 (byte {byte}): save the file as UTF-8"
        ) from None


def _line(path: Path, mistake: Mistake) -> str:
    where = f"{_place_text(mistake.place)}: " if mistake.place else ""
    return f"{path}:{mistake.line}: {where}{mistake.text}"


def _place_text(place: Place) -> str:
    """`pipelines.demo.judge[1].min_side`"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)[1:]


def resolved_models(config: Config) -> dict[str, Model]:
    """Models whose checkpoint is a folder name it by its absolute path; a Hub id stays."""
    return {name: _resolved(config, model) for name, model in config.models.items()}


def _resolved(config: Config, model: Model) -> Model:
    if model.checkpoint == EMBEDDED:
        folder = str(files("annotator") / "embedded" / "checkpoint")
    elif is_folder(model.checkpoint, config.path.parent):
        folder = str(config.resolve(model.checkpoint))
    else:
        return model
    return model.model_copy(update={"checkpoint": folder})
