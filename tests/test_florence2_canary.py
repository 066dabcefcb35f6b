import logging

import pytest
import torch

from stages.base import Model
from stages.errors import StageError
from stages.florence2.canary import check_answers
from stages.florence2.loading import load_checkpoint


@pytest.fixture
def tiny(tiny_checkpoint):
    return load_checkpoint(Model(checkpoint=str(tiny_checkpoint), device="cpu"))


def test_a_checkpoint_that_is_yet_to_be_trained_loads_with_a_warning(tiny_checkpoint, caplog):
    load_checkpoint(Model(checkpoint=str(tiny_checkpoint), device="cpu"))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"checkpoint {tiny_checkpoint} prefers no token when it captions a drawn picture: expect "
        "no sense from it until it is trained"
    )


def test_a_checkpoint_that_decides_loads_in_silence(lively_checkpoint, caplog):
    load_checkpoint(Model(checkpoint=str(lively_checkpoint), device="cpu"))
    assert not caplog.records


def test_an_output_layer_that_was_made_afresh_is_refused(tiny):
    weight = torch.randn_like(tiny.model.lm_head.weight) * 0.02
    tiny.model.lm_head.weight = torch.nn.Parameter(weight)
    with pytest.raises(StageError) as caught:
        check_answers(tiny, "mine")
    assert str(caught.value) == (
        "checkpoint mine has an output layer (lm_head) of its own that prefers no token: it was "
        "made afresh in a conversion, tie it to the embedding or convert again"
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("dtype", "cure"),
    [("float32", ""), ("bfloat16", "set dtype to float32, or ")],
)
def test_numbers_that_are_not_finite_are_refused(dtype, cure, number, tiny):
    tiny.model.to(getattr(torch, dtype)).get_input_embeddings().weight.data[0] = number
    with pytest.raises(StageError) as caught:
        check_answers(tiny, "mine")
    assert str(caught.value) == (
        f"checkpoint mine computes numbers that are not finite in {dtype}: {cure}write or "
        "fetch its weights again"
    )
