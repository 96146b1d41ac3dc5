"""What decides the figures of an evaluation, beside the model."""

from dataclasses import dataclass
from typing import Any

from recbole_tslrec.evaluation.history_modes import ALL, MODES, UNMASKED, ranks_all_items, shown_modes
from recbole_tslrec.evaluation.metrics import needs_ranks_only
from recbole_tslrec.settings import ConfigError, Settings, setting


@dataclass(frozen=True)
class EvaluationSettings(Settings):
    """Which items are ranked, and what is computed of the ranks."""

    seed: int = setting()
    """(int) Of negatives, where a sample of the items is ranked."""
    metrics: Any = setting()
    """(list) RecBole's names; Hit is the paper's HR."""
    topk: Any = setting()
    """(list) Cut-offs."""
    metric_decimal_place: Any = setting()
    """(int) Decimals."""
    tail_ratio: Any = setting()
    """(float) Share of items that TailPercentage counts as the tail."""
    eval_args: Any = setting()
    """(dict) How interactions are split, and which items are ranked."""
    repeatable: Any = setting()
    """(bool) Whether items of the history may be ranked; RecBole sets it for sequential models."""
    valid_metric: Any = setting(neutral="chooses an epoch in training, where it is in the recipe")
    """(str) The metric that is tested between rows."""
    eval_batch_size: Any = setting(neutral="each row is ranked independently")
    """(int) Rows that are ranked at once."""
    valid_history: str = setting(choices=MODES, neutral="chooses an epoch in training, where it is in the recipe")
    """(str) The history mode of the validation that chooses the epoch."""
    eval_history: str = setting(choices=(*MODES, ALL), neutral="every evaluation has all history modes")
    """(str) The history mode that is shown."""

    def check(self) -> None:
        """Refuse a history mode that the evaluation or the validation cannot have."""
        for key in ("eval_history", "valid_history"):
            self._check_mode(key, getattr(self, key))

    def _check_mode(self, key: str, asked: str) -> None:
        if asked != UNMASKED and not ranks_all_items(self.eval_args):
            raise ConfigError(
                f"{key} [{asked}] needs the rank among all items, and eval_args has mode "
                f"[{self.eval_args['mode']}]; set its mode to full, or {key} to unmasked"
            )
        if UNMASKED not in shown_modes(asked) and not needs_ranks_only(self.valid_metric.partition("@")[0]):
            raise ConfigError(
                f"{key} [{asked}] has no figure of valid_metric [{self.valid_metric}], which needs more than ranks; "
                f"set {key} to unmasked"
            )
