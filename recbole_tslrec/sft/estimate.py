"""What an epoch of SFT will cost, said before it starts; beside it an instance-level method on the same LLM."""

from logging import getLogger
from typing import Any

from recbole_tslrec.compute import distributed
from recbole_tslrec.llm.settings import PREFIX_ROW
from recbole_tslrec.sft.batching import TokenBudget, split_step
from recbole_tslrec.sft.cost import (
    Decoder,
    MemoryPlan,
    Work,
    estimated_seconds,
    flops_per_weight,
    instance_segments,
    matmul_speed,
    prefix_row_work,
    separate_work,
)
from recbole_tslrec.sft.settings import FineTuningSettings
from recbole_tslrec.sft.task import Task


def estimate_epoch(settings: FineTuningSettings, task: Task, plan: MemoryPlan) -> dict[str, Any]:
    """Prompts, tokens, operations, seconds and memory of an epoch; logged, and given back for the manifest.

    Seconds are operations at half the speed of a matrix product, which is measured here.

    Args:
        settings: the settings of the fine-tuning.
        task: what is trained on.
        plan: how a micro-batch fits into memory.
    """
    prefix, response = task.shared_tokens, task.closing_tokens
    examples = task.train.in_epoch(0)  # those of other epochs are about as long
    segments = examples.token_counts + response
    budget = TokenBudget(plan.tokens_per_batch, prefix, settings.sft_layout)
    rows = sum(len(split_step(chosen, segments[chosen], budget)) for chosen in examples.steps(0))
    own = segments[examples.chosen]
    work = prefix_row_work(prefix, own, rows) if budget.layout == PREFIX_ROW else separate_work(prefix, own)
    speed = matmul_speed(settings.llm.device, settings.llm.dtype) * distributed.process_count()
    if plan.checkpoint_activations:
        speed *= 3 / 4  # a second forward pass
    decoder, per_weight = Decoder.of(task.llm_config), flops_per_weight(settings.llm, task.trains_llm)

    def cost(work: Work) -> dict[str, float]:
        flops = decoder.flops(work, per_weight)
        seconds = round(estimated_seconds(flops, speed), 3)
        return {"prompts": work.examples, "tokens": work.tokens, "flops": flops, "seconds": seconds}

    found: dict[str, Any] = {
        "epoch": cost(work),
        "memory_bytes": int(plan.fixed_bytes + plan.tokens_per_batch * plan.bytes_per_token),
        "tokens_per_batch": plan.tokens_per_batch,
        "checkpoint_activations": plan.checkpoint_activations,
        "matmul_flops_per_second": speed,
    }
    if task.history_lengths is not None:
        tokens_per_item = examples.token_counts.sum() / examples.item_counts.sum()
        instances = instance_segments(task.history_lengths, task.max_items, response, tokens_per_item)
        found["instance_level_epoch"] = cost(separate_work(prefix, instances))
    _log(found)
    return found


def _log(found: dict[str, Any]) -> None:
    for name, what in (("epoch", "an epoch"), ("instance_level_epoch", "one of an instance-level method would be")):
        if name not in found:
            continue
        cost = found[name]
        getLogger().info(
            f"SFT estimate: {what} {cost['prompts']:,} prompts, {cost['tokens']:,} tokens, "
            f"{cost['flops'] / 1e12:,.2f} TFLOP, about {cost['seconds']:,.1f} s"
        )
    checkpointed = ", activations computed twice" if found["checkpoint_activations"] else ""
    getLogger().info(
        f"SFT estimate: {found['memory_bytes'] / 2**30:.2f} GiB with micro-batches of {found['tokens_per_batch']:,} "
        f"tokens{checkpointed}"
    )
