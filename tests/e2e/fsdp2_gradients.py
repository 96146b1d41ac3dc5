"""Run by torchrun in two processes: the gradients of a sharded network on a prefix row equal those in one piece."""

import sys

import torch
import torch.distributed as dist
import transformers
from peft import LoraConfig, get_peft_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.layout import choose_layout
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.reconstruction.loss import PreferenceHead, PreferenceObjective
from recbole_tslrec.sft.network import PromptNetwork

COUNTS = torch.tensor([1, 5, 2, 3, 4, 5, 1, 2])
ITEMS = torch.arange(40).view(8, 5) % 19 + 1
TARGETS = torch.eye(5)[COUNTS - 1]


def build() -> PromptNetwork:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    llm = get_peft_model(
        transformers.LlamaModel(config).requires_grad_(False), LoraConfig(r=4, target_modules="all-linear")
    )
    for name, weight in llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    encoder = PromptEncoder(llm, Prompt(torch.arange(7), torch.arange(2)), 6, 2.0)
    assert choose_layout(encoder, "prefix_row") == "prefix_row"
    head = PreferenceHead(encoder.hidden_size, 5)
    return PromptNetwork(encoder, head, torch.randn(20, 6)).train()


def main() -> None:
    whole = build()
    PreferenceObjective(5).errors(whole(ITEMS, COUNTS)[1], TARGETS).mean().backward()

    sharded, mesh = build(), init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in sharded.encoder.llm.get_base_model().layers:  # type: ignore[operator]
        fully_shard(layer, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    own = slice(dist.get_rank(), None, dist.get_world_size())
    _, logits = sharded(ITEMS[own], COUNTS[own])
    error = PreferenceObjective(5).errors(logits, TARGETS[own]).sum() / len(COUNTS)
    (error * dist.get_world_size()).backward()  # gradients are averaged over the processes

    trained = 0
    for (name, found), expected in zip(sharded.named_parameters(), whole.parameters(), strict=True):
        if expected.grad is not None:
            torch.testing.assert_close(found.grad.full_tensor(), expected.grad, rtol=0, atol=1e-6, msg=name)
            trained += 1
    if dist.get_rank() == 0:
        sys.stdout.write(f"{trained} gradients agree\n")


if __name__ == "__main__":
    dist.init_process_group("gloo")
    main()
    dist.destroy_process_group()
