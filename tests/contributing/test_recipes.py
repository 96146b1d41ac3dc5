"""CONTRIBUTING's recipes, each followed from outside: the part is added here, and one tiny job runs with it."""

import shutil
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import nn

from recbole_tslrec.augmentation.fusion import FUSIONS
from recbole_tslrec.configuration import config as configuration
from recbole_tslrec.configuration import properties
from recbole_tslrec.configuration.config import Config
from recbole_tslrec.configuration.registration import register_models
from recbole_tslrec.data.importing import import_dataset
from recbole_tslrec.data.sources import FORMATS, Format, Rows
from recbole_tslrec.llm.loading import load_tokenizer
from recbole_tslrec.llm.prompt import build_prompt
from recbole_tslrec.llm.settings import PromptSettings
from recbole_tslrec.models.backbones import BACKBONES, Backbone
from recbole_tslrec.models.scoring import PRODUCT
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.pipeline.knowledge_sources import KNOWLEDGE_SOURCES, KnowledgeSource, SourceSettings
from recbole_tslrec.settings import setting
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.fine_tuning import fine_tune
from recbole_tslrec.sft.prompt_task import prompt_task
from recbole_tslrec.sft.settings import FineTuningSettings
from recbole_tslrec.store.artifacts import write_item_table

# A backbone


