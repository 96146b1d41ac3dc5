"""``python -m recbole_tslrec.experiments.model_free_run``: a control row without any model, as a run of its own."""

import argparse
import sys
from collections.abc import Sequence

from recbole_tslrec.compute.lifeline import end_with_parent
from recbole_tslrec.configuration.config import Config
from recbole_tslrec.evaluation.model_free import MODEL_FREE
from recbole_tslrec.experiments.trials import Trial
from recbole_tslrec.pipeline import run_model_free
from recbole_tslrec.result import Result


def main(argv: Sequence[str]) -> None:
    """Evaluate popularity or the last items and write the result as a run of a model does."""
    end_with_parent()
    parser = argparse.ArgumentParser(prog="python -m recbole_tslrec.experiments.model_free_run", allow_abbrev=False)
    parser.add_argument("--row", required=True, choices=MODEL_FREE)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--config_files", default="")
    parser.add_argument("--result_file", required=True)
    given, keys = parser.parse_known_args(list(argv))
    model = Trial(given.dataset, "", given.row, 0).model
    config = Config(model, given.dataset, given.config_files.split(), argv=keys)
    Result.of(run_model_free(config, given.row)).write(given.result_file)


if __name__ == "__main__":
    main(sys.argv[1:])
