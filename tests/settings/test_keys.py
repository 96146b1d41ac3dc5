"""Every key of this package, of RecBole and of its sequential models.

It enters the recipes of the stages that read it, or it is declared neutral, with a reason.
"""

import typing
from pathlib import Path

import pytest
import recbole
import yaml

from recbole_tslrec.baselines.settings import LlamaRecSettings, P5Settings, PODSettings
from recbole_tslrec.configuration.properties import model_keys, own_defaults, properties_folder, read_properties
from recbole_tslrec.configuration.settings import SETTINGS
from recbole_tslrec.evaluation.settings import EvaluationSettings
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.models.families import FAMILIES
from recbole_tslrec.pipeline import STAGES, plan
from recbole_tslrec.pipeline.evaluate import RowSettings
from recbole_tslrec.pipeline.knowledge_sources import KNOWLEDGE_SOURCES, SourceSettings
from recbole_tslrec.pipeline.run import ArtifactSettings
from recbole_tslrec.pipeline.stage import KINDS
from recbole_tslrec.pipeline.stage_0 import BackboneSettings, recommender_settings
from recbole_tslrec.pipeline.stage_1 import TargetSettings
from recbole_tslrec.settings import RecBoleConfig, Settings, derive
from tests.conftest import small_config

RECBOLE = Path(recbole.__file__).parent / "properties"
OWN = own_defaults("", "")
OF_RECBOLE = {**read_properties(RECBOLE / "dataset" / "sample.yaml"), **read_properties(RECBOLE / "overall.yaml")}
SOURCES = tuple(dict.fromkeys(source.settings for source in KNOWLEDGE_SOURCES.values()))


def with_groups_within(groups):
    """Groups of keys, and those that are fields of them."""
    for group in groups:
        within = [hint for hint in typing.get_type_hints(group).values() if isinstance(hint, type)]
        yield from with_groups_within([hint for hint in within if issubclass(hint, Settings)])
        yield group


OUTER = (*SETTINGS, *SOURCES, SourceSettings, ArtifactSettings, BackboneSettings, TargetSettings)
GROUPS = tuple(dict.fromkeys(with_groups_within(OUTER)))

