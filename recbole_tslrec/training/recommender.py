"""Train and evaluate a RecBole sequential model: stage 0 (the backbone, "+Base") and the augmented training."""

import os
from contextlib import AbstractContextManager, nullcontext
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.trainer import Trainer
from recbole.utils import init_seed
from safetensors.torch import load_file
from tqdm import tqdm

from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.distributed import ALONE, Share
from recbole_tslrec.compute.divergence import StepwiseNanCheck, log_under
from recbole_tslrec.compute.precision import autocast_in_bfloat16, warn_of_slow_autocast
from recbole_tslrec.compute.random_state import random_state, set_random_state
from recbole_tslrec.evaluation.held_out import HeldOut
from recbole_tslrec.evaluation.history_modes import UNMASKED
from recbole_tslrec.evaluation.metrics import figures
from recbole_tslrec.evaluation.trained_model import rank_held_out
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.models.factory import model_class
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.sequential.ranking import hits, target_ranks
from recbole_tslrec.sequential.ranking_units import ranked_in_units
from recbole_tslrec.sequential.sparse_rows import SPARSE_FROM, AdamWithSparseRows, use_sparse_rows
from recbole_tslrec.settings import derive
from recbole_tslrec.store.files import write_tensors
from recbole_tslrec.training.resume import StepCheckpoints
from recbole_tslrec.training.shared_steps import SharedSteps, reads_every_parameter, why_not_shared
from recbole_tslrec.training.validation_sample import loader_of_users
from recbole_tslrec.training.weight_average import WeightAverage
from recbole_tslrec.training.weights import load_weights, write_trained_weights

MODEL = "model.safetensors"


class RecommenderTrainer(StepwiseNanCheck, Trainer):  # type: ignore[misc]  # RecBole is untyped
    """RecBole's ``Trainer`` with safetensors checkpoints: the best weights, renamed into place when whole.

    They are without the rows of knowledge.

    Attributes:
        checkpoints: written between the steps of a training; ``None`` where none are.
        average: of the weights, validated and saved in their place; ``None`` takes those of the last step.
        shared: the part of this process in every step; ``None`` where it takes the steps alone.
        share: the part of this process in every ranking; all that share it must rank together.
        masked: rows whose loader is evaluated in the mode ``valid_history``; ``None`` evaluates every loader unmasked.
    """

    def __init__(self, config: Any, model: torch.nn.Module) -> None:
        super().__init__(config, model)
        self.saved_model_file = os.path.join(self.checkpoint_dir, MODEL)
        self.checkpoints: StepCheckpoints | None = None
        self.average: WeightAverage | None = None
        self.shared: SharedSteps | None = None
        self.share = ALONE
        self.masked: HeldOut | None = None
        log_under(self, config["model"])

    def share_steps(self, reads_all: bool) -> None:
        """Share every step and ranking with the other processes, which call this too.

        Args:
            reads_all: whether every step reads every parameter.
        """
        self.shared = SharedSteps(self.model, self.optimizer, self.device, self.config["seed"], reads_all)
        self.share = self.shared.share

    def _build_optimizer(self, **kwargs: Any) -> Any:
        model, config = self.model, self.config
        plain_adam = self.learner.lower() == "adam" and not (self.weight_decay or self.clip_grad_norm)
        large = getattr(model, "samples_items", False) and model.n_items >= SPARSE_FROM
        if not (large and plain_adam and config["single_spec"] and not self.enable_scaler):
            return super()._build_optimizer(**kwargs)
        self.logger.info(f"{model.n_items - 1} items, of which a step draws some: sparse gradients, SparseAdam")
        sparse = use_sparse_rows([model.item_embedding])
        dense = [parameter for parameter in model.parameters() if all(parameter is not row for row in sparse)]
        return AdamWithSparseRows(dense, sparse, self.learning_rate)

    def _train_epoch(self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False) -> Any:
        if self.shared is not None:
            loss_func = self.shared.loss
        # a scaled loss is one that is meant for float16
        with nullcontext() if self.enable_scaler else autocast_in_bfloat16(self.device):
            if self.checkpoints is None:
                return super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
            batches = self.checkpoints.batches(train_data, epoch_idx)
            before = self.checkpoints.position.loss_sum
            loss = super()._train_epoch(batches, epoch_idx, loss_func, show_progress)
        return self.checkpoints.position.loss_sum if before else loss  # RecBole's is that of the batches since

    def _check_nan(self, loss: Any) -> None:
        super()._check_nan(loss)
        if self.checkpoints is not None:
            self.checkpoints.position.loss_sum += loss.item()

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        # RecBole compares the epochs without a better one with stopping_step right after this, and stops when they are
        # more; train_loss_dict has an entry for each epoch that is done
        may_stop = len(self.train_loss_dict) >= self.config["minimum_epochs"]
        self.stopping_step = self.config["stopping_step"] if may_stop else self.epochs
        with self._averaged():
            found = super()._valid_epoch(valid_data, show_progress=show_progress)
        return found if self.shared is None else distributed.from_main(found)  # so that all stop together

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        if distributed.is_main():
            with self._averaged():
                write_trained_weights(self.model, Path(self.saved_model_file))

    def _averaged(self) -> AbstractContextManager[None]:
        return nullcontext() if self.average is None else self.average.in_place()

    def resume_checkpoint(self, resume_file: str) -> None:
        """Load the weights of a checkpoint; training starts at epoch 0 with a fresh optimizer."""
        load_weights(self.model, Path(resume_file))

    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
    ) -> Any:
        """RecBole's metrics; ``load_best_model`` and ``model_file`` read safetensors."""
        if load_best_model:
            load_weights(self.model, Path(model_file or self.saved_model_file))
        if self.masked is not None and eval_data is self.masked.loader:
            return self._evaluate_masked(self.masked, show_progress)
        if not eval_data or not self._needs_ranks_only(eval_data):
            return super().evaluate(eval_data, load_best_model=False, show_progress=show_progress)
        self.model.eval()
        batches = tqdm(eval_data, desc="Evaluate", disable=not show_progress)

        def rank(interaction: Any, target: torch.Tensor, _: Any) -> torch.Tensor:
            return target_ranks(self.model, interaction, target)

        ranks = ranked_in_units(self.model, batches, rank, self.share)
        self.eval_collector.data_struct.update_tensor("rec.topk", hits(ranks, max(self.config["topk"])))
        return self.evaluator.evaluate(self.eval_collector.get_data_struct())

    def _evaluate_masked(self, rows: HeldOut, show_progress: bool) -> dict[str, float]:
        found = rank_held_out(self.model, rows, show_progress, self.share)
        ranks = found.by_mode(rows.repeat, rows.item_count, max(self.config["topk"]))
        return figures(self.config, ranks[self.config["valid_history"]])

    def _needs_ranks_only(self, eval_data: Any) -> bool:
        """Whether RecBole's metrics can be had from the targets' ranks: full ranking, and nothing but top-k hits."""
        needed = {part for metric in self.evaluator.metric_class.values() for part in metric.metric_need}
        full = isinstance(eval_data, FullSortEvalDataLoader) and eval_data.is_sequential
        return full and all(part == "rec.topk" or part.startswith("data.") for part in needed)