class ToyMean(SequentialRecommender):
    """The next item is near the mean of the history."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.item_embedding = nn.Embedding(self.n_items, 8, padding_idx=0)
        self.loss_type = config["loss_type"]

    def forward(self, item_seq, item_seq_len):
        return self.item_embedding(item_seq).sum(dim=1) / item_seq_len.unsqueeze(1)  # [B, d]

    def full_sort_predict(self, interaction):
        query = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return query @ self.item_embedding.weight.T  # [B, N + 1]

    def calculate_loss(self, interaction):
        return nn.functional.cross_entropy(self.full_sort_predict(interaction), interaction[self.ITEM_ID])


def test_backbone(make_config, monkeypatch):
    monkeypatch.setitem(BACKBONES, "ToyMean", Backbone(ToyMean, scoring=PRODUCT, plain_loss=True))
    register_models()
    run = run_stages(make_config("CIToyMean", loss_type="gBCE", loss_negatives=4))
    assert list(run.evaluations) == ["Base", "CI"]
    names = run.artifacts["recommender"].manifest["settings"]
    assert (names["model"], names["loss_type"]) == ("CIToyMean", "gBCE")


# A fusion


class Halves(nn.Module):
    """x = (e + p) / 2."""

    def __init__(self, dimension):
        super().__init__()

    def forward(self, id_embedding, knowledge):
        return (id_embedding + knowledge) / 2

    def knowledge_scale(self, std):
        return float(3**0.5 * std)


def test_fusion(make_config, make_knowledge, monkeypatch):
    monkeypatch.setitem(FUSIONS, "halves", Halves)
    knowledge = make_knowledge([f"i{item}" for item in range(30)], torch.randn(30, 6))
    run = run_stages(make_config("TSLRecSASRec", fusion_type="halves", knowledge_path=str(knowledge.folder)))
    assert run.artifacts["recommender"].manifest["settings"]["fusion_type"] == "halves"
    assert list(run.evaluations) == ["TSLRec"]


# A control row, and with it a configuration key


@dataclass(frozen=True)
class ScaleSettings(SourceSettings):
    """What the control row reads."""

    toy_scale: float = setting()
    """(float) Of the vectors."""


def write_popularity(settings, inputs, folder):
    """A vector of one number for each item: how often it was bought, scaled."""
    data = inputs.data
    counts = np.bincount(data.histories.items, minlength=len(data.item_tokens) + 1)[1:]
    rows = settings.toy_scale * torch.from_numpy(counts).float().unsqueeze(1)
    write_item_table(folder, data.item_tokens, {"knowledge": rows})


@pytest.fixture
def toy_key(tmp_path, monkeypatch):
    """``overall.yaml`` with one key more."""
    folder = tmp_path / "properties"
    shutil.copytree(properties.properties_folder(), folder)
    with (folder / "overall.yaml").open("a") as file:
        file.write("toy_scale: 1.0    # (float) Of the vectors of a control row.\n")
    for module in (properties, configuration):
        monkeypatch.setattr(module, "properties_folder", lambda: folder)
    configuration.known_keys.cache_clear()
    yield
    configuration.known_keys.cache_clear()


@pytest.mark.usefixtures("toy_key")
def test_control_row_and_configuration_key(make_config, monkeypatch):
    source = KnowledgeSource("how often an item was bought", (), ScaleSettings, write_popularity)
    monkeypatch.setitem(KNOWLEDGE_SOURCES, "toy_popularity", source)
    settings = {"knowledge_source": "toy_popularity", "fusion_type": "sum"}
    run = run_stages(make_config("TSLRecGRU4Rec", **settings))
    assert list(run.evaluations) == ["Base", "toy_popularity"]
    assert run.artifacts["knowledge"].manifest["settings"]["toy_scale"] == 1.0
    other = run_stages(make_config("TSLRecGRU4Rec", toy_scale=2.0, **settings))
    assert [each.kind for each in other.finished if not each.reused] == ["knowledge", "recommender", "evaluation"]


# A task: an LLM baseline


class LastItemParity:
    """Whether the last item of the prompt has an even number: nothing that a recommender needs."""

    def head(self, hidden_size):
        return nn.Linear(hidden_size, 2)

    def errors(self, scores, target):
        return nn.functional.cross_entropy(scores, target, reduction="none")

    def metrics(self, scores, target):
        return {"right": (scores.argmax(dim=1) == target).float()}


def test_task(make_config, tmp_path):
    config = make_config("TSLRecSASRec", sft_epochs=3, sft_learning_rate=1e-2)
    settings = FineTuningSettings.of(config)
    items = np.random.default_rng(0).integers(1, 31, 120)
    ends = np.arange(3, 121, 3)
    targets = torch.from_numpy(items[ends - 1] % 2)

    def examples(chosen):
        return Examples(items, ends - 3, ends, targets, np.asarray(chosen), settings.sft_batch_size, 0)

    task = prompt_task(
        settings,
        "parity",
        LastItemParity(),
        build_prompt(load_tokenizer(settings.llm), "Is it even?", "Answer:", 0),
        torch.randn(31, 4, generator=torch.Generator().manual_seed(0)),
        examples(range(30)),
        examples(range(30, 40)),
        PromptSettings.of(config).max_items,
        settings.recipe(),
    )
    report = fine_tune(settings, task, tmp_path)
    assert report["epochs"] == 3
    assert set(report["valid"]) == {"loss", "right"}
    assert (tmp_path / "checkpoint" / "own_layers.safetensors").is_file()


# A dataset source


def read_arrows(path, columns):
    """Lines such as ``u1 -> i1``, in the order of time."""
    pairs = [line.split(" -> ") for line in path.read_text().splitlines()]
    frame = pd.DataFrame(pairs, range(1, len(pairs) + 1), ["user", "item"])
    return Rows(frame.assign(time=frame.index))


def test_dataset_source(tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "arrows", Format(read_arrows, lambda lines: " -> " in lines[0]))
    source = tmp_path / "bought.txt"
    source.write_text("".join(f"u{user} -> i{(user + step) % 7}\n" for user in range(9) for step in range(5)))
    counts = import_dataset("toy", source, tmp_path / "data", form="arrows").counts
    assert (counts.users, counts.items, counts.interactions) == (9, 7, 45)
    settings = {"data_path": str(tmp_path / "data"), "artifacts_dir": str(tmp_path / "artifacts"), "epochs": 1}
    run = run_stages(Config("GRU4Rec", "toy", [], {**settings, "hidden_size": 8, "embedding_size": 8}))
    assert list(run.evaluations) == ["Base"]
