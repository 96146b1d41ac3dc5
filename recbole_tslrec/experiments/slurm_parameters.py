"""What ``--slurm`` asks of a cluster for each job: the parameters of submitit."""

import difflib
from typing import Any

import yaml
from submitit import AutoExecutor, SlurmExecutor

from recbole_tslrec.settings import ConfigError

_OURS = {"name", "job_name", "nodes", "tasks_per_node", "ntasks_per_node", "array_parallelism"}


def read_parameters(text: str) -> dict[str, Any]:
    """The parameters of ``--slurm``, as in ``partition: gpu, gpus_per_node: 1, timeout_min: 600``.

    Raises:
        ConfigError: it does not read so, submitit has no such parameter, or the time limit is missing.
    """
    parameters = _parsed(text)
    if "timeout_min" not in parameters or "time" in parameters:  # without one submitit takes five minutes
        raise ConfigError("--slurm needs timeout_min, the minutes that one run may take, as in timeout_min: 600")
    known = sorted((AutoExecutor._valid_parameters() | SlurmExecutor._valid_parameters()) - _OURS - {"time"})
    for name in parameters:
        if name in _OURS:
            raise ConfigError(f"--slurm cannot set [{name}]: a run is one process with a name of its own; leave it out")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"they are {', '.join(known)}"
            raise ConfigError(f"--slurm: [{name}] is no parameter of submitit; {hint}")
    return parameters


def _parsed(text: str) -> dict[str, Any]:
    try:
        parameters = yaml.safe_load("{" + text + "}")
    except yaml.YAMLError:
        parameters = {text: None}
    if None in parameters.values():  # partition=gpu is one long key
        raise ConfigError(f"--slurm must read as partition: gpu, timeout_min: 600, not [{text}]")
    return {str(name): value for name, value in parameters.items()}
