"""A task from its examples to a fine-tuned LLM on the disk."""

from logging import getLogger
from pathlib import Path
from typing import Any

from recbole.utils import init_seed

from recbole_tslrec.compute import distributed
from recbole_tslrec.sft.checkpoint import CHECKPOINT
from recbole_tslrec.sft.cost import plan_memory
from recbole_tslrec.sft.estimate import estimate_epoch
from recbole_tslrec.sft.settings import FineTuningSettings
from recbole_tslrec.sft.task import Task
from recbole_tslrec.sft.trainer import SFTTrainer
from recbole_tslrec.store.artifacts import UNFINISHED
from recbole_tslrec.store.files import link_folder
from recbole_tslrec.store.step_checkpoints import latest_step_checkpoint


def fine_tune(settings: FineTuningSettings, task: Task, folder: Path) -> dict[str, Any]:
    """Train the network of a task and leave the best epoch in ``folder/checkpoint``.

    What an interrupted call has left in ``folder/unfinished`` is gone on with, to the same weights bit by bit on a CPU.

    Args:
        settings: the settings of the LLM and its training.
        task: what is trained.
        folder: an existing folder without a checkpoint.

    Returns:
        For the manifest: the best validation result, the estimate of the cost, counts, and the report of the task.

    Raises:
        LLMError: the LLM cannot be loaded.
        TrainingDiverged: the loss is not finite.
        ResumeError: a step checkpoint in the folder was made with other settings or examples.
    """
    plan = plan_memory(settings, task.llm_config, task.longest_prompt, task.trains_llm, task.head_weights)
    estimate = estimate_epoch(settings, task, plan)
    init_seed(settings.llm.seed, settings.reproducibility)
    network = task.network()
    if plan.checkpoint_activations:
        network.checkpoint_activations()
    work = folder / UNFINISHED
    trainer = SFTTrainer(settings, task, network, work, plan.tokens_per_batch)
    interrupted = latest_step_checkpoint(work)
    if interrupted is not None:
        trainer.resume_checkpoint(str(interrupted))
    best, best_result = trainer.fit(task.train, task.valid, show_progress=settings.llm.show_progress)
    trainer.tensorboard.close()
    if distributed.is_main():
        link_folder(work / CHECKPOINT, folder / CHECKPOINT)
    getLogger().info(f"{task.name}: best validation {task.valid_metric} {best:.4f}")
    return {
        "valid": best_result,
        "estimate": estimate,
        "epochs": len(trainer.train_loss_dict),
        "train_examples": len(task.train),
        "valid_examples": len(task.valid),
        **task.report(),
    }
