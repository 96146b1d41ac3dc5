"""Trained models, each made once for all tests. No test changes them."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_tslrec.augmentation.settings import KnowledgeFusionSettings
from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.pipeline.run import Run
from recbole_tslrec.pipeline.stage_0 import recommender_settings
from recbole_tslrec.serving.saved_model import save_description
from recbole_tslrec.settings import derive
from recbole_tslrec.store.artifacts import Recipe, Store, write_item_table
from recbole_tslrec.store.files import write_tensors
from recbole_tslrec.training.recommender import MODEL, build_model
from tests.conftest import small_config
from tests.contracts.ml_100k_head import NAME, SETTINGS, SMALL, write_head


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """``trained(model, **settings)``: a finished run of the stages on toy data."""
    folder = tmp_path_factory.mktemp("trained")
    return functools.cache(lambda model, **settings: run_stages(small_config(folder, model, **settings)))


class Fresh:
    """A TSLRec model of a backbone with random weights, and the artifact that it is saved as."""

    def __init__(self, backbone: str, folder: Path) -> None:
        settings = {**SMALL, **SETTINGS.get(backbone, {}), "data_path": str(folder)}
        data = Data(Config(backbone, NAME, [], settings))
        train_data, valid_data, _ = data.loaders
        vectors = {"knowledge": torch.randn(len(data.item_tokens), 6, generator=torch.Generator().manual_seed(0))}
        knowledge = Store(folder / "store").build(
            "knowledge", Recipe({}), lambda folder: write_item_table(folder, data.item_tokens, vectors)
        )
        config = derive(data.config, model=f"TSLRec{backbone}", knowledge_path=str(knowledge.folder))
        self.tables = BACKBONES[backbone].tables
        self.users = next(iter(valid_data))[0]
        self.model: Any = build_model(config, train_data).eval()
        for weight in self.model.parameters():  # what starts at zero or one could be left out and nobody would see it
            weight.data.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(weight))))

        def write(folder: Path) -> None:
            write_tensors(folder / MODEL, self.model.state_dict())
            settings = recommender_settings(config, f"TSLRec{backbone}", KnowledgeFusionSettings)
            save_description(folder, settings, train_data._dataset)

        recipe = Recipe({"model": backbone}, dataset={"items": len(data.item_tokens)})
        self.artifact = Store(folder / "store").build("recommender", recipe, write)

    @torch.no_grad()
    def scores(self, model: Any) -> torch.Tensor:
        """What a model says of the validation users, [users, items]."""
        scores: torch.Tensor = model.full_sort_predict(self.users).view(len(self.users), -1)
        return scores


@pytest.fixture(scope="session")
def head_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The head of ml-100k."""
    return write_head(tmp_path_factory.mktemp("head"))


@pytest.fixture(scope="session", params=BACKBONES)
def fresh(request: pytest.FixtureRequest, head_folder: Path) -> Fresh:
    """A model of every backbone."""
    return Fresh(request.param, head_folder)
