"""Fine-tuning: a RecBole ``Trainer`` over the examples of a task, whose score is the validation loss.

``fit``, early stopping and logging are RecBole's; precision, DDP, FSDP2 and DeepSpeed are accelerate's.
"""

import os
import shutil
from contextlib import nullcontext
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, find_executable_batch_size
from numpy.typing import NDArray
from recbole.trainer import Trainer
from torch import Tensor
from tqdm import tqdm
from transformers import get_scheduler

from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.divergence import StepwiseNanCheck, log_under
from recbole_tslrec.settings import ConfigError, RecBoleConfig
from recbole_tslrec.sft.batching import MicroBatch, TokenBudget, split_step
from recbole_tslrec.sft.checkpoint import CHECKPOINT, load_trained_weights, save_trained_weights
from recbole_tslrec.sft.cost import MOST_TOKENS
from recbole_tslrec.sft.examples import TARGET
from recbole_tslrec.sft.resume import Position, StepCheckpoints
from recbole_tslrec.sft.settings import FineTuningSettings
from recbole_tslrec.sft.task import LOSS, EpochExamples, StepExamples, Task
from recbole_tslrec.store.files import beside, replace_folder

_SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)
_LONG = 100  # steps of an epoch that is worth more than one line in the log


class SFTTrainer(StepwiseNanCheck, Trainer):  # type: ignore[misc]  # RecBole is untyped
    """RecBole's ``fit``, early stopping, logging and ``saved``, for the examples and errors of a task.

    A checkpoint (``saved_model_file``) is a folder with the trained weights of the best epoch only, see
    :mod:`recbole_tslrec.sft.checkpoint`; to go on after an interruption there are step checkpoints, see
    :mod:`recbole_tslrec.sft.resume`.

    Args:
        settings: the settings of the fine-tuning.
        task: what is trained.
        model: the network.
        folder: where checkpoints go.
        tokens_per_batch: what fits the memory, for ``sft_tokens_per_batch: ~``.
    """

    def __init__(
        self,
        settings: FineTuningSettings,
        task: Task,
        model: Any,
        folder: Path,
        tokens_per_batch: int = MOST_TOKENS["cpu"],
    ) -> None:
        super().__init__(_recbole_config(settings, task.valid_metric, folder), model)
        self.settings = settings
        self.task = task
        self.saved_model_file = os.path.join(self.checkpoint_dir, CHECKPOINT)
        self.divergence_hint = "; or set llm_dtype to bfloat16" if settings.llm.dtype == torch.float16 else ""
        log_under(self, "sft")
        self.accelerator = _accelerator(settings)
        self.optimizer: Any
        self.prepared: Any = self.model  # until fit has accelerate wrap it
        self.schedule: Any = None
        self.tokens_per_batch = int(settings.sft_tokens_per_batch or tokens_per_batch)
        self.position = Position()
        self.checkpoints: StepCheckpoints | None = None
        self._resume_from: Path | None = None

    def _build_optimizer(self, **kwargs: Any) -> torch.optim.Optimizer:
        trained = list(self.model.trainable().values())
        return torch.optim.AdamW(trained, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)

    @property
    def budget(self) -> TokenBudget:
        """What a micro-batch may hold at present."""
        return TokenBudget(self.tokens_per_batch, self.model.shared_tokens, self.model.layout)

    def fit(
        self,
        train_data: EpochExamples,
        valid_data: StepExamples | None = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Any = None,
    ) -> tuple[float, dict[str, float] | None]:
        """RecBole's ``fit``; ``saved`` also switches the step checkpoints.

        Raises:
            TrainingDiverged: the loss is not finite.
            ResumeError: the checkpoint given to ``resume_checkpoint`` was made with other settings or users.
        """
        first = train_data.in_epoch(0)
        self._prepare(len(first.steps(0)))
        checkpoints = StepCheckpoints(self, first.fingerprint)
        if self._resume_from is not None:
            checkpoints.load(self._resume_from)
            self._resume_from = None
        self.checkpoints = checkpoints if saved else None
        show_progress = show_progress and distributed.is_main()
        result = super().fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)
        return result  # type: ignore[no-any-return]

    def _prepare(self, steps_per_epoch: int) -> None:
        if self.schedule is not None:
            return
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            # it wants to know what it otherwise reads off a data loader, and clips by itself
            most = self.settings.sft_clip_grad_norm or 0.0
            deepspeed = {"train_micro_batch_size_per_gpu": 1, "gradient_clipping": most}
            self.accelerator.state.deepspeed_plugin.deepspeed_config.update(deepspeed)
        steps = steps_per_epoch * self.epochs
        warmup = round(steps * self.settings.sft_warmup_ratio)
        name = {"constant": "constant_with_warmup"}.get(self.settings.sft_schedule, self.settings.sft_schedule)
        schedule = get_scheduler(name, self.optimizer, warmup, steps)
        self.prepared, self.optimizer, self.schedule = self.accelerator.prepare(self.model, self.optimizer, schedule)
        self.trained = [weight for weight in self.prepared.parameters() if weight.requires_grad]

    def _train_epoch(
        self, train_data: EpochExamples, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> float:
        """Go through the steps of an epoch that are still to do; the mean loss over its examples."""
        if self.position.epoch != epoch_idx:
            self.position = Position(epoch=epoch_idx)
        examples = train_data.in_epoch(epoch_idx)
        steps = examples.steps(epoch_idx)
        self.prepared.train()
        with tqdm(
            total=len(steps),
            initial=self.position.step,
            desc=f"SFT epoch {epoch_idx}",
            unit="step",
            disable=not show_progress,
        ) as bar:

            def go_on(tokens_per_batch: int) -> None:
                self.tokens_per_batch = tokens_per_batch
                for chosen in steps[self.position.step :]:
                    if self.checkpoints is not None:
                        self.checkpoints.save_if_due()
                    self._train_step(examples, chosen)
                    bar.update()
                    bar.set_postfix(loss=f"{self.position.mean_loss:.4f}", refresh=False)
                    if not show_progress:
                        self._log_each_tenth(len(steps))

            find_executable_batch_size(go_on, self.tokens_per_batch, self._halve_budget)()
        return self.position.mean_loss

    def _log_each_tenth(self, steps: int) -> None:
        """Say where a long epoch is: where no bar can be seen, the log is all that shows whether it goes on."""
        done = self.position.step
        if steps >= _LONG and 10 * done // steps > 10 * (done - 1) // steps and done < steps:
            epoch, loss = self.position.epoch, self.position.mean_loss
            self.logger.info(f"epoch {epoch}: {done:,} of {steps:,} steps, mean loss so far {loss:.4f}")

    def _train_step(self, train_data: StepExamples, chosen: NDArray[np.int64]) -> None:
        micro_batches = self._split(train_data, chosen)
        loss = torch.zeros((), device=self.device)
        for number, micro_batch in enumerate(micro_batches, start=1):
            last = number == len(micro_batches)
            # DeepSpeed and the optimizer's wrapper ask accelerate whether this is the last part of a step
            self.accelerator.gradient_state._set_sync_gradients(last)
            with nullcontext() if last else self.accelerator.no_sync(self.prepared):
                part, _ = self._errors(train_data, micro_batch)
                # gradients are averaged over the processes, whose losses are parts of one sum
                self.accelerator.backward(part * self.accelerator.num_processes)
            loss += part.detach()
        loss = self.accelerator.reduce(loss, "sum")
        self._check_nan(loss)
        if self.settings.sft_clip_grad_norm is not None:
            self.accelerator.clip_grad_norm_(self.trained, self.settings.sft_clip_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.position.advance(float(loss), len(chosen))

    def _errors(self, data: StepExamples, micro_batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sums of the examples' errors, and of their metrics."""
        objective, interaction = self.task.objective, data.interaction(micro_batch.examples).to(self.device)
        inputs = interaction.interaction
        target = inputs.pop(TARGET)
        _, scores = self.prepared(**inputs)
        weights = torch.from_numpy(micro_batch.weights).to(scores)
        with torch.no_grad():
            metrics = {name: (weights * each).sum() for name, each in objective.metrics(scores, target).items()}
        return (weights * objective.errors(scores, target)).sum(), metrics

    def _split(self, data: StepExamples, chosen: NDArray[np.int64]) -> list[MicroBatch]:
        lengths = data.token_counts[chosen] + self.model.closing_tokens
        return split_step(chosen, lengths, self.budget, self.accelerator.num_processes, self.accelerator.process_index)

    def _halve_budget(self) -> int:
        """After running out of memory: half the tokens a micro-batch; the step begins anew."""
        halved = self.tokens_per_batch // 2
        if self.accelerator.num_processes > 1 or not halved:
            raise MemoryError(
                f"out of memory with micro-batches of {self.tokens_per_batch} tokens; run the same command with "
                f"--sft_tokens_per_batch={max(1, halved)} to go on from the last step checkpoint, or choose a smaller "
                "LLM or a smaller prompt_max_items"
            )
        self.accelerator.gradient_state._set_sync_gradients(True)  # amid a step accelerate would keep the gradients
        self.optimizer.zero_grad()
        self.logger.warning(f"out of memory: going on with micro-batches of {halved} tokens")
        return halved

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, dict[str, float]]:
        result = self.evaluate(valid_data, load_best_model=False, show_progress=show_progress)
        return result[self.task.valid_metric], result

    @torch.no_grad()
    def evaluate(
        self,
        eval_data: StepExamples,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
    ) -> dict[str, float]:
        """The loss and the metrics of the task, each a mean over the examples.

        Args:
            eval_data: the examples.
            load_best_model: whether to load the best checkpoint first.
            model_file: another checkpoint folder to load.
            show_progress: whether to show a bar.
        """
        if load_best_model:
            load_trained_weights(self.model, Path(model_file or self.saved_model_file))
        self.prepared.eval()
        sums: dict[str, Tensor] = {}
        micro_batches = self._split(eval_data, eval_data.chosen)
        for micro_batch in tqdm(micro_batches, "Evaluate examples", disable=not show_progress):
            loss, metrics = self._errors(eval_data, micro_batch)
            for name, part in {"loss": loss, **metrics}.items():
                sums[name] = sums.get(name, 0.0) + part.double()
        found = self.accelerator.reduce(torch.stack(list(sums.values())), "sum").tolist()
        return dict(zip(sums, found, strict=True))

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        folder = Path(kwargs.get("saved_model_file", self.saved_model_file))
        sharded = self.accelerator.distributed_type in _SHARDED
        state = self.accelerator.get_state_dict(self.prepared) if sharded else None
        if distributed.is_main():
            partial = beside(folder, "partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_trained_weights(self.model, partial, state)
            replace_folder(partial, folder)
            if verbose:
                self.logger.info(f"Saving the adapters of epoch {epoch}: {folder}")
        distributed.wait_for_everyone()

    def resume_checkpoint(self, resume_file: str) -> None:
        """Go on from a step checkpoint when ``fit`` is called.

        Args:
            resume_file: its folder, see :func:`recbole_tslrec.store.step_checkpoints.latest_step_checkpoint`.
        """
        self._resume_from = Path(resume_file)


def _recbole_config(settings: FineTuningSettings, valid_metric: str, folder: Path) -> RecBoleConfig:
    """What RecBole's ``Trainer`` reads of a configuration, and no other key."""
    device = torch.device(settings.llm.device)
    return RecBoleConfig(
        {
            "model": "SFT",
            "learner": "adamw",
            "epochs": settings.sft_epochs,
            "learning_rate": settings.sft_learning_rate,
            "weight_decay": settings.sft_weight_decay,
            "stopping_step": settings.sft_stopping_step,
            "train_batch_size": settings.sft_batch_size,
            "train_neg_sample_args": {},
            "eval_step": 1,
            "valid_metric": valid_metric,
            "valid_metric_bigger": valid_metric != LOSS,
            "checkpoint_dir": str(folder),
            "device": settings.llm.device,
            "use_gpu": device.type != "cpu",
            "log_wandb": False,
            "single_spec": True,
            "local_rank": 0,
            "enable_amp": False,
            "enable_scaler": False,
            "metrics": ["Hit"],
            "topk": [10],
            "eval_args": {"mode": "full"},
        }
    )


def _accelerator(settings: FineTuningSettings) -> Accelerator:
    """accelerate for the configured device and precision; how many processes and how they share is the launcher's."""
    getLogger("accelerate").setLevel("WARNING")  # it says "Saving ..." once a file
    cpu = torch.device(settings.llm.device).type == "cpu"
    precision = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "no" if cpu else "fp16"}
    wanted = precision[settings.llm.dtype]
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != wanted:
        AcceleratorState._reset_state()  # an earlier trainer of this process had another precision
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=wanted,
        step_scheduler_with_optimizer=False,  # one step of the schedule a step, however many processes there are
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],  # they never change
    )
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise ConfigError(
            "accelerate was started with version 1 of FSDP, under which each process would clip its gradients by their "
            "norm in its own part; start it with --fsdp_version=2, or with fsdp_version: 2 in its configuration"
        )
    return accelerator
