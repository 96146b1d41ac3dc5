"""What the gate costs: training steps of TSLRecSASRec over those of SASRec, with random knowledge."""

from dataclasses import dataclass
from typing import Any

import torch

import interactions
from contenders import ALL_POSITIONS, PREFIX, Ring
from measure import Report
from recbole_tslrec.sft.timing import interleaved
from recbole_tslrec.store.artifacts import Recipe, Store, write_item_table

BASE, WHOLE, PCA = "Base", "TSLRec", "TSLRec, principal components"
PCA_DIMENSION = 64


@dataclass(frozen=True)
class Gate:
    """A Base step that is compared with those of TSLRec.

    Attributes:
        mode: prefix or all positions; see ``contenders.py``.
        amp: RecBole's ``enable_amp``, which is bfloat16 on a CPU.
    """

    mode: str = PREFIX
    amp: bool = True

    @property
    def title(self) -> str:
        """What is measured."""
        return f"a training step, Beauty, length 50, {self.mode}, {'enable_amp' if self.amp else 'float32'}"

    @property
    def ratios(self) -> dict[str, str]:
        """The names of the ratios to Base."""
        end = "_all_positions" if self.mode == ALL_POSITIONS else ""
        whole, pca = ("bf16", "pca") if self.amp else ("fp32", "pca_fp32")
        return {WHOLE: f"gate_step_{whole}{end}", PCA: f"gate_step_{pca}{end}"}


def write_knowledge(place: Ring, size: int) -> str:
    """A knowledge artifact with random rows [N, size] for the items of a dataset; its folder."""
    tokens = interactions.item_tokens(place.folder, place.dataset)
    rows = torch.randn(len(tokens), size, generator=torch.Generator().manual_seed(interactions.SEED))
    recipe = Recipe({"random": [len(tokens), size]})
    store = Store(place.folder / "artifacts")
    artifact = store.build("knowledge", recipe, lambda to: write_item_table(to, tokens, {"knowledge": rows}))
    return str(artifact.folder)


def measure_gate(place: Ring, gate: Gate, knowledge: str, steps: int, rounds: int, report: Report) -> None:
    """The steps of Base and of both forms of TSLRec, in turns.

    Args:
        place: with Beauty's files.
        gate: what is compared.
        knowledge: of :func:`write_knowledge`.
        steps: in a round.
        rounds: that count.
        report: where to.
    """
    pca = {"fusion_pca_dimension": PCA_DIMENSION}
    models: dict[str, tuple[str, dict[str, Any]]] = {
        BASE: ("SASRec", {}),
        WHOLE: ("TSLRecSASRec", {"knowledge_path": knowledge}),
        PCA: ("TSLRecSASRec", {"knowledge_path": knowledge, **pca}),
    }
    started = {
        name: place.start(gate.mode, model, enable_amp=gate.amp, **settings)
        for name, (model, settings) in models.items()
    }
    seconds = interleaved({name: one.steps(steps) for name, one in started.items()}, rounds, torch.device("cpu"))
    rows = [
        {
            "contender": name,
            "seconds a step": seconds[name] / steps,
            "over Base": seconds[name] / seconds[BASE],
            "seconds to prepare": one.facts["seconds"],
        }
        for name, one in started.items()
    ]
    report.add_table(gate.title, rows)
    report.add_ratios({ratio: seconds[name] / seconds[BASE] for name, ratio in gate.ratios.items()})
