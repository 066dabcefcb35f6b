from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small models lose by threads, and results do not hang on how many there are."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A native Florence-2 with random weights, which has learnt nothing: it repeats itself."""
    from annotator.embedded.build import build_checkpoint

    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    build_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def lively_checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an output layer of its own and large weights: its answers vary."""
    import shutil

    from transformers import Florence2ForConditionalGeneration

    folder = tmp_path_factory.mktemp("checkpoints") / "lively"
    shutil.copytree(tiny_checkpoint, folder)
    model = Florence2ForConditionalGeneration.from_pretrained(folder)
    torch.manual_seed(0)
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.3)
    for name, weight in model.named_parameters():
        if ("decoder" in name or "encoder" in name) and name.endswith("proj.weight"):
            weight.data *= 4
        if name.endswith("encoder_attn.out_proj.weight"):
            weight.data *= 4
    model.save_pretrained(folder)
    return folder
