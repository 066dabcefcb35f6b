"""Load a checkpoint in the native transformers format, or say in one sentence why not."""

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

FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
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


def load_checkpoint(model: "Model") -> Checkpoint:
    """Weights, image processor and vocabulary; StageError in one sentence."""
    from stages.florence2.canary import check_answers

    folder, revision = find_files(model)
    _check_format(model, folder)
    device = _device(model)
    with _loading(model):
        digest = file_digest(folder)
        network = _load_model(model, folder)
        processor, tokenizer = _load_processors(folder)
    vocabulary = Vocabulary.of(tokenizer)
    _check_ids(model, network, vocabulary)
    loaded = Checkpoint(network.to(device).eval(), processor, vocabulary, digest, revision, device)
    check_answers(loaded, model.checkpoint)
    return loaded


def identity(model: "Model") -> dict[str, Any]:
    """What of a checkpoint can change a label, as JSON; reads files only, torch stays unloaded."""
    folder, revision = find_files(model)
    _check_format(model, folder)
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
            f"from the Hub ({_first_line(error)}): check the name, the revision and your access"
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


def _check_format(model: "Model", folder: Path) -> None:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(
            f"checkpoint {model.checkpoint} has no config.json: name a folder or Hub id that "
            "holds a whole Florence-2 checkpoint"
        ) from None
    except (OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read ({error}): fetch the checkpoint again") from error
    if not isinstance(config, dict) or config.get("model_type") != "florence2":
        found = config.get("model_type") if isinstance(config, dict) else None
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
    if not any(folder.glob("*.safetensors")):
        raise StageError(
            f"checkpoint {model.checkpoint} has no .safetensors weights: convert them, pickled "
            "weights are not read because loading them can run code"
        )


@contextmanager
def _loading(model: "Model") -> Iterator[None]:
    """Whatever a loader raises on a broken file becomes one sentence."""
    try:
        yield
    except StageError:
        raise
    except Exception as error:
        raise StageError(
            f"checkpoint {model.checkpoint} does not load ({type(error).__name__}: "
            f"{_first_line(error)}): its files are broken or do not fit each other, fetch it again"
        ) from error


def _device(model: "Model") -> "torch.device":
    import torch

    available = torch.cuda.is_available()
    if model.device == "cuda" and not available:
        raise StageError("device cuda is asked for, but torch sees no GPU: set device to auto")
    return torch.device("cuda" if available and model.device != "cpu" else "cpu")


def _load_model(model: "Model", folder: Path) -> Any:
    import torch
    from transformers import Florence2ForConditionalGeneration, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    # With output_loading_info a pair comes back, which the library's annotation does not say.
    loaded: Any = Florence2ForConditionalGeneration.from_pretrained(
        folder,
        dtype=getattr(torch, model.dtype),
        attn_implementation=model.attention,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    network, report = loaded
    for problem in ("missing", "unexpected", "mismatched"):
        if keys := report[f"{problem}_keys"]:
            raise StageError(
                f"checkpoint {model.checkpoint} has {problem} weights ({len(keys)}, such as "
                f"{min(map(str, keys))}): it would run partly untrained, convert it again"
            )
    # Empty, so that no decoding setting can come from anywhere but the pipeline.
    network.generation_config = GenerationConfig()
    return network


def _load_processors(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor, AutoTokenizer

    # The Pillow backend is always there, so labels do not depend on torchvision being installed.
    images = AutoImageProcessor.from_pretrained(
        folder, backend="pil", local_files_only=True, trust_remote_code=False
    )
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return images, tokenizer


def _check_ids(model: "Model", network: Any, vocabulary: Vocabulary) -> None:
    text = network.config.text_config
    ids = {
        "bos_token_id": (text.bos_token_id, vocabulary.bos),
        "pad_token_id": (text.pad_token_id, vocabulary.pad),
        "eos_token_id": (text.eos_token_id, vocabulary.eos),
        "decoder_start_token_id": (text.decoder_start_token_id, vocabulary.eos),
    }
    for name, (configured, expected) in ids.items():
        if configured != expected:
            raise StageError(
                f"checkpoint {model.checkpoint} has {name} {configured} in its configuration but "
                f"{expected} in its tokenizer: one of the two is not Florence-2's, correct it"
            )
    rows = network.get_input_embeddings().num_embeddings
    if rows < vocabulary.size:
        raise StageError(
            f"checkpoint {model.checkpoint} has {vocabulary.size} tokens but embeds only {rows}: "
            "its tokenizer is another model's"
        )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")
