"""Load a checkpoint in the native transformers format, or say in one sentence why not."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    Florence2ForConditionalGeneration,
    GenerationConfig,
)
from transformers.utils import logging

from stages import WORKER
from stages.base import Model
from stages.errors import StageError
from stages.florence2.canary import check_answers
from stages.florence2.checkpoint import (
    Checkpoint,
    check_format,
    file_digest,
    find_files,
    first_line,
)
from stages.florence2.vocabulary import Vocabulary


def load_checkpoint(model: Model) -> Checkpoint:
    """Weights, image processor and vocabulary; StageError in one sentence."""
    folder, revision = find_files(model)
    check_format(model, folder)
    device = device_for(model)
    with _loading(model):
        digest = file_digest(folder)
        network = _load_model(model, folder)
        processor, tokenizer = _load_processors(folder)
    try:
        vocabulary = Vocabulary.of(tokenizer)
    except StageError as error:
        raise StageError(f"checkpoint {model.checkpoint}: {error}") from None
    _check_ids(model, network, vocabulary)
    loaded = Checkpoint(network.to(device).eval(), processor, vocabulary, digest, revision, device)
    check_answers(loaded, model.checkpoint)
    return loaded


@contextmanager
def _loading(model: Model) -> Iterator[None]:
    """Whatever a loader raises on a broken file becomes one sentence. It is kept from writing into
    the run's own progress: a report, while this lasts, and a progress bar, from now on."""
    said = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except StageError:
        raise
    except Exception as error:
        raise StageError(
            f"checkpoint {model.checkpoint} does not load ({type(error).__name__}: "
            f"{first_line(error)}): its files are broken or do not fit each other, write or fetch "
            "it again"
        ) from error
    finally:
        logging.set_verbosity(said)


def device_for(model: Model) -> torch.device:
    """The CPU or the current GPU; several workers take the GPUs in turn."""
    available = torch.cuda.is_available()
    if model.device == "cuda" and not available:
        raise StageError("device cuda is asked for, but torch sees no GPU: set device to auto")
    if not available or model.device == "cpu":
        return torch.device("cpu")
    worker = os.environ.get(WORKER)
    if worker is None:
        return torch.device("cuda")
    return torch.device("cuda", int(worker) % torch.cuda.device_count())


def _load_model(model: Model, folder: Path) -> Any:
    # With output_loading_info a pair comes back, which the library's annotation does not say.
    loaded: Any = Florence2ForConditionalGeneration.from_pretrained(
        folder,
        dtype=getattr(torch, model.dtype),
        attn_implementation=model.attention,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are told below
    )
    network, report = loaded
    if found := _misfits(report):
        raise StageError(
            f"checkpoint {model.checkpoint} has {found}: its weights are not those of its "
            "configuration, convert, write or fetch it again"
        )
    for name, weight in network.named_parameters():
        if not weight.isfinite().all():
            cure = "set dtype to float32, or " if model.dtype == "float16" else ""
            raise StageError(
                f"checkpoint {model.checkpoint} has numbers that are not finite in {name}, in "
                f"{model.dtype}: {cure}write or fetch its weights again"
            )
    # Empty, so that no decoding setting can come from anywhere but the pipeline.
    network.generation_config = GenerationConfig()
    return network


def _misfits(report: dict[str, Any]) -> str | None:
    """What transformers says of weights that do not fit the model, the worst of it."""
    for problem in ("missing", "mismatched", "unexpected"):
        if keys := report[f"{problem}_keys"]:
            first = min(keys)
            if problem == "mismatched":
                name, theirs, ours = first
                first = f"{name}, {tuple(theirs)} where {tuple(ours)} is needed"
            return f"{problem} weights ({len(keys)}, such as {first})"
    return None


def _load_processors(folder: Path) -> tuple[Any, Any]:
    # The Pillow backend is always there, so labels do not depend on torchvision being installed.
    images = AutoImageProcessor.from_pretrained(
        folder, backend="pil", local_files_only=True, trust_remote_code=False
    )
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return images, tokenizer


def _check_ids(model: Model, network: Any, vocabulary: Vocabulary) -> None:
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
            "its tokenizer is another model's, or one of its files is missing"
        )
