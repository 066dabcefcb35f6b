"""`annotator train` and `annotator labels export`, on real tables, shards and a tiny Florence-2."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from small_tables import commit, entry_of

from annotator.cli import cli, main
from annotator.errors import AnnotatorError, ConfigError, ShardError, StoreError
from annotator.store import Store
from schemas.annotations import table_of
from schemas.tables import TABLES

SIDE = 64
COLOURS = ("red", "green", "blue", "yellow")
CONFIG = """\
version: 1
models:
  tiny: {{checkpoint: {checkpoint}}}
pipelines:
  squares:
    shards: squares.tar
    propose: []
trainings:
  better: {{table: squares, model: tiny, output: checkpoints/better, {options}}}
"""
QUICK = "epochs: 3, batch_size: 2, learning_rate: 0.002, freeze_vision: false"


def picture(colour: str) -> bytes:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    ImageDraw.Draw(image).rectangle((16, 16, 47, 47), fill=colour)
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


def write_shard(path: Path, pictures: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for key, encoded in pictures.items():
            member = tarfile.TarInfo(f"{key}.png")
            member.size = len(encoded)
            tar.addfile(member, io.BytesIO(encoded))


def image_row(key: str, encoded: bytes, url: str) -> dict:
    names = {"image_id": f"squares/{key}", "shard": "squares", "key": key, "url": url}
    facts = {"width": SIDE, "height": SIDE, "sha256": hashlib.sha256(encoded).hexdigest()}
    return {**names, **facts, "state": "verified"}


def region_row(key: str) -> dict:
    names = {"image_id": f"squares/{key}", "shard": "squares", "source": "human", "label_no": 0}
    box = {"shape": "box", "x0": 16, "y0": 16, "x1": 48, "y1": 48}
    return {**names, "task": "od", **box, "text": "square", "category": "square"}


@pytest.fixture
def project(tmp_path: Path, tiny_checkpoint: Path, empty_tables: Path) -> Path:
    """A folder with a shard, one version of its tables with human boxes, and pipelines.yaml."""
    pictures = {colour: picture(colour) for colour in COLOURS}
    write_shard(tmp_path / "squares.tar", pictures)
    url = str(tmp_path / "squares.tar")
    rows: dict[str, list[dict]] = {name: [] for name in TABLES}
    rows["images"] = [image_row(key, encoded, url) for key, encoded in pictures.items()]
    rows["regions"] = [region_row(key) for key in pictures]
    root = Path(shutil.copytree(empty_tables, tmp_path / "tables" / "squares"))
    store = Store.create_or_open(root)
    made = {name: table_of(name, found) for name, found in rows.items()}
    commit(store, entry_of(root, "squares", "first", made))
    configure(tmp_path, tiny_checkpoint)
    return tmp_path


def configure(folder: Path, checkpoint: Path, options: str = QUICK) -> None:
    text = CONFIG.format(checkpoint=checkpoint, options=options)
    (folder / "pipelines.yaml").write_text(text)


def call(project: Path, *arguments: str) -> None:
    config = str(project / "pipelines.yaml")
    cli.main([*arguments, "--config", config], standalone_mode=False)


def test_a_version_becomes_a_checkpoint_that_has_learnt_and_says_from_what(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoProcessor, Florence2ForConditionalGeneration

    call(project, "train", "better")
    output = project / "checkpoints" / "better"
    printed = capsys.readouterr()
    assert printed.out == "  better:\n    checkpoint: ./checkpoints/better\n"
    assert "lessons     od 4 on 4 images" in printed.err
    assert "training    6 steps, 12 images" in printed.err
    provenance = json.loads((output / "training.json").read_text())
    assert (provenance["table"], provenance["version"]) == ("squares", 1)
    assert (provenance["lessons"], provenance["steps"]) == ({"od": 4}, 6)
    assert len(provenance["parent"]) == 64
    assert provenance["losses"][-1] < 0.9 * provenance["losses"][0]
    Florence2ForConditionalGeneration.from_pretrained(output)
    AutoProcessor.from_pretrained(output)
    assert [path.name for path in output.parent.iterdir()] == ["better"]


def test_the_same_seed_gives_the_same_weights(project: Path, tiny_checkpoint: Path) -> None:
    configure(project, tiny_checkpoint, QUICK.replace("epochs: 3", "epochs: 0.5"))
    weights = []
    for _ in range(2):
        call(project, "train")
        folder = project / "checkpoints"
        weights.append((folder / "better" / "model.safetensors").read_bytes())
        (folder / "better").rename(folder / f"{len(weights)}")
    assert weights[0] == weights[1]
    assert weights[0] != (tiny_checkpoint / "model.safetensors").read_bytes()


def test_a_training_stops_after_its_minutes(project: Path, tiny_checkpoint: Path) -> None:
    configure(project, tiny_checkpoint, "epochs: 1000, batch_size: 4, minutes: 0.000001")
    call(project, "train")
    provenance = json.loads((project / "checkpoints" / "better" / "training.json").read_text())
    assert provenance["steps"] == 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        pytest.param("version: 7", StoreError, r"no version 7: it has 1$", id="an unknown version"),
        pytest.param(
            "tasks: [caption]",
            AnnotatorError,
            r"^version 1 of squares holds no human labels that teach caption: choose other `tasks`",
            id="no labels of that kind",
        ),
    ],
)
def test_a_training_that_cannot_be_is_one_sentence_and_leaves_nothing(
    options: str, error: type[Exception], words: str, project: Path, tiny_checkpoint: Path
) -> None:
    configure(project, tiny_checkpoint, options)
    with pytest.raises(error, match=words):
        call(project, "train")
    assert not (project / "checkpoints").exists()


def test_a_missing_shard_stops_before_training_and_leaves_nothing(project: Path) -> None:
    (project / "squares.tar").unlink()
    with pytest.raises(ShardError, match="there is no shard at"):
        call(project, "train")
    assert not (project / "checkpoints").exists()


def test_images_that_changed_are_not_taught(project: Path) -> None:
    write_shard(project / "squares.tar", {"red": picture("black")})
    with pytest.raises(AnnotatorError, match="none of the 4 labelled images of version 1"):
        call(project, "train")


def test_an_existing_output_is_never_overwritten(project: Path) -> None:
    output = project / "checkpoints" / "better"
    output.mkdir(parents=True)
    with pytest.raises(AnnotatorError, match="better exists: name another `output`"):
        call(project, "train")
    assert list(output.iterdir()) == []


def test_an_output_that_cannot_be_made_is_one_sentence(project: Path) -> None:
    (project / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(AnnotatorError, match="cannot write the checkpoint"):
        call(project, "train")


def test_tables_that_are_not_there_yet_are_one_sentence(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    configure(tmp_path, tiny_checkpoint)
    with pytest.raises(StoreError, match="no tables here: `annotator run` makes them"):
        call(tmp_path, "train")


def test_an_unknown_training_is_one_sentence(project: Path) -> None:
    with pytest.raises(ConfigError, match="unknown training 'beter', did you mean 'better'"):
        call(project, "train", "beter")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--format", "coco"], "4 images, 4 labels", id="coco"),
        pytest.param(
            ["--format", "jsonl", "--version", "1", "--table", "squares"],
            "4 images, 4 labels",
            id="jsonl of a version",
        ),
        pytest.param(
            ["--format", "jsonl", "--version", "2126-01-31"],
            "4 images, 4 labels",
            id="jsonl at a time",
        ),
        pytest.param(
            ["--format", "jsonl", "--source", "model"], "4 images, 0 labels", id="of one source"
        ),
    ],
)
def test_labels_are_exported_from_the_command_line(
    arguments: Sequence[str],
    words: str,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = project / "labels.out"
    call(project, "labels", "export", "--output", str(output), *arguments)
    assert words in capsys.readouterr().err
    assert "squares/red" in output.read_text()


def test_an_export_of_an_unknown_version_exits_1(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--format", "coco", "--output", str(project / "a"), "--version", "gold"]
    with pytest.raises(SystemExit) as end:
        main(["labels", "export", *arguments, "--config", str(project / "pipelines.yaml")])
    assert end.value.code == 1
    assert "no version gold: it has 1" in capsys.readouterr().err


def test_an_export_of_an_unknown_table_exits_1(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--format", "coco", "--output", str(project / "a"), "--table", "cirles"]
    with pytest.raises(SystemExit) as end:
        main(["labels", "export", *arguments, "--config", str(project / "pipelines.yaml")])
    assert end.value.code == 1
    assert "unknown table or pipeline 'cirles'" in capsys.readouterr().err