# another value, where one cannot be made up
ANOTHER = {
    "ci_fusion_type": "gate",
    "fusion_type": "sum",
    "group_count": 5,
    "knowledge_path": "vectors.parquet",
    "knowledge_source": "stage0",
    "llm_dtype": "bfloat16",
    "loss_type": "CE",
    "export_dtype": "float32",
    "prompt_item_text": "brand",
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The configuration of a model that has every stage."""
    settings = {"llm_name_or_path": "some/decoder", "export_dtype": "bfloat16", "prompt_item_text": "title"}
    settings |= {"loss_type": "gBCE", "train_mode": "prefix"}  # so that all keys are read
    return small_config(tmp_path_factory.mktemp("keys"), "TSLRecSASRec", **settings)


def changed(config, key):
    """The configuration with another value of a key."""
    value, choices = config[key], choices_of(key)
    if key in ANOTHER:
        other = ANOTHER[key]
    elif choices:
        other = next(choice for choice in choices if choice != value)
    elif isinstance(value, bool):
        other = not value
    elif isinstance(value, (int, float)):
        other = value + 1
    else:
        other = 7 if value is None else f"{value} and more"
    return RecBoleConfig({**config.final_config_dict, key: other})


def choices_of(key):
    """The values that a key may have, where they are listed."""
    found = [group.__dataclass_fields__[key] for group in GROUPS if key in group.__dataclass_fields__]
    return next((each.metadata["choices"] for each in found if each.metadata["choices"]), ())


def recipes(config):
    """The recipe of each stage of the model, of CI's recommender, control rows, an evaluation and the LLM baselines."""
    stages = {stage.kind: stage.settings.recipe() for stage in plan(config)}
    ci = RecBoleConfig({**config.final_config_dict, "model": "CISASRec", "knowledge_path": None})  # it reads none
    stages["recommender of CI"] = plan(ci)[-1].settings.recipe()
    stages.update(
        {kind.__name__: kind.of(config).recipe() for kind in (*SOURCES, LlamaRecSettings, P5Settings, PODSettings)}
    )
    stages["evaluation"] = RowSettings("TSLRec", EvaluationSettings.of(config)).recipe()
    return stages


def neutral_reasons(key):
    """Why the groups that have a key call it neutral."""
    return [group.neutral()[key] for group in GROUPS if key in group.neutral()]


@pytest.mark.parametrize("key", sorted({*OWN, *OF_RECBOLE, "loss_type"}))
def test_key_enters_a_recipe_or_is_neutral(config, key):
    assert any(key in group.key_names() for group in GROUPS), f"[{key}] is in no settings; add it to those that read it"
    before, after = recipes(config), recipes(changed(config, key))
    differing = [kind for kind in before if before[kind] != after.get(kind)]
    if not differing:
        assert neutral_reasons(key), f"[{key}] changes no recipe; declare it neutral, with the reason"


@pytest.mark.parametrize("key", sorted({key for group in GROUPS for key in group.neutral()} - {"device"}))
def test_neutral_key_changes_no_recipe_that_calls_it_so(config, key):
    """A key may decide what one stage computes and not another: ``metrics`` are an evaluation's, not a training's."""
    other = changed(config, key)
    for group in GROUPS:
        if key in group.neutral() and "knowledge_source" not in group.key_names():
            assert key not in group.of(other).recipe()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_own_keys_of_a_backbone_enter_its_training(config, backbone):
    """Those of its yaml files; no other backbone's."""
    keys = model_keys(backbone)
    of_recbole = RECBOLE / "model" / f"{backbone}.yaml"
    theirs = yaml.safe_load(of_recbole.read_text()) if of_recbole.exists() else {}
    assert keys == {*theirs, *read_properties(properties_folder() / "model" / f"{backbone}.yaml")}
    config = derive(config, loss_type="BPR", train_neg_sample_args={"distribution": "uniform"})
    settings = recommender_settings(config, backbone)
    for key in keys:
        other = recommender_settings(derive(config, **{key: _another(config, key)}), backbone)
        assert settings.recipe() != other.recipe(), f"[{key}] of {backbone} does not enter the recipe of its training"


def _another(config, key):
    """A value that no default has; of ``loss_type`` one that exists."""
    return "CE" if key == "loss_type" else "another value"


def test_every_key_of_the_package_is_in_its_yaml_files():
    """``overall.yaml`` (with ``llm/scratch.yaml``) is the list that users read, and holds every default."""
    of_recbole = {*OF_RECBOLE, "loss_type", "tail_ratio", "encoding", "model", "dataset"}
    derived = {"device", "single_spec", "local_rank", "MODEL_TYPE", "MODEL_INPUT_TYPE", "eval_type"}
    derived |= {"valid_neg_sample_args", "test_neg_sample_args"}
    keys = {key for group in GROUPS for key in group.key_names()}
    assert keys - of_recbole - derived - set(OWN) == set()
    assert set(OWN) - keys == set()


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_every_field_has_a_docstring(group):
    """A string below each field says what the key is."""
    import ast
    import inspect

    body = ast.parse(inspect.getsource(group)).body[0].body
    fields = [place for place, node in enumerate(body) if isinstance(node, ast.AnnAssign)]
    for place in fields:
        following = body[place + 1] if place + 1 < len(body) else None
        is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        assert is_text, f"{group.__name__}.{body[place].target.id} has no docstring"


def test_stages_are_in_the_papers_order(config):
    several = RecBoleConfig({**config.final_config_dict, "knowledge_source": "tfidf,sft,co_interaction"})
    for each in (config, several):
        kinds = list(dict.fromkeys(stage.kind for stage in plan(each)))
        assert kinds == [kind for kind in KINDS if kind in {*STAGES, "knowledge"}]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_stage_is_read_before_anything_runs(config, family):
    """A wrong value of any stage is known when the stages are planned, which needs no data."""
    named = RecBoleConfig({**config.final_config_dict, "model": f"{family.prefix}SASRec"})
    assert all(stage.settings.recipe() for stage in plan(named))
