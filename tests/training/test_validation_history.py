"""``valid_history``: the history mode of the validations, which choose the best epoch."""

import pytest

from recbole_tslrec.evaluation.history_modes import MODES
from recbole_tslrec.evaluation.per_user import read_users
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.result import Result
from recbole_tslrec.training.validation_sample import loader_of_users
from tests.conftest import walks

FIRST = {user: item for user, item, time in walks() if time == 0}
# half of the users come back to their first item in the validation row, which is the last but one
ROWS = [(user, FIRST[user] if time == 10 and int(user[1:]) % 2 else item, time) for user, item, time in walks()]


@pytest.fixture
def run_in(make_config):
    """``run_in(mode, ...)``: the run, and the artifact of its backbone."""

    def run_in(mode, **settings):
        run = run_stages(make_config("SASRec", ROWS, epochs=2, valid_history=mode, **settings))
        return run, run.artifacts["backbone"]

    return run_in


@pytest.mark.parametrize("mode", MODES)
def test_the_epoch_is_chosen_by_the_figures_of_this_mode(run_in, mode):
    run, backbone = run_in(mode)
    evaluated = Result.of(run).modes["Base"]["valid"]
    assert len({str(figures) for figures in evaluated.values()}) == 3
    assert backbone.manifest["report"]["valid"] == evaluated[mode]
    assert backbone.manifest["report"]["valid_history"] == mode


def test_a_sample_of_users_is_validated_in_this_mode_too(run_in):
    run, backbone = run_in("strict", valid_users=7)
    report = backbone.manifest["report"]
    assert report["valid"] == Result.of(run).modes["Base"]["valid"]["strict"]
    drawn = loader_of_users(run.data.loaders[1], 7, run.config["seed"])._dataset
    users = read_users(run.evaluations["Base"].folder / "valid_users.parquet").frame.set_index("user_id")
    of_drawn = users.loc[drawn.field2id_token["user_id"][drawn.inter_feat["user_id"]]]
    for name, value in report["valid_of_sample"].items():
        assert value == pytest.approx(of_drawn[f"{name}_strict"].mean(), abs=1e-4)
