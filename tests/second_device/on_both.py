"""What is computed on the CPU and on the second device, in a process of its own; writes a JSON file.

``python -m tests.second_device.on_both FOLDER`` writes ``FOLDER/found.json``: for each model the largest differences of
its loss, gradients and scores, and the NDCG@10 of whole runs.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from torch import nn

from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.serving.recommend import recommend
from recbole_tslrec.settings import derive
from tests.conftest import small_config
from tests.contracts.ml_100k_head import write_head
from tests.contracts.test_every_backbone import Head, seed_everything
from tests.second_device import SECOND, load

RUNS: dict[str, dict[str, Any]] = {
    "TSLRecSASRec": {},
    "TSLRecFMLPRec": {"sft_layout": "padded", "average_weights": True, "fusion_type": "sum", "id_init": "knowledge"},
    "CIGRU4Rec": {},
    "E4SRec": {},
    "LlamaRec": {},
    "P5": {},
    "POD": {},
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}


def differences(head: Head, family: str) -> dict[str, float]:
    """The largest differences between both devices; that of the gradients is a share of the largest gradient."""
    (cpu, there) = (computed(head, family, device) for device in ("cpu", SECOND))
    largest = max(gradient.abs().max() for gradient in cpu["gradients"].values())
    assert cpu["gradients"].keys() == there["gradients"].keys()
    between = [(there["gradients"][name] - gradient).abs().max() for name, gradient in cpu["gradients"].items()]
    of_scores = (there["scores"] - cpu["scores"])[:, 1:].abs().max()
    return {
        "loss": abs(there["loss"] - cpu["loss"]),
        "gradients": float(max(between) / largest),
        "scores": float(of_scores),
    }


def computed(head: Head, family: str, device: str) -> dict[str, Any]:
    """The loss of a batch and the gradients that it leaves, without dropout, and the scores of all items."""
    model = head.model(family, device=torch.device(device))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    seed_everything()
    loss = model.calculate_loss(head.batch.to(device))
    loss = sum(loss) if isinstance(loss, tuple) else loss
    loss.backward()
    with torch.no_grad():
        scores = model.eval().full_sort_predict(head.users.to(device)).view(len(head.users), -1)
    gradients = {name: weight.grad.cpu() for name, weight in model.named_parameters() if weight.grad is not None}
    return {"loss": loss.item(), "gradients": gradients, "scores": scores.cpu()}


def whole_run(model: str, folder: Path, device: str) -> float:
    """Every stage on one device; gives NDCG@10 on the test items. Where new users can be served, one is."""
    settings = {**RUNS[model], "llm_dtype": "float32", **NO_DROPOUT}
    config = derive(small_config(folder / device / model, model, **settings), device=torch.device(device))
    run = run_stages(config)
    if model not in ("P5", "POD"):  # those know their users only
        kind = next(kind for kind in ("recommender", "ranker", "llm_task") if kind in run.artifacts)
        assert recommend(run.artifacts[kind].folder, {"new": ["i1", "i2"]}, k=3, device=device)["new"]
    *_, evaluation = run.evaluations.values()
    return float(evaluation.json("metrics.json")["test"]["unmasked"]["ndcg@10"])


def main(folder: Path) -> None:
    """Compute everything on both devices."""
    load(folder)
    data_path = write_head(folder / "data")
    of_models = {}
    for backbone in BACKBONES:
        head = Head(backbone, data_path, folder / backbone)
        for family in ("Base", "TSLRec", "CI"):
            of_models[f"{family} {backbone}"] = differences(head, family)
    on_cpu = [whole_run(model, folder, "cpu") for model in RUNS]
    AcceleratorState._reset_state(reset_partial_state=True)
    del os.environ["ACCELERATE_USE_CPU"]  # tests.conftest has set it
    os.environ["ACCELERATE_TORCH_DEVICE"] = SECOND
    there = [whole_run(model, folder, SECOND) for model in RUNS]
    of_runs = {model: figures for model, *figures in zip(RUNS, on_cpu, there, strict=True)}
    (folder / "found.json").write_text(json.dumps({"models": of_models, "runs": of_runs}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
