"""What an epoch of SFT will cost, said before it starts; beside it an instance-level method on the same LLM."""

from logging import getLogger
from typing import Any

from recbole_tslrec import distributed
from recbole_tslrec.llm.cost import (
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
from recbole_tslrec.llm.layout import PREFIX_ROW
from recbole_tslrec.llm.precision import llm_dtype
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.reconstruction.batching import TokenBudget, split_step
from recbole_tslrec.reconstruction.examples import UserExamples


def estimate_epoch(
    config: Any, llm_config: Any, prompt: Prompt, train_data: UserExamples, plan: MemoryPlan
) -> dict[str, Any]:
    """Prompts, tokens, operations, seconds and memory of an epoch; logged, and given back for the manifest.

    Seconds are operations at half the speed of a matrix product, which is measured here.

    Args:
        config: with the ``llm_``, ``lora_`` and ``sft_`` keys.
        llm_config: of transformers.
        prompt: the text parts.
        train_data: the users to train on.
        plan: how a micro-batch fits into memory.
    """
    prefix, response = len(prompt.instruction), len(prompt.response)
    examples = train_data.in_epoch(0)  # with target_view rest other epochs' prompts are about as long
    segments = examples.token_counts + response
    budget = TokenBudget(plan.tokens_per_batch, prefix, config["sft_layout"])
    rows = sum(len(split_step(users, segments, budget)) for users in examples.steps(0))
    own = segments[train_data.users]
    lengths = train_data.histories.lengths[train_data.users]
    work = prefix_row_work(prefix, own, rows) if budget.layout == PREFIX_ROW else separate_work(prefix, own)
    tokens_per_item = train_data.token_counts.sum() / train_data.item_counts.sum()
    instances = separate_work(prefix, instance_segments(lengths, train_data.max_items, response, tokens_per_item))
    speed = matmul_speed(config["device"], llm_dtype(config)) * distributed.process_count()
    if plan.checkpoint_activations:
        speed *= 3 / 4  # a second forward pass
    decoder, per_weight = Decoder.of(llm_config), flops_per_weight(config)

    def cost(work: Work) -> dict[str, float]:
        flops = decoder.flops(work, per_weight)
        seconds = round(estimated_seconds(flops, speed), 3)
        return {"prompts": work.examples, "tokens": work.tokens, "flops": flops, "seconds": seconds}

    found = {
        "epoch": cost(work),
        "instance_level_epoch": cost(instances),
        "memory_bytes": int(plan.fixed_bytes + plan.tokens_per_batch * plan.bytes_per_token),
        "tokens_per_batch": plan.tokens_per_batch,
        "checkpoint_activations": plan.checkpoint_activations,
        "matmul_flops_per_second": speed,
    }
    _log(found)
    return found


def _log(found: dict[str, Any]) -> None:
    for name, what in (("epoch", "an epoch"), ("instance_level_epoch", "one of an instance-level method would be")):
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
