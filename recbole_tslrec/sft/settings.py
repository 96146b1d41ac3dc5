"""What decides supervised fine-tuning, whatever the task."""

from dataclasses import dataclass

from recbole_tslrec.llm.settings import LAYOUTS, LLMSettings, LoraSettings
from recbole_tslrec.settings import Settings, setting
from recbole_tslrec.settings.base import optional_positive_integer, positive_integer

SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class FineTuningSettings(Settings):
    """The LLM, its adapters and how they are trained."""

    llm: LLMSettings = setting()
    """Which LLM."""
    lora: LoraSettings = setting()
    """What is trained of it."""
    sft_epochs: int = setting(check=positive_integer)
    """(int) Passes over the examples, at most."""
    sft_learning_rate: float = setting()
    """(float) Learning rate of AdamW."""
    sft_batch_size: int = setting(check=positive_integer)
    """(int) Examples per step, whatever the micro-batches and the number of processes."""
    sft_weight_decay: float = setting()
    """(float) Weight decay of AdamW."""
    sft_warmup_ratio: float = setting()
    """(float) Share of the steps in which the learning rate rises."""
    sft_schedule: str = setting(choices=SCHEDULES)
    """(str) What follows: the learning rate falls as a cosine or linearly, or is constant."""
    sft_clip_grad_norm: float | None = setting()
    """(float) Largest norm of the gradient; ``None`` clips none."""
    sft_stopping_step: int = setting()
    """(int) Epochs without a better validation loss before training stops."""
    reproducibility: bool = setting(neutral="whether cuDNN must use deterministic algorithms: equal up to rounding")
    """(bool) RecBole's."""
    sft_layout: str = setting(choices=LAYOUTS, neutral="layouts of the same prompts: equal up to rounding")
    """(str) prefix_row: the instruction once, nothing padded; padded: one prompt a row."""
    sft_tokens_per_batch: int | None = setting(
        check=optional_positive_integer, neutral="only cuts the sum of a step's gradient into portions"
    )
    """(int) Tokens per micro-batch; ``None`` takes what fits the memory."""
    sft_save_steps: int | None = setting(
        check=optional_positive_integer, neutral="an interrupted run continues exactly"
    )
    """(int) Steps between two step checkpoints; ``None`` saves every four minutes."""
