import json
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from stages import WORKER
from stages.base import Model
from stages.errors import StageError
from stages.florence2.checkpoint import identity
from stages.florence2.loading import device_for, load_checkpoint
from stages.florence2.stage import Florence2

SHARED = "model.language_model.shared.weight"
PROJECTION = "model.multi_modal_projector.image_projection.weight"


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "mine"))


def refusal(folder: Path | str) -> str:
    with pytest.raises(StageError) as caught:
        load_checkpoint(Model(checkpoint=str(folder)))
    return str(caught.value)


def edit_json(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_folder_loads_with_its_digest_and_without_decoding_settings(tiny_checkpoint):
    loaded = load_checkpoint(Model(checkpoint=str(tiny_checkpoint)))
    assert loaded.revision is None
    assert len(loaded.digest) == 64
    assert not loaded.model.training
    assert loaded.model.generation_config.num_beams in (None, 1)
    assert loaded.model.generation_config.forced_bos_token_id is None


def test_the_digest_is_of_contents_not_of_the_place(tiny_checkpoint, folder):
    model, copy = Model(checkpoint=str(tiny_checkpoint)), Model(checkpoint=str(folder))
    assert identity(model) == identity(copy)
    edit_weights(folder, lambda weights: weights[SHARED].add_(1))
    assert identity(model)["digest"] != identity(copy)["digest"]


def test_the_identity_of_a_stage_is_its_checkpoint_s_content_without_the_batch_size(folder):
    models = {"a": Model(checkpoint=str(folder)), "b": Model(checkpoint=str(folder))}
    one = Florence2(model="a", tasks=["od"], batch_size=1).identity(models)
    other = Florence2(model="b", tasks=["od"], batch_size=64).identity(models)
    assert one == other
    assert sorted(one["model"]) == ["attention", "backend", "digest", "dtype", "revision"]
    assert one["max_new_tokens"] == {"od": 512}
    wide = Florence2(model="a", tasks=["od"], num_beams=3).identity(models)
    assert wide != one


def test_the_identity_is_told_without_torch(folder):
    code = (
        "import sys; from stages.base import Model; from stages.florence2.stage import Florence2; "
        f"Florence2(model='m', tasks=['od']).identity({{'m': Model(checkpoint={str(folder)!r})}}); "
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False False\n"


def test_what_is_neither_a_folder_nor_a_hub_id_is_refused():
    assert refusal("checkpoints/round/2") == (
        "checkpoint checkpoints/round/2 is neither a folder that exists nor a Hub id: "
        "correct its name"
    )


def test_a_hub_that_does_not_answer_is_said(monkeypatch):
    def unreachable(*arguments, **settings):
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    assert refusal("someone/florence") == (
        "checkpoint someone/florence is no folder here, is not in the local cache, and the Hub "
        "does not answer: check the name and the network, or download it beforehand"
    )


def test_the_commit_of_a_hub_id_is_recorded(monkeypatch, tiny_checkpoint, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(tiny_checkpoint, tmp_path / commit)
    asked = {}

    def downloaded(name, **settings):
        asked.update(settings, name=name)
        return str(tmp_path / commit)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", downloaded)
    found = identity(Model(checkpoint="someone/florence", revision="main"))
    assert found["revision"] == commit
    assert (asked["name"], asked["revision"]) == ("someone/florence", "main")
    assert "*.safetensors" in asked["allow_patterns"]
    assert not any(pattern.endswith((".bin", ".py")) for pattern in asked["allow_patterns"])


def test_a_checkpoint_that_needs_its_own_code_is_refused(folder):
    edit_json(
        folder / "config.json",
        auto_map={"AutoConfig": "configuration_florence2.Florence2Config"},
        vision_config={"model_type": "davit"},
    )
    assert "Microsoft's first format, which runs code from its own repository" in refusal(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(
            lambda f: (f / "config.json").unlink(), "has no config.json: name a", id="no config"
        ),
        pytest.param(
            lambda f: (f / "tokenizer.json").unlink(),
            "has neither tokenizer.json nor vocab.json: a folder or Hub id that holds a whole",
            id="no tokenizer",
        ),
        pytest.param(
            lambda f: [path.unlink() for path in f.glob("*processor_config.json")],
            "has neither processor_config.json nor preprocessor_config.json: a folder",
            id="no processor",
        ),
        pytest.param(
            lambda f: (f / "config.json").write_text('{"model_'), "cannot be read", id="cut config"
        ),
        pytest.param(
            lambda f: edit_json(f / "config.json", model_type="bart"),
            "is of model_type 'bart', not 'florence2'", id="another model",
        ),
        pytest.param(
            lambda f: (f / "model.safetensors").unlink(), "has no .safetensors weights",
            id="no weights",
        ),
        pytest.param(
            lambda f: (f / "model.safetensors").write_bytes(
                (f / "model.safetensors").read_bytes()[:9_000_000]
            ),
            "its files are broken", id="cut weights",
        ),
        pytest.param(
            lambda f: edit_weights(f, lambda w: w.pop(PROJECTION)),
            f"has missing weights (1, such as {PROJECTION})", id="missing weight",
        ),
        pytest.param(
            lambda f: edit_weights(f, lambda w: w.update({PROJECTION: w[PROJECTION][1:].clone()})),
            f"has mismatched weights (1, such as {PROJECTION}, (159, 160) where (160, 160) is",
            id="weight of another shape",
        ),
        pytest.param(
            lambda f: edit_weights(f, lambda w: w.update(extra=w[SHARED][:1].clone())),
            "has unexpected weights (1, such as extra)", id="unexpected weight",
        ),
        pytest.param(
            lambda f: edit_weights(f, lambda w: w[PROJECTION].view(-1)[7:8].fill_(float("nan"))),
            f"has numbers that are not finite in {PROJECTION}, in float32: write or fetch",
            id="no number",
        ),
        pytest.param(
            lambda f: (f / "tokenizer.json").write_text("{}"), "its files are broken",
            id="broken tokenizer",
        ),
        pytest.param(
            lambda f: (f / "tokenizer.json").write_text(
                (f / "tokenizer.json").read_text().replace("<loc_7>", "<loc_x>")
            ),
            "are not in one unbroken row", id="no location",
        ),
    ],
)  # fmt: skip
def test_a_spoilt_checkpoint_is_refused_in_one_sentence(spoil, message, folder, caplog, capfd):
    spoil(folder)
    said = refusal(folder)
    assert message in said
    assert "\n" not in said
    assert (caplog.text, *capfd.readouterr()) == ("", "", "")


def test_locations_out_of_order_are_refused(folder):
    path = folder / "tokenizer.json"
    text = path.read_text().replace('"<loc_7>"', '"<swap>"').replace('"<loc_9>"', '"<loc_7>"')
    path.write_text(text.replace('"<swap>"', '"<loc_9>"'))
    assert "are not in one unbroken row" in refusal(folder)


def test_an_output_layer_that_was_never_saved_is_caught(folder):
    edit_json(folder / "config.json", tie_word_embeddings=False)
    edit_weights(folder, lambda weights: weights.pop("lm_head.weight", None))
    assert "has missing weights (1, such as lm_head.weight)" in refusal(folder)


def test_ids_that_the_tokenizer_does_not_share_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    text = {**config["text_config"], "bos_token_id": 2, "pad_token_id": 0, "eos_token_id": 1}
    edit_json(folder / "config.json", text_config=text)
    assert (
        "has bos_token_id 2 in its configuration but 0 in its tokenizer: one of the two is not "
        "Florence-2's, correct it"
    ) in refusal(folder)


def test_a_gpu_that_is_not_there_is_said(tiny_checkpoint, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(StageError, match="torch sees no GPU: set device to auto"):
        load_checkpoint(Model(checkpoint=str(tiny_checkpoint), device="cuda"))


@pytest.mark.parametrize(
    ("worker", "gpus", "device"),
    [(None, 2, "cuda"), ("0", 2, "cuda:0"), ("1", 2, "cuda:1"), ("3", 2, "cuda:1")],
)
def test_workers_are_spread_over_the_gpus(monkeypatch, worker, gpus, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.delenv(WORKER, raising=False)
    if worker is not None:
        monkeypatch.setenv(WORKER, worker)
    assert device_for(Model(checkpoint="embedded")) == torch.device(device)
    assert device_for(Model(checkpoint="embedded", device="cpu")) == torch.device("cpu")
