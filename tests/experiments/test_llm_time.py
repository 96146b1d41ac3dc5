"""What is timed of the LLM: real training, on a sample that stands for all prompts."""

import torch

from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.llm_costs import build_contender, prompt_lengths
from recbole_tslrec.experiments.llm_time import E4SREC, Place, Sample, Taken, training_parts
from recbole_tslrec.reconstruction.settings import ReconstructionSettings

SMALL = Sample(prompts=8, batch_size=4, published_batches=1, published_users=2, items=8, rounds=1, budgets=(200,))


def test_what_is_timed_is_scaled_to_all_prompts() -> None:
    assert Taken(sample=4, seconds=2.0, whole=10).scaled.seconds == 5.0


def test_training_lowers_the_error_that_is_timed(command: Command) -> None:
    """What is timed is training: E4SRec's steps on the same prompts lower their cross entropy."""
    config = command.config()
    settings = ReconstructionSettings.of(config)
    place = Place(lambda name, items: build_contender(settings, name, items), torch.device("cpu"))
    run = training_parts(prompt_lengths(config), SMALL, place)[E4SREC].run
    micro_batch = run.steps[0][0]
    before = float(run.loss(micro_batch).detach())
    for _ in range(5):
        run()
    assert float(run.loss(micro_batch).detach()) < before
