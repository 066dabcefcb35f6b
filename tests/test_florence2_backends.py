"""Encoders outside torch: what OpenVINO and ONNX Runtime compute, beside torch's own."""

import os
import shutil
import sys

import pytest
import torch

from stages.base import Model
from stages.errors import StageError
from stages.florence2.encoders import TorchEncoders, open_encoders
from stages.florence2.portable import PROMPT_ENCODER, VISION_TOWER, export_onnx
from stages.florence2.prompts import build_prompt


@pytest.fixture(scope="module")
def encoded(lively, pictures):
    """Torch's features of an image, two prompts about it, and their states."""
    torchs = TorchEncoders(lively)
    words = build_prompt("caption_to_phrase_grounding", lively.vocabulary, 500, "a red star")
    prompts = [build_prompt("od", lively.vocabulary, 500), words]
    with torch.inference_mode():
        features = torchs.encode_images(pictures[:1])
        states, lengths = torchs.encode_prompts(prompts, features * 2)
    return features[0], prompts, states, lengths


@pytest.fixture(scope="module")
def openvinos(lively, tmp_path_factory):
    """The encoders, and the folder that the converted model was kept in."""
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    caches = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(caches))
        return open_encoders(lively, "openvino"), caches


def test_openvino_encodes_as_torch_does(openvinos, pictures, encoded):
    check_encoders(openvinos[0], pictures, encoded)


def test_openvino_reads_the_model_that_it_kept(openvinos, lively, pictures, encoded, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(openvinos[1]))
    monkeypatch.setattr("openvino.convert_model", None)
    check_encoders(open_encoders(lively, "openvino"), pictures, encoded)
    kept = sorted(path.name for path in openvinos[1].glob("annotator/openvino/*/*"))
    assert kept == [
        f"{name}_program.{end}" for name in ("prompt", "vision") for end in ("bin", "xml")
    ]


@pytest.mark.parametrize("name", ["vision_program.bin", "prompt_program.xml"])
def test_openvino_makes_a_model_anew_that_was_damaged(
    name, openvinos, lively, pictures, encoded, monkeypatch, tmp_path
):
    caches = shutil.copytree(openvinos[1], tmp_path / "caches")
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches))
    [damaged] = caches.glob(f"annotator/openvino/*/{name}")
    whole = damaged.stat().st_size
    os.truncate(damaged, whole // 2)
    check_encoders(open_encoders(lively, "openvino"), pictures, encoded)
    assert damaged.stat().st_size > 0.9 * whole


def check_encoders(encoders, pictures, encoded):
    features, prompts, states, lengths = encoded
    found = encoders.encode_images(pictures[:1])
    assert torch.allclose(found[0], features, atol=1e-3)
    ours, ends = encoders.encode_prompts(prompts, found * 2)
    assert ends == lengths
    for row, end in enumerate(lengths):
        assert torch.allclose(ours[row, :end], states[row, :end], atol=1e-2)


def test_the_onnx_files_compute_as_torch_does(lively, pictures, encoded, tmp_path):
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    features, prompts, states, lengths = encoded
    export_onnx(lively, tmp_path)
    pixels = lively.image_processor(images=pictures[:1], return_tensors="np")["pixel_values"]
    [found] = runtime.InferenceSession(tmp_path / VISION_TOWER).run(None, {"pixel_values": pixels})
    assert torch.allclose(torch.from_numpy(found)[0], features, atol=1e-3)
    ids = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(prompt.ids) for prompt in prompts], True, lively.vocabulary.pad
    )
    mask = torch.arange(states.shape[1]) < torch.tensor(lengths)[:, None]
    given = {
        "features": features[None].expand(2, -1, -1).numpy(),
        "input_ids": ids.numpy(),
        "attention_mask": mask.long().numpy(),
    }
    [ours] = runtime.InferenceSession(tmp_path / PROMPT_ENCODER).run(None, given)
    assert torch.allclose(torch.from_numpy(ours)[mask], states[mask], atol=1e-2)


@pytest.mark.parametrize(("package", "extra"), [("openvino", "openvino"), ("onnxscript", "onnx")])
def test_a_missing_package_is_named_with_its_extra(package, extra, lively, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StageError, match=rf"pip install 'annotator\[{extra}\]'"):
        export_onnx(lively, tmp_path) if extra == "onnx" else open_encoders(lively, extra)


@pytest.mark.parametrize(("option", "value"), [("device", "cuda"), ("dtype", "float16")])
def test_openvino_refuses_what_it_cannot_do(option, value):
    with pytest.raises(ValueError, match=f"backend openvino .* set {option}"):
        Model(**{"checkpoint": "x", "backend": "openvino", "device": "cpu", option: value})
