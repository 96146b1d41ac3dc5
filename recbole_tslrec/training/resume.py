"""Step checkpoints of a recommender: an interrupted training goes on, to equal weights bit by bit on a CPU.

Where several processes share the steps the main one writes, and what it writes is theirs as well but for the random
numbers, of which it writes those of all. So a training can go on with another number of processes: the same steps, with
other dropout.
"""

import functools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.random_state import random_state, set_random_state
from recbole_tslrec.store.files import read_json
from recbole_tslrec.store.provenance import versions
from recbole_tslrec.store.step_checkpoints import (
    PROGRESS,
    Clock,
    begin_step_checkpoint,
    finish_step_checkpoint,
    latest_step_checkpoint,
    restore_best,
)
from recbole_tslrec.training.weights import hash_of_frozen, load_weights, write_trained_weights

_WEIGHTS, _STATE = "weights.safetensors", "state.pt"


@dataclass
class Position:
    """How far training is.

    Attributes:
        epoch: the epoch under way.
        step: steps of it that are done.
        loss_sum: the sum of their losses.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0


class StepCheckpoints:
    """Writes and reads the step checkpoints of a trainer: trained weights, optimizer, random numbers, the order of the
    epoch under way and the place in it, early stopping, and the best weights.

    Args:
        trainer: a ``RecommenderTrainer``.
        folder: where they lie.
    """

    def __init__(self, trainer: Any, folder: Path) -> None:
        self.trainer, self.folder = trainer, folder
        self.position, self.clock = Position(), Clock()
        self._order: Tensor | None = None  # the state that the loader drew the epoch's order from
        self._drawn: dict[str, Any] | None = None  # the random numbers to go on with

    def batches(self, train_data: Any, epoch: int) -> "Batches":
        """The batches of an epoch that are still to do."""
        if self.position.epoch != epoch:
            self.position = Position(epoch)
        return Batches(self, train_data)

    def start(self, loader: Any) -> Iterator[Any]:
        """The loader's batches behind the position, in the order in which they were begun."""
        if self._drawn is not None:
            loader.generator.set_state(self._order)
        self._order = loader.generator.get_state()
        batches: Iterator[Any] = iter(loader)
        for _ in range(self.position.step):
            next(batches)
        if self._drawn is not None:
            set_random_state(self._drawn)
            self._drawn = None
        return batches

    def save_if_due(self) -> None:
        """Save when four minutes have passed since the last time; with several processes the main one's clock counts,
        and is asked a step before.
        """
        shared = self.trainer.shared
        if not (shared.is_asked if shared else self.clock.is_due()):
            if shared:
                shared.asks = self.clock.is_due() and distributed.is_main()
            return
        if shared:
            shared.asks = shared.is_asked = False
        states = distributed.gather(random_state()) if shared else [random_state()]
        if distributed.is_main():
            self._save(states)
        self.clock.restart()

    def _save(self, random_states: list[dict[str, Any]]) -> None:
        trainer, steps = self.trainer, self.trainer.steps_done
        folder = begin_step_checkpoint(self.folder, steps)
        write_trained_weights(trainer.model, folder / _WEIGHTS)
        state = {"optimizer": trainer.optimizer.state_dict(), "order": self._order, "random": random_states}
        if trainer.average is not None:
            state["average"] = trainer.average.state_dict()
        torch.save(state, folder / _STATE)
        finish_step_checkpoint(self.folder, steps, self._progress(), Path(trainer.saved_model_file))

    def load_latest(self) -> None:
        """Put the newest step checkpoint's state into the trainer, if there is one of these versions."""
        shared = self.trainer.shared is not None
        checkpoint = latest_step_checkpoint(self.folder) if not shared or distributed.is_main() else None
        checkpoint = distributed.from_main(checkpoint) if shared else checkpoint
        if checkpoint is None:
            return
        progress = read_json(checkpoint / PROGRESS)
        if progress["versions"] != versions():
            getLogger().warning(f"{checkpoint} is of other versions of the libraries; training starts anew")
            return
        if progress.get("knowledge") != self._knowledge:
            getLogger().warning(f"{checkpoint} was trained with other rows of knowledge; training starts anew")
            return
        trainer = self.trainer
        if distributed.is_main():
            restore_best(checkpoint, Path(trainer.saved_model_file))
        load_weights(trainer.model, checkpoint / _WEIGHTS)
        state = torch.load(checkpoint / _STATE, map_location="cpu", weights_only=True)
        trainer.optimizer.load_state_dict(state["optimizer"])
        if trainer.average is not None:
            trainer.average.load_state_dict(state["average"])
        self._order, self._drawn = state["order"], self._own_random_state(state["random"], checkpoint)
        self.position = Position(**progress["position"])
        trainer.start_epoch, trainer.steps_done = self.position.epoch, progress["steps_done"]
        trainer.cur_step = progress["epochs_without_improvement"]
        if progress["best_valid_result"] is not None:
            trainer.best_valid_score = progress["best_valid_score"]
            trainer.best_valid_result = progress["best_valid_result"]
        trainer.train_loss_dict = {int(epoch): loss for epoch, loss in progress["train_loss"].items()}
        place = f"epoch {self.position.epoch}, step {self.position.step}"
        getLogger().info(f"{type(trainer.model).__name__} goes on from {checkpoint}: {place}")

    @functools.cached_property
    def _knowledge(self) -> str:
        """Which rows the weights go with: these are in no checkpoint."""
        return hash_of_frozen(self.trainer.model)

    def _own_random_state(self, states: list[dict[str, Any]], checkpoint: Path) -> dict[str, Any]:
        """The random numbers that this process goes on with; with other processes than before, dropout's are new."""
        share = self.trainer.shared.share if self.trainer.shared else distributed.ALONE
        if len(states) == share.of:
            return states[share.number]
        if not share.number:
            getLogger().warning(
                f"{checkpoint} was written with {len(states)} processes, and {share.of} go on from it: the steps are "
                "the same, but dropout draws other numbers than in a run that was not interrupted"
            )
            return states[0]
        fresh = torch.Generator().manual_seed(self.trainer.config["seed"] + share.number)
        of_gpu = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []  # as SharedSteps has seeded it
        return {**states[0], "torch": fresh.get_state(), "cuda": of_gpu}

    def _progress(self) -> dict[str, Any]:
        trainer = self.trainer
        validated = trainer.best_valid_result is not None
        return {
            "versions": versions(),
            "knowledge": self._knowledge,
            "position": asdict(self.position),
            "steps_done": trainer.steps_done,
            "epochs_without_improvement": trainer.cur_step,
            "best_valid_score": float(trainer.best_valid_score) if validated else None,  # infinity is no JSON
            "best_valid_result": trainer.best_valid_result,
            "train_loss": trainer.train_loss_dict,
        }


class Batches:
    """The batches of an epoch that are still to do; between two of them a step checkpoint is written if it is due.

    Args:
        checkpoints: knows which are done.
        loader: RecBole's.
    """

    def __init__(self, checkpoints: StepCheckpoints, loader: Any) -> None:
        self.checkpoints, self.loader = checkpoints, loader

    def __len__(self) -> int:
        """Near enough for a progress bar: some loaders cut an epoch's batches anew."""
        return max(0, len(self.loader) - self.checkpoints.position.step)

    def __iter__(self) -> Iterator[Any]:
        position = self.checkpoints.position
        batches = self.checkpoints.start(self.loader)
        while True:
            if position.step < len(self.loader):  # no loader has more, and windows perhaps fewer
                self.checkpoints.save_if_due()  # before the next batch is drawn, with random numbers
            batch = next(batches, None)
            if batch is None:
                return
            yield batch
            position.step += 1
