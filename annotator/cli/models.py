"""`annotator models`: a checkpoint as files for other runtimes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from annotator.cli.options import config_option

if TYPE_CHECKING:
    from stages.base import Model


@click.group()
def models() -> None:
    """Make files for other runtimes from a checkpoint.

    \b
    Example:
      annotator models export embedded onnx/embedded
    """


@models.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@config_option
def export(name: str, folder: Path, config: Path) -> None:
    """Write the vision tower and the prompt encoder of a model as ONNX, for ONNX Runtime, TensorRT.

    NAME is a model of the pipelines file, a folder or a Hub id; FOLDER must not exist yet. The
    files are in float32, whatever dtype the model has, and for any number of images and prompts.
    Where onnxruntime is installed, they are compared with torch before they are let into FOLDER.

    \b
    Example:
      annotator models export embedded onnx/embedded
      annotator models export florence-community/Florence-2-base-ft onnx/base
    """
    from stages.florence2.loading import load_checkpoint
    from stages.florence2.portable_files import export_files, new_folder

    model = find_model(name, config)
    whole = {"device": "cpu", "dtype": "float32", "backend": "torch"}
    with new_folder(folder) as written:
        checkpoint = load_checkpoint(model.model_copy(update=whole))
        exported = export_files(checkpoint, written)
    for file in exported.files:
        click.echo(f"{folder / file}  {(folder / file).stat().st_size / 1e6:.1f} MB")
    difference = exported.difference
    compared = (
        "not compared with torch, for which onnxruntime is needed: pip install onnxruntime"
        if difference is None
        else f"equal to torch by ONNX Runtime: {difference:.1g} of the largest number apart"
    )
    click.echo(f"{name} ({checkpoint.digest[:12]}): {compared}", err=True)


def find_model(name: str, path: Path) -> "Model":
    """By its name in the pipelines file, where there is one, else a folder or Hub id."""
    from annotator.config import load_config, resolved_models
    from annotator.embedded.export import CHECKPOINT
    from annotator.errors import ConfigError
    from stages.base import Model

    models = resolved_models(load_config(path)) if path.exists() else {}
    models = {"embedded": Model(checkpoint=str(CHECKPOINT)), **models}
    if name in models:
        return models[name]
    if "/" in name or Path(name).is_dir():
        return Model(checkpoint=name)
    raise ConfigError(
        f"unknown model {name!r}: name one of {', '.join(models)}, a folder or Hub id"
    )
