"""RecBole's data parallel training, ``recbole.quick_start.run(nproc=2)``, where there is no GPU; and its models' names.

RecBole starts its processes for NCCL and CUDA only. On a CPU they are joined with gloo here, and the metrics are those
of all users: RecBole pads every process's share of the users with repeated ones, and averages rounded metrics weighted
by four times the number of batches (``num_sample += len(batched_data)``, a tuple, in recbole/trainer/trainer.py). On
GPUs all is RecBole's own, but for the import of this package in the processes, and the one checkpoint of them all.

Of processes that a launcher has started, which RecBole does not know of, one writes its tensorboard log.
"""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from recbole_tslrec.compatibility.wrapping import wrap_once

_ROWS_OF_USERS = ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label")


def apply() -> None:
    """Let RecBole train in several processes on a CPU, and let its processes know the models of this package."""
    from recbole.config import Config
    from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader
    from recbole.evaluator import Collector
    from recbole.trainer import Trainer, trainer
    from recbole.trainer.trainer import AbstractTrainer

    _spawn_processes_that_know_this_package()
    _make_folders_that_may_exist()
    wrap_once(trainer, "get_tensorboard", _log_in_one_process)
    wrap_once(Config, "_init_device", _join_on_cpu)
    wrap_once(AbstractTrainer, "__init__", _distribute_on_cpu)
    wrap_once(Trainer, "__init__", _name_one_checkpoint)
    wrap_once(Trainer, "fit", _wait_for_the_checkpoint)
    wrap_once(Trainer, "_map_reduce", _keep_metrics_of_all_users)
    wrap_once(Collector, "get_data_struct", _gather_users)
    for loader in (FullSortEvalDataLoader, NegSampleEvalDataLoader):
        wrap_once(loader, "__init__", _share_out_users_once)


def _spawn_processes_that_know_this_package() -> None:
    # A spawned process finds its function by module and name. RecBole's own would import RecBole alone, which then
    # knows none of this package's models; this one imports the package on the way.
    from recbole import quick_start
    from recbole.quick_start import quick_start as quick_start_module

    if quick_start_module.run_recboles is not run_recboles:
        run_recboles.of_recbole = quick_start_module.run_recboles  # type: ignore[attr-defined]
        quick_start_module.run_recboles = quick_start.run_recboles = run_recboles


def run_recboles(rank: int, *args: Any) -> None:
    """``recbole.quick_start.run_recboles``: what each process runs."""
    run_recboles.of_recbole(rank, *args)  # type: ignore[attr-defined]


def _make_folders_that_may_exist() -> None:
    # recbole.utils.ensure_dir looks first and makes the folder then: of two processes that start together one fails.
    import recbole.data.utils
    import recbole.utils.logger
    import recbole.utils.utils
    from recbole.data.dataset import dataset
    from recbole.trainer import trainer

    for module in (recbole.utils, recbole.utils.utils, recbole.utils.logger, recbole.data.utils, dataset, trainer):
        module.ensure_dir = ensure_dir


def ensure_dir(folder: str) -> None:
    """``recbole.utils.ensure_dir``, for several processes at once."""
    os.makedirs(folder, exist_ok=True)


class NoLog:
    """A ``SummaryWriter`` that writes nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_, **__: None


def _log_in_one_process(get_tensorboard: Callable[..., Any], logger: Any) -> Any:
    is_another = int(os.environ.get("WORLD_SIZE", "1")) > 1 and int(os.environ.get("RANK", "0")) > 0
    return NoLog() if is_another else get_tensorboard(logger)


def _join_on_cpu(init_device: Callable[..., Any], config: Any) -> None:
    # recbole/config/configurator.py: NCCL, and cuda:<local_rank>
    settings = config.final_config_dict
    if "local_rank" not in settings or (settings["gpu_id"] and torch.cuda.is_available()):
        init_device(config)
        return
    distributed.init_process_group(
        "gloo",
        rank=settings["local_rank"] + settings["offset"],
        world_size=settings["world_size"],
        init_method=f"tcp://{settings['ip']}:{settings['port']}",
    )
    settings.update(device=torch.device("cpu"), single_spec=False)
    if settings["local_rank"] != 0:
        settings.update(state="error", show_progress=False, verbose=False)


def _several_on_cpu(config: Any) -> bool:
    return not config["single_spec"] and config["device"].type == "cpu"


def _distribute_on_cpu(init: Callable[..., Any], trainer: Any, config: Any, model: torch.nn.Module) -> None:
    # AbstractTrainer names a device per process and converts to SyncBatchNorm; a CPU has neither.
    if not _several_on_cpu(config):
        init(trainer, config, model)
        return
    trainer.config, trainer.model = config, model
    # the knowledge is a buffer, too: only the statistics of a batch normalisation are worth sending every step
    statistics = any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules())
    trainer.distributed_model = DistributedDataParallel(model, broadcast_buffers=statistics)


def _name_one_checkpoint(init: Callable[..., Any], trainer: Any, config: Any, model: torch.nn.Module) -> None:
    # Each process names the file by its own clock, but only the first writes it.
    init(trainer, config, model)
    if not config["single_spec"]:
        name = [trainer.saved_model_file]
        distributed.broadcast_object_list(name)
        trainer.saved_model_file = name[0]


def _wait_for_the_checkpoint(fit: Callable[..., Any], trainer: Any, *args: Any, **kwargs: Any) -> Any:
    # the others would load the best epoch while the first process still writes it
    result = fit(trainer, *args, **kwargs)
    if not trainer.config["single_spec"]:
        distributed.barrier()
    return result


def _share_out_users_once(init: Callable[..., Any], loader: Any, config: Any, *args: Any, **kwargs: Any) -> None:
    # DistributedSampler repeats the first users until the shares are equal.
    init(loader, config, *args, **kwargs)
    if _several_on_cpu(config):
        sampler = loader.sampler
        sampler.total_size = loader.sample_size
        sampler.num_samples = len(range(sampler.rank, sampler.total_size, sampler.num_replicas))


def _gather_users(get_data_struct: Callable[..., Any], collector: Any) -> Any:
    """What the metrics are made of, from all processes; then each computes the metrics of all users."""
    struct = get_data_struct(collector)
    if _several_on_cpu(collector.config):
        for key in _ROWS_OF_USERS:
            if collector.register.need(key):
                shares: list[Any] = [None] * distributed.get_world_size()
                own = [struct[key]] if key in struct else []  # nothing where there are more processes than users
                distributed.all_gather_object(shares, own)
                struct.set(key, torch.cat([rows for share in shares for rows in share]))
    return struct


def _keep_metrics_of_all_users(map_reduce: Callable[..., Any], trainer: Any, result: Any, num_sample: int) -> Any:
    return result if _several_on_cpu(trainer.config) else map_reduce(trainer, result, num_sample)
