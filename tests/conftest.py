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
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.3)
    model.lm_head.weight.data[2] *= 2  # so that some answers end by themselves
    for name, weight in model.named_parameters():
        if "coder.layers" in name and weight.ndim == 2:
            attention = 3 if "encoder_attn" in name else 1
            weight.data *= 3 * attention * (3 if "q_proj" in name else 1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def florence_tokenizer():
    from annotator.embedded.build import build_tokenizer

    return build_tokenizer()


@pytest.fixture(scope="session")
def vocabulary(florence_tokenizer):
    from stages.florence2.vocabulary import Vocabulary

    return Vocabulary.of(florence_tokenizer)


@pytest.fixture(scope="session")
def lively(lively_checkpoint: Path):
    from stages.base import Model
    from stages.florence2.loading import load_checkpoint

    return load_checkpoint(Model(checkpoint=str(lively_checkpoint), device="cpu"))


@pytest.fixture(scope="session")
def answered(vocabulary, florence_tokenizer):
    """Makes the result of a request that is answered with what is written, every token having one
    probability."""
    import numpy as np

    from stages.florence2.grammar import parse_answer
    from stages.florence2.prompts import TASKS, Prompt
    from stages.florence2.requests import Result
    from stages.florence2.scores import TokenScores

    def make(request, written, *, probability=0.5, limit=1000, cut=False):
        tokens = tuple(florence_tokenizer(written).input_ids)
        bins = [vocabulary.bin_of(token) for token in tokens]
        places = [i for i, bin in enumerate(bins) if bin is not None]
        locations = np.full((len(places), 1000), -50.0, dtype=np.float32)
        for row, place in zip(locations, places, strict=True):
            row[bins[place]] = np.log(probability)
        each = np.full(len(tokens), np.log(probability), dtype=np.float32)
        answer = parse_answer(tokens, TASKS[request.task].output, vocabulary, limit)
        scores = TokenScores(each, each, np.array(places, dtype=np.int64), locations)
        return Result(request, Prompt((0, 2), cut), tokens, answer, scores)

    return make


@pytest.fixture(scope="session")
def pictures():
    """Three images of different sizes with smooth random colours."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    sizes = [(200, 120), (160, 160), (64, 90)]
    colours = [random.integers(0, 256, (3, 5, 3), dtype=np.uint8) for _ in sizes]
    return [Image.fromarray(c).resize(s) for c, s in zip(colours, sizes, strict=True)]


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tables without a version, to be copied: making one takes most of a second."""
    from annotator.store import Store

    return Store.create_or_open(tmp_path_factory.mktemp("made_once") / "empty").root