def build_model(config: Any, train_data: Any, fused: Any = None) -> torch.nn.Module:
    """A freshly initialised model, with the random streams set as ``run_recbole`` sets them before it builds one.

    Args:
        config: with the model's name.
        train_data: RecBole's loader.
        fused: what is fused into its item embeddings; ``None`` leaves it to the model, which reads a path.
    """
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    given = () if fused is None else (fused,)
    model: torch.nn.Module = model_class(config["model"])(config, train_data._dataset, *given).to(config["device"])
    return model


def train_recommender(
    config: Any,
    train_data: Any,
    valid_data: Any,
    folder: Path,
    fused: Any = None,
    work: Path | None = None,
    masked: HeldOut | None = None,
) -> dict[str, Any]:
    """Train a model as RecBole does and leave the best epoch's weights in ``folder``.

    Args:
        config: with the model's name.
        train_data: RecBole's loader.
        valid_data: RecBole's loader; chooses the best epoch. With ``valid_users`` a sample of its users does, and the
            best epoch is validated on all of them in the end.
        folder: an existing folder.
        fused: what is fused into the item embeddings, as in :func:`build_model`.
        work: where step checkpoints go, and what an interrupted training has left there is gone on with; ``None``
            writes none.
        masked: the rows of ``valid_data``, where ``valid_history`` masks histories; ``None`` validates unmasked.

    Several processes share the steps and the rankings, and the main one writes. Where a step cannot be shared, see
    :func:`recbole_tslrec.training.shared_steps.why_not_shared`, the main one trains alone.

    Returns:
        The best epoch's result on all validation users, its history mode, and the number of epochs trained; with a
        sample also how many users it has, and the result on them; nothing where another process trains alone.

    Raises:
        TrainingDiverged: the loss is not finite.
    """
    model = build_model(config, train_data, fused)
    batch = _first_batch(model, train_data) if distributed.process_count() > 1 else None
    together = batch is not None and _can_share(model, batch)
    if not together and not distributed.is_main():
        return {}
    if config["enable_amp"] and distributed.is_main():
        warn_of_slow_autocast(config["device"])
    reads_all = together and _reads_all(config, model, batch)
    train_data.generator.manual_seed(config["seed"])  # a loader that has served before would go on with its stream
    trainer = RecommenderTrainer(derive(config, checkpoint_dir=str(work or folder)), model)
    if together:
        trainer.share_steps(reads_all)
    if config["average_weights"]:
        trainer.average = WeightAverage(model, trainer.optimizer)
    if work is not None:
        trainer.checkpoints = StepCheckpoints(trainer, work)
        trainer.checkpoints.load_latest()
    sample = loader_of_users(valid_data, config["valid_users"], config["seed"])
    if sample is not valid_data:
        trainer.logger.info(
            f"each epoch is validated on {config['valid_users']:,} users drawn once (valid_users): early stopping and "
            "the choice of the best epoch see these alone"
        )
    if masked is not None:
        trainer.masked = masked.of_users_in(sample)
        trainer.logger.info(f"the history mode of each validation is {config['valid_history']} (valid_history)")
    _, chosen_by = trainer.fit(train_data, sample, show_progress=config["show_progress"])
    trainer.tensorboard.close()
    if together:
        distributed.wait_for_everyone()  # the main one may still be writing them
    load_weights(model, Path(trainer.saved_model_file))
    report: dict[str, Any] = {"valid": dict(chosen_by or {})}
    if sample is not valid_data and chosen_by:
        trainer.masked = masked
        report = _on_all_users(trainer, valid_data, dict(chosen_by))
    if distributed.is_main():
        write_tensors(folder / MODEL, model.state_dict())
    mode = UNMASKED if masked is None else config["valid_history"]
    return {**report, "valid_history": mode, "epochs": len(trainer.train_loss_dict)}


