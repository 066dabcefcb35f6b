import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from annotator.cli.models import models
from annotator.embedded.export import CHECKPOINT
from annotator.errors import ConfigError
from stages.base import Model
from stages.errors import StageError
from stages.florence2.loading import load_checkpoint
from stages.florence2.portable import VISION_TOWER
from stages.florence2.portable_files import EQUAL, largest_difference


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(models, ["export", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The embedded checkpoint as ONNX, named by a pipelines file; and what was printed."""
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    scratch = tmp_path_factory.mktemp("models")
    config = scratch / "pipelines.yaml"
    model = "models: {small: {checkpoint: embedded, dtype: bfloat16}}"
    pipelines = "pipelines: {first: {shards: a.tar, propose: []}}"
    config.write_text(f"version: 1\n{model}\n{pipelines}\n", encoding="utf-8")
    folder = scratch / "new" / "onnx"
    return folder, export("small", folder, "--config", config)


def test_every_file_is_printed_with_its_size(exported: tuple[Path, Result]):
    folder, done = exported
    files = [line.split("  ") for line in done.stdout.splitlines()]
    assert [path for path, _ in files] == [str(path) for path in sorted(folder.iterdir())]
    assert all(size.endswith(" MB") for _, size in files)
    weights = sum(path.stat().st_size for path in folder.glob("*.data"))
    assert 9e6 < weights < 12e6, "float32, although the model is in bfloat16"
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_the_files_are_compared_with_torch(exported: tuple[Path, Result], tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    folder, done = exported
    assert "equal to torch by ONNX Runtime" in done.stderr
    spoilt = shutil.copytree(folder, tmp_path / "spoilt")
    weights = bytearray((spoilt / f"{VISION_TOWER}.data").read_bytes())
    weights[: len(weights) // 2] = bytes(len(weights) // 2)
    (spoilt / f"{VISION_TOWER}.data").write_bytes(weights)
    checkpoint = load_checkpoint(Model(checkpoint=str(CHECKPOINT), device="cpu"))
    difference = largest_difference(checkpoint, spoilt)
    assert difference is not None
    assert not difference <= EQUAL


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export in no time, of one empty file."""

    def write(_: object, folder: Path) -> list[Path]:
        folder.mkdir()
        (folder / "one.onnx").touch()
        return [folder / "one.onnx"]

    monkeypatch.setattr("stages.florence2.portable_files.export_onnx", write)


@pytest.mark.usefixtures("written")
def test_without_onnx_runtime_nothing_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = export("embedded", tmp_path / "onnx")
    assert done.stdout == f"{tmp_path}/onnx/one.onnx  0.0 MB\n"
    assert "not compared with torch, for which onnxruntime is needed" in done.stderr


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("difference", [0.5, float("nan")])
def test_files_that_compute_something_else_are_not_kept(
    difference: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module = "stages.florence2.portable_files.largest_difference"
    monkeypatch.setattr(module, lambda *_: difference)
    with pytest.raises(StageError, match=r"do not compute what torch does: (0\.5|nan) of the"):
        export("embedded", tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path):
    with pytest.raises(StageError, match=rf"^{tmp_path} exists: name a folder that does not"):
        export("embedded", tmp_path)


def test_a_folder_that_cannot_be_made_is_named_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("stages.florence2.loading.load_checkpoint", None)
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "onnx", tmp_path / "file" / "a" / "b", Path("/proc/onnx")):
        with pytest.raises(StageError, match=rf"^{folder} cannot be made \(.+\): name a folder"):
            export("embedded", folder)


def test_an_unknown_model_is_told_what_there_is(tmp_path: Path):
    with pytest.raises(ConfigError, match="unknown model 'embeded': name one of embedded"):
        export("embeded", tmp_path / "onnx", "--config", tmp_path / "none.yaml")


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(StageError, match=r"pip install 'annotator\[onnx\]'"):
        export("embedded", tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []
