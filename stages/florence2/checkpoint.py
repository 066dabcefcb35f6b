"""What a checkpoint is: files in the native transformers format, and what is loaded of them."""

import functools
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import StageError
from stages.florence2.vocabulary import Vocabulary

if TYPE_CHECKING:
    import torch

    from stages.base import Model

PREPROCESSOR = "preprocessor_config.json"
FILES = (
    "config.json",
    "generation_config.json",
    PREPROCESSOR,
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "*.safetensors",
    "*.safetensors.index.json",
)
"""All that shapes what a checkpoint says; pickled weights are never read."""


@dataclass(frozen=True)
class Checkpoint:
    """`model` is on its device and in evaluation mode; `revision` is the commit of a Hub id."""

    model: Any
    image_processor: Any
    vocabulary: Vocabulary
    digest: str
    revision: str | None
    device: "torch.device"

    @property
    def max_positions(self) -> int:
        """Longest input of the encoder (image and text tokens) and longest answer, in tokens."""
        positions: int = self.model.config.text_config.max_position_embeddings
        return positions

    @property
    def parameters(self) -> int:
        """How many numbers the model has learnt."""
        return sum(weight.numel() for weight in self.model.parameters())


@contextmanager
def naming_the_model(name: str) -> Iterator[None]:
    """As pipelines.yaml does, where something is wrong with it."""
    try:
        yield
    except StageError as error:
        raise StageError(f"models.{name}: {error}") from error


def identity(model: "Model") -> dict[str, Any]:
    """What of a checkpoint can change a label, as JSON; reads files only, torch stays unloaded."""
    folder, revision = find_files(model)
    check_format(model, folder)
    return {
        "digest": file_digest(folder),
        "revision": revision,
        "dtype": model.dtype,
        "attention": model.attention,
        "backend": model.backend,
    }


def find_files(model: "Model") -> tuple[Path, str | None]:
    """The folder of a checkpoint, and the resolved commit of a Hub id (downloaded when needed)."""
    folder = Path(model.checkpoint).expanduser()
    if folder.is_dir():
        return folder, None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(
            snapshot_download(model.checkpoint, revision=model.revision, allow_patterns=list(FILES))
        )
    except HFValidationError:
        raise StageError(
            f"checkpoint {model.checkpoint} is neither a folder that exists nor a Hub id: "
            "correct its name"
        ) from None
    except LocalEntryNotFoundError:
        raise StageError(
            f"checkpoint {model.checkpoint} is no folder here, is not in the local cache, and the "
            "Hub does not answer: check the name and the network, or download it beforehand"
        ) from None
    except (HfHubHTTPError, OSError) as error:
        raise StageError(
            f"checkpoint {model.checkpoint} at revision {model.revision or 'main'} cannot be had "
            f"from the Hub ({first_line(error)}): check the name, the revision and your access"
        ) from error
    return found, found.name


def file_digest(folder: Path) -> str:
    """sha256 over the names and contents of the files that shape what the checkpoint says."""
    files = sorted({path for pattern in FILES for path in folder.glob(pattern)})
    stats = ((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return _digest(tuple(stats))


@functools.lru_cache(maxsize=16)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    whole = hashlib.sha256()
    for name, _, _ in files:
        path = Path(name)
        with path.open("rb") as file:
            whole.update(
                f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
            )
    return whole.hexdigest()


def check_format(model: "Model", folder: Path) -> None:
    """StageError where the folder holds no Florence-2 in a form that `load_checkpoint` reads."""
    config = _read_config(model, folder / "config.json")
    if (found := config.get("model_type")) != "florence2":
        raise StageError(
            f"checkpoint {model.checkpoint} is of model_type {found!r}, not 'florence2': "
            "name a Florence-2 checkpoint"
        )
    vision = config.get("vision_config")
    if not isinstance(vision, dict) or vision.get("model_type") != "florence_vision":
        raise StageError(
            f"checkpoint {model.checkpoint} is in Microsoft's first format, which runs code from "
            "its own repository: take one converted to transformers' native format, such as "
            "florence-community/Florence-2-base"
        )
    for names in (("tokenizer.json", "vocab.json"), ("processor_config.json", PREPROCESSOR)):
        if not any((folder / name).is_file() for name in names):
            raise StageError(
                f"checkpoint {model.checkpoint} has neither {names[0]} nor {names[1]}: a folder or "
                "Hub id that holds a whole Florence-2 checkpoint is needed"
            )
    if not any(folder.glob("*.safetensors")):
        raise StageError(
            f"checkpoint {model.checkpoint} has no .safetensors weights: fetch them, or convert "
            "pickled ones, which are not read because loading them can run code"
        )


def _read_config(model: "Model", path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(
            f"checkpoint {model.checkpoint} has no config.json: name a folder or Hub id that "
            "holds a whole Florence-2 checkpoint"
        ) from None
    except (OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read ({error}): fetch the checkpoint again") from error
    return config if isinstance(config, dict) else {}


def first_line(error: BaseException) -> str:
    """Of what an error says."""
    return next(iter(str(error).strip().splitlines()), "no reason given")