def _on_all_users(trainer: RecommenderTrainer, valid_data: Any, on_sample: dict[str, Any]) -> dict[str, Any]:
    """What is reported of the best epoch where a sample of users has chosen it."""
    on_all = evaluate_recommender(trainer, valid_data)
    trainer.logger.info(f"the best epoch on all validation users: {on_all}; on the sample that chose it: {on_sample}")
    return {"valid": on_all, "valid_users": trainer.config["valid_users"], "valid_of_sample": on_sample}


def _first_batch(model: Any, train_data: Any) -> Any:
    """The first batch, on the model's device, with all random numbers left as they were."""
    state = random_state()
    batch = next(iter(train_data)).to(next(model.parameters()).device)
    set_random_state(state)  # the loader has drawn negatives and masks
    return batch


def _can_share(model: Any, batch: Any) -> bool:
    """Whether the processes can share the steps; decided by the main one, by the first batch."""
    reason = distributed.from_main(why_not_shared(model, batch))
    if reason and distributed.is_main():
        others = distributed.process_count() - 1
        wait = "1 other waits" if others == 1 else f"{others} others wait"
        name = type(model).__name__
        getLogger().warning(f"{name} is trained in the main process alone, while {wait}: {reason}")
    return not reason


def _reads_all(config: Any, model: Any, batch: Any) -> bool:
    """Whether every step reads every parameter: the first does, and no class of this package changes that later.

    What a class of the user's own reads may differ from step to step.
    """
    known = parse_model_name(config["model"]).backbone in BACKBONES
    return distributed.from_main(known and reads_every_parameter(model, batch))


def load_trainer(
    config: Any, train_data: Any, folder: Path, fused: Any = None, share: Share = ALONE
) -> RecommenderTrainer:
    """The trainer of the model in ``folder``, ready to evaluate it.

    Args:
        config: with the model's name.
        train_data: RecBole's loader; some metrics count its items.
        folder: where :func:`train_recommender` left the weights.
        fused: what is fused into the item embeddings, as in :func:`build_model`.
        share: the part of this process in every ranking.
    """
    # S3Rec would read the checkpoint that it was fine-tuned from, which may be gone
    model = build_model(derive(config, train_stage="pretrain"), train_data, fused)
    trainer = RecommenderTrainer(derive(config, checkpoint_dir=str(folder)), model)
    load_weights(trainer.model, folder / MODEL)
    trainer.eval_collector.data_collect(train_data)
    trainer.share = share
    return trainer


def evaluate_recommender(trainer: RecommenderTrainer, eval_data: Any) -> dict[str, float]:
    """RecBole's metrics of a loaded model on ``eval_data``, history unmasked; none where the split left no rows."""
    result = trainer.evaluate(eval_data, load_best_model=False, show_progress=trainer.config["show_progress"])
    return {name: float(value) for name, value in (result or {}).items()}


def item_embeddings(folder: Path, table: str, items: int) -> torch.Tensor:
    """The stage-0 item embeddings of a trained backbone: the first N rows of ``table`` behind the pad's, [N, d]."""
    return load_file(str(folder / MODEL))[f"{table}.weight"][1 : items + 1]
