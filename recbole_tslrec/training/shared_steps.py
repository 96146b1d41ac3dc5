"""The steps of a recommender's training, shared by several processes: the same steps as one process would take.

Every process draws the same batch of ``train_batch_size`` rows, takes its share of the rows, and weighs its loss by the
share of the targets in it, so that the mean over the processes is the loss of the batch, and the mean of their
gradients its gradient. What is drawn beside that: order, negatives and masks are the same everywhere; the items of a
sampled loss are drawn by the main process; dropout differs between the processes.
"""

from typing import Any

import torch
from torch import Tensor, nn

from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.distributed import Share
from recbole_tslrec.compute.random_state import random_state, set_random_state
from recbole_tslrec.sequential.losses import SampledLoss
from recbole_tslrec.sequential.sparse_rows import AdamWithSparseRows

_CLOSE = 1e-5  # relative; float32 sums of the same terms in another order


class _Loss(nn.Module):
    """``calculate_loss`` as ``forward``, through which DistributedDataParallel works."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, interaction: Any) -> Any:
        return self.model.calculate_loss(interaction)


class SharedSteps:
    """The part of this process in every step.

    Args:
        model: whose loss is a mean over rows, see :func:`why_not_shared`.
        optimizer: of its parameters.
        device: of this process.
        seed: of the training.
        reads_all: whether every step reads every parameter, see :func:`reads_every_parameter`.

    Attributes:
        share: which part that is.
        asks: whether the main process asks all others for something between this step and the next.
        is_asked: whether it did so in the last step.
    """

    def __init__(self, model: Any, optimizer: Any, device: torch.device, seed: int, reads_all: bool) -> None:
        self.share, self.model = distributed.own_share(), model
        self.asks = self.is_asked = False
        if self.share.number:  # the main process goes on with the numbers that one process draws
            torch.manual_seed(seed + self.share.number)
        for module in model.modules():
            if isinstance(module, SampledLoss):
                module.drawn_by_main = True
        sparse = optimizer.sparse if isinstance(optimizer, AdamWithSparseRows) else []
        loss = _Loss(model)
        own = [name for name, weight in loss.named_parameters() if any(weight is each for each in sparse)]
        self._network = distributed.data_parallel(loss, device, own, reads_all)
        if sparse:  # neither gloo nor NCCL adds up sparse gradients everywhere
            optimizer.register_step_pre_hook(lambda *_: _average_rows(sparse, self.share.of))

    def loss(self, interaction: Any) -> Any:
        """The ``loss_func`` of RecBole's loop: its value is that of the whole batch, its gradient that of the share.

        Args:
            interaction: the whole batch, on the device of this process.
        """
        own, weight = share_of(self.model, interaction, self.share)
        losses = self._network(own)
        parts = losses if isinstance(losses, tuple) else (losses,)
        weighted = [part * (weight * self.share.of) for part in parts]  # gradients are averaged
        asks = weighted[0].new_tensor(float(self.asks))
        values = torch.stack([*(part.detach() / self.share.of for part in weighted), asks]).double()
        *whole, asked = distributed.summed(values).unbind()
        self.is_asked = bool(asked > 0)
        found = tuple(_with_value(part, value) for part, value in zip(weighted, whole, strict=True))
        return found if isinstance(losses, tuple) else found[0]


def share_of(model: Any, interaction: Any, share: Share) -> tuple[Any, Tensor]:
    """The rows of a process and their weight: the share of the batch's targets that is theirs.

    A process without a target takes a row of the batch at weight 0, since all have to take the step.
    """
    counts = model.target_counts(interaction)  # [B]
    own = torch.arange(share.number, len(interaction), share.of, device=counts.device)
    targets = counts[own].sum()
    if not targets:
        own = counts.argmax().unsqueeze(0)
    return interaction[own], targets / counts.sum()


def _with_value(part: Tensor, value: Tensor) -> Tensor:
    """A tensor with the gradients of ``part`` and another value."""
    return part + (value.to(part.dtype) - part).detach()


def _average_rows(sparse: list[nn.Parameter], processes: int) -> None:
    """Let sparse gradients be the means over the processes: the rows of all are joined."""
    for weight in sparse:
        assert weight.grad is not None  # a sampled loss looks rows up in every step
        own = weight.grad.coalesce()
        rows, values = distributed.joined_rows([own.indices()[0], own.values() / processes])
        weight.grad = torch.sparse_coo_tensor(rows.unsqueeze(0), values, weight.shape, check_invariants=False)


@torch.no_grad()
def why_not_shared(model: Any, batch: Any) -> str:
    """Why the steps of a model cannot be shared; empty where they can.

    That a loss is a mean over rows is not guessed from the model's name but tried, without dropout: the loss of a batch
    must be the weighted mean of the losses of two shares. Where rows meet in the loss, as in a contrastive one or in an
    L2 norm over the rows of a batch, it is another one.

    Args:
        model: on its device.
        batch: on the same device, two rows at least; random numbers are left as they were.
    """
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        return "it normalises over the rows of a batch"
    if not hasattr(model, "target_counts"):
        return "it is none of this package's classes"
    state, was_training = random_state(), model.training
    model.eval()

    def loss(rows: Any) -> float:
        set_random_state(state)
        found = model.calculate_loss(rows)
        return float(sum(found) if isinstance(found, tuple) else found)

    try:
        whole = loss(batch)
        shares = [share_of(model, batch, Share(number, 2)) for number in range(2)]
        parts = sum(float(weight) * loss(rows) for rows, weight in shares)
    finally:
        set_random_state(state)
        model.train(was_training)
    if abs(whole - parts) <= _CLOSE * abs(whole):
        return ""
    return f"the loss of a batch is {whole:.6g}, that of its halves {parts:.6g}: its rows meet in the loss"


def reads_every_parameter(model: Any, batch: Any) -> bool:
    """Whether the loss of a batch depends on every parameter that is trained.

    RecBole's NPE, GRU4RecCPR and SASRecCPR have parameters that nothing reads, and S3Rec some that one phase reads.

    Args:
        model: on its device; its gradients stay as they are.
        batch: on the same device; random numbers are left as they were.
    """
    state = random_state()
    try:
        found = model.calculate_loss(batch)
    finally:
        set_random_state(state)
    loss: Any = sum(found) if isinstance(found, tuple) else found
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    return all(gradient is not None for gradient in gradients)
