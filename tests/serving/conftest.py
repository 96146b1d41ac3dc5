"""Trained models, each made once for all tests. No test changes them."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_tslrec.artifacts import Recipe, Store, write_tensors
from recbole_tslrec.model.backbones import BACKBONES
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.recommender import MODEL
from recbole_tslrec.serving.saved_model import save_description
from recbole_tslrec.stages import Run
from tests.conftest import small_config
from tests.contracts.ml_100k_head import write_head
from tests.contracts.test_every_backbone import Head


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """``trained(model, **settings)``: a finished run of the stages on toy data."""
    folder = tmp_path_factory.mktemp("trained")
    return functools.cache(lambda model, **settings: run_stages(small_config(folder, model, **settings)))


class Fresh:
    """A TSLRec model of a backbone with random weights, and the artifact that it is saved as."""

    def __init__(self, backbone: str, data: Path, given: Path, store: Path) -> None:
        self.head = Head(backbone, data, given)
        config = self.head.named("TSLRec")
        self.model: Any = self.head.model("TSLRec").eval()
        for weight in self.model.parameters():  # what starts at zero or one could be left out and nobody would see it
            weight.data.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(weight))))

        def write(folder: Path) -> None:
            write_tensors(folder / MODEL, self.model.state_dict())
            save_description(folder, config, self.head.train_data._dataset)

        recipe = Recipe({"model": backbone}, dataset={"items": len(self.head.data.item_tokens)})
        self.artifact = Store(store).build("recommender", recipe, write)

    @torch.no_grad()
    def scores(self, model: Any) -> torch.Tensor:
        """What a model says of the validation users, [users, items]."""
        scores: torch.Tensor = model.full_sort_predict(self.head.users).view(len(self.head.users), -1)
        return scores


@pytest.fixture(scope="session", params=BACKBONES)
def fresh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """A model of every backbone, on the head of ml-100k."""
    folder = functools.partial(Path, tmp_path_factory.getbasetemp(), "fresh")
    if not folder("data").exists():
        write_head(folder("data"))
    return Fresh(request.param, folder("data"), folder("given"), folder("store"))
