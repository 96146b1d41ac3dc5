"""What an ablation varies."""

from dataclasses import replace

import pytest

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.experiments.axes import AXES, variants
from recbole_tslrec.settings import ConfigError


def test_a_variant_changes_its_key_and_nothing_else(command):
    (variant, *_) = variants(replace(command, axes=("group_count",)))["group_count"]
    (job, _) = variant.jobs(command)
    assert job.trial.row == "TSLRec"  # Base has no groups, and runs once beside them all
    own, given = job.config(), command.config("TSLRecSASRec")
    assert {key for key in own.final_config_dict if own[key] != given[key]} <= {"group_count", "seed"}
    assert own["group_count"] == 8
    assert job.file.parent == command.output_dir / "variants" / "group_count" / "8" / "runs" / "toy"


def test_values_replace_the_defaults_and_name_new_axes(command):
    found = variants(replace(command, axes=("fusion_type", "sft_epochs"), values={"sft_epochs": [1, 2]}))
    assert [variant.label for variant in found["sft_epochs"]] == ["1", "2"]
    assert [variant.label for variant in found["fusion_type"]] == ["gate", "sum"]


@pytest.mark.parametrize("axis", [name for name, axis in AXES.items() if axis.llm != "pretrained"])
def test_every_value_of_every_axis_is_a_configuration(command, axis):
    for variant in variants(replace(command, axes=(axis,)))[axis]:
        job = variant.jobs(command)[0]
        assert isinstance(job.config(), Config)
        if len(variant.settings) == 1 and axis in job.config().final_config_dict:
            assert str(job.config()[axis]) == variant.label


def test_axes_of_a_pretrained_llm_are_left_out_without_one_and_refused_by_name(command):
    assert "lora_rank" not in variants(command)
    with pytest.raises(ConfigError, match=r"axis \[lora_rank\] is about a pretrained LLM"):
        variants(replace(command, axes=("lora_rank",)))


def test_pretrained_is_the_given_llm_against_scratch(command):
    command = replace(command, settings=(*command.settings, "--llm_name_or_path=/a/llm"), axes=("pretrained",))
    settings = [variant.settings for variant in variants(command)["pretrained"]]
    assert settings == [("--llm_name_or_path=/a/llm",), ("--llm_name_or_path=scratch",)]


def test_a_value_may_set_several_keys(command):
    sizes = [{"scratch_hidden_size": 8, "scratch_heads": 1}, {"scratch_hidden_size": 16, "scratch_heads": 2}]
    small, large = variants(replace(command, values={"llm_size": sizes}))["llm_size"]
    assert small.label == "scratch_hidden_size 8, scratch_heads 1"
    assert large.settings == ("--scratch_hidden_size=16", "--scratch_heads=2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": {"learning_rate": [0.1, 0.2]}}, r"axis \[learning_rate\] changes Base too"),
        ({"axes": ("group_count",), "rows": ("Base", "stage0")}, r"\[group_count\] cannot change row stage0"),
        (
            {"axes": ("group_count",), "settings": ("--knowledge_path=vectors.csv",)},
            r"\[group_count\] cannot change row TSLRec: no stage of it reads group_count",
        ),
        ({"axes": ("group_count",), "values": {"sft_epochs": [1]}}, r"\[sft_epochs\], which --axes does not name"),
        ({"rows": ("Base",)}, "leaves nothing to vary"),
    ],
)
def test_what_would_show_no_difference_or_another_base_is_refused(command, change, message):
    settings = (*command.settings, *change.get("settings", ()))
    with pytest.raises(ConfigError, match=message):
        variants(replace(command, **{**change, "settings": settings}))


def test_where_no_axis_is_named_a_row_has_those_that_it_reads(command):
    found = variants(replace(command, rows=("Base", "TSLRec", "stage0")))
    assert {name: values[0].rows for name, values in found.items() if name in ("group_count", "fusion_type")} == {
        "group_count": ("TSLRec",),
        "fusion_type": ("TSLRec", "stage0"),
    }
    given = replace(command, settings=(*command.settings, "--knowledge_path=vectors.csv"))
    assert list(variants(given)) == ["fusion_type", "id_init"]


def test_an_axis_without_values_is_refused(command):
    with pytest.raises(ConfigError, match=r"axis \[sft_epochs\] has no values"):
        variants(replace(command, axes=("sft_epochs",)))


def test_values_that_differ_in_a_sign_have_folders_of_their_own(command):
    found = variants(replace(command, values={"sft_epochs": [1, -1]}))["sft_epochs"]
    folders = {job.command.output_dir for variant in found for job in variant.jobs(command)}
    assert len(folders) == 2
