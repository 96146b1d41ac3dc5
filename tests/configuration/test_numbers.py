"""Numbers and truth values that no training could use are refused before anything starts."""

import re

import numpy as np
import pytest

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.settings import ConfigError


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--epochs=x", "epochs must be a number such as 200, not [x]"),
        ("--epochs=-1", "epochs must be a whole number of at least 0, not [-1]"),
        ("--epochs=1.5", "epochs must be a whole number of at least 0, not [1.5]"),
        ("--stopping_step=-1", "stopping_step must be a whole number of at least 0, not [-1]"),
        ("--train_batch_size=0", "train_batch_size must be a whole number of at least 1, not [0]"),
        ("--MAX_ITEM_LIST_LENGTH=True", "MAX_ITEM_LIST_LENGTH must be a whole number of at least 1, not [True]"),
        ("--hidden_size=0", "hidden_size must be a whole number of at least 1, not [0]"),
        ("--loss_memory=0", "loss_memory must be a number above 0, not [0]"),
        ("--learning_rate=-1", "learning_rate must be a number of at least 0, not [-1]"),
        ("--sft_learning_rate=-1e-3", "sft_learning_rate must be a number of at least 0, not [-0.001]"),
        ("--sft_learning_rate=None", "sft_learning_rate must be a number such as 0.0003, not [None]"),
        ("--stopping_step=None", "stopping_step must be a number such as 3, not [None]"),
        ("--loss_memory=None", "loss_memory must be a number such as 256, not [None]"),
        ("--backbone_learning_rate=abc", "backbone_learning_rate must be a number of at least 0, not [abc]"),
        ("--lora_rank=0", "lora_rank must be a whole number above 0, not [0]"),
        ("--shuffle=maybe", "shuffle must be True or False, not [maybe]"),
        ("--enable_amp=2", "enable_amp must be True or False, not [2]"),
        ("--learner=adan", "learner [adan] is not one of adam, adamw, sgd, adagrad, rmsprop"),
        ("--hidden_act=GELU", "hidden_act [GELU] is not one of gelu, relu, swish, tanh, sigmoid"),
    ],
)
def test_a_number_or_truth_value_that_cannot_be_is_refused(argument: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        Config("TSLRecSASRec", "toy", argv=[argument])


@pytest.mark.parametrize(
    ("key", "value"),
    [("epochs", 0), ("eval_step", 0), ("weight_decay", 0), ("seed", 2**32 - 1), ("learner", "AdamW"), ("shuffle", 0)],
)
def test_the_least_and_other_spellings_are_taken(key: str, value: object) -> None:
    assert Config("TSLRecSASRec", "toy", argv=[f"--{key}={value}"])[key] == value


@pytest.mark.parametrize(("key", "given", "same"), [("enable_amp", "0", "False"), ("weight_decay", "0", "0.0")])
def test_equal_values_are_of_one_type(key: str, given: str, same: str) -> None:
    """A recipe would be another one, and all be trained anew."""
    one, other = (Config("SASRec", "toy", argv=[f"--{key}={value}"])[key] for value in (given, same))
    assert (type(one), one) == (type(other), other)


def test_numbers_of_numpy_are_numbers() -> None:
    given = {"hidden_size": np.int64(8), "learning_rate": np.float32(0.5)}
    assert Config("TSLRecSASRec", "toy", config_dict=given)["hidden_size"] == 8
