"""The fused table: its rows one by one, what lies beyond the items, and regularisation of the ID part."""

import copy

import pytest
import torch
from recbole.model.loss import EmbLoss, RegLoss
from torch import nn
from torch.nn.utils import parametrize

from recbole_tslrec.augmentation.fusion import FUSIONS
from recbole_tslrec.augmentation.item_table import (
    CategoryEmbedding,
    FusedItemTable,
    IdRegularisation,
    fuse_item_embedding,
)
from recbole_tslrec.augmentation.knowledge import Knowledge
from recbole_tslrec.augmentation.projection import KnowledgeProjection

ITEM_ROWS, DIMENSION = 7, 4  # six items and the pad
fusions = pytest.mark.parametrize("fusion", FUSIONS)


def knowledge_source():
    return KnowledgeProjection(Knowledge(torch.randn(ITEM_ROWS, 3), torch.arange(ITEM_ROWS) > 0), DIMENSION)


def incomplete_source():
    present = torch.tensor([False, True, True, False, True, True, False])
    return KnowledgeProjection(Knowledge(torch.randn(ITEM_ROWS, 3) * present.unsqueeze(1), present), DIMENSION)


def category_source():
    return CategoryEmbedding(torch.tensor([0, 1, 0, 2, 2, 1, 0]), 3, DIMENSION)


sources = pytest.mark.parametrize("make_source", [knowledge_source, incomplete_source, category_source])


def fused_embedding(make_source=knowledge_source, fusion="gate", extra=0, rows_only=False):
    """An embedding of the items and ``extra`` rows beyond them; every fused part differs from zero."""
    torch.manual_seed(0)
    embedding = nn.Embedding(ITEM_ROWS + extra, DIMENSION, padding_idx=0)
    fuse_item_embedding(embedding, make_source(), fusion)
    with torch.no_grad():
        for parameter in embedding.parameters():
            parameter.normal_()
    embedding.parametrizations.weight[0].rows_only = rows_only
    return embedding


@pytest.fixture
def fused_tables(monkeypatch):
    """A list that grows by every fused table that is computed; putting one into an embedding computes it once."""
    tables = []
    fuse = FusedItemTable.fuse
    monkeypatch.setattr(FusedItemTable, "fuse", lambda table, ids: tables.append(fuse(table, ids)) or tables[-1])
    return tables


def test_fused_embedding_is_an_embedding():
    assert isinstance(fused_embedding(), nn.Embedding)


# Beyond the items


@sources
@fusions
def test_rows_beyond_the_items_are_those_of_the_ids(make_source, fusion):
    embedding = fused_embedding(make_source, fusion, extra=2)
    assert embedding.weight.shape == (ITEM_ROWS + 2, DIMENSION)
    own = embedding.parametrizations.weight.original
    assert torch.equal(embedding.weight[ITEM_ROWS:], own[ITEM_ROWS:])
    assert not (embedding.weight[1:ITEM_ROWS] == own[1:ITEM_ROWS]).any()


@sources
@fusions
def test_rows_of_items_do_not_depend_on_what_lies_beyond(make_source, fusion):
    short, long = fused_embedding(make_source, fusion), fused_embedding(make_source, fusion, extra=1)
    with torch.no_grad():
        long.parametrizations.weight.original[:ITEM_ROWS].copy_(short.parametrizations.weight.original)
    long.parametrizations.weight[0].load_state_dict(short.parametrizations.weight[0].state_dict())
    assert torch.equal(long.weight[:ITEM_ROWS], short.weight)


@sources
@pytest.mark.parametrize("extra", [0, 1])
def test_pad_row_is_zero(make_source, extra):
    assert not fused_embedding(make_source, extra=extra).weight[0].any()


# Rows instead of the table

IDS = torch.tensor([[3, 1, 0], [6, 3, 0]])


@sources
@fusions
@pytest.mark.parametrize("extra", [0, 1])
def test_looked_up_rows_are_those_of_the_table(make_source, fusion, extra, fused_tables):
    embedding = fused_embedding(make_source, fusion, extra, rows_only=True)
    ids = IDS + (IDS == 6) * extra  # the last row is the last item, or the mask beyond it
    fused_tables.clear()
    rows = embedding(ids)
    assert not fused_tables
    torch.testing.assert_close(rows, embedding.weight[ids], rtol=0, atol=1e-6)
    assert not rows[ids == 0].any()


@sources
@fusions
def test_looked_up_rows_have_the_gradients_of_the_table(make_source, fusion):
    gradients = []
    for rows_only in (False, True):
        embedding = fused_embedding(make_source, fusion, rows_only=rows_only)
        embedding(IDS).square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in embedding.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_each_row_is_fused_once():
    embedding = fused_embedding(rows_only=True)
    table = embedding.parametrizations.weight[0]
    fused = []
    table.fusion.register_forward_hook(lambda _module, inputs, _output: fused.append(len(inputs[0])))
    embedding(IDS)
    assert fused == [4]  # 0, 1, 3, 6


def test_one_table_without_gradients_whatever_is_looked_up(fused_tables):
    """An evaluation scores all items anyway."""
    embedding = fused_embedding(rows_only=True).eval()
    fused_tables.clear()
    with torch.no_grad():
        assert torch.equal(embedding(IDS), embedding.weight[IDS])
    assert len(fused_tables) == 1


def test_one_table_for_all_lookups_of_a_step_where_rows_are_not_asked_for(fused_tables):
    embedding = fused_embedding()
    fused_tables.clear()
    with parametrize.cached():
        embedding(IDS).sum() + embedding(IDS).sum() + embedding.weight.sum()
    assert len(fused_tables) == 1


def test_sparse_gradients_of_looked_up_rows():
    embedding = fused_embedding(rows_only=True)
    embedding.sparse = True
    embedding(IDS).sum().backward()
    gradient = embedding.parametrizations.weight.original.grad
    assert gradient.is_sparse
    assert gradient.coalesce().indices().tolist() == [[0, 1, 3, 6]]


@pytest.mark.parametrize("rows_only", [False, True])
def test_deep_copy_looks_up_its_own_rows(rows_only):
    embedding = fused_embedding(rows_only=rows_only)
    copied = copy.deepcopy(embedding)
    assert torch.equal(copied(IDS), embedding(IDS))
    with torch.no_grad():
        copied.parametrizations.weight.original.mul_(2)
    assert not torch.equal(copied(IDS), embedding(IDS))


def test_state_has_the_same_names_whatever_is_looked_up():
    assert list(fused_embedding(rows_only=True).state_dict()) == list(fused_embedding().state_dict())


def test_subclass_keeps_its_own_lookup():
    class Doubled(nn.Embedding):
        def forward(self, ids):
            return 2 * super().forward(ids)

    embedding = Doubled(ITEM_ROWS, DIMENSION)
    fuse_item_embedding(embedding, knowledge_source(), "gate")
    assert torch.equal(embedding(IDS), 2 * embedding.weight[IDS])


# Regularisation


def test_list_of_weights_is_regularised_in_the_id_part():
    """As Caser and NextItNet call it."""
    embedding, other = fused_embedding(), torch.ones(3)
    with parametrize.cached():
        loss = IdRegularisation(RegLoss(), embedding)([embedding.weight, other])
    torch.testing.assert_close(loss, embedding.parametrizations.weight.original.norm(2) + 3**0.5)


def test_weights_as_arguments_are_regularised_in_the_id_part():
    """As GCSAN calls it: the norm over the number of rows."""
    embedding = fused_embedding()
    with parametrize.cached():
        loss = IdRegularisation(EmbLoss(), embedding)(embedding.weight)
    torch.testing.assert_close(loss, embedding.parametrizations.weight.original.norm(2).unsqueeze(0) / ITEM_ROWS)


def test_options_reach_the_loss():
    embedding = fused_embedding()
    with parametrize.cached():
        loss = IdRegularisation(EmbLoss(), embedding)(embedding.weight, require_pow=True)
    expected = embedding.parametrizations.weight.original.square().sum().unsqueeze(0) / ITEM_ROWS / 2
    torch.testing.assert_close(loss, expected)


def test_two_tables_are_each_regularised_in_their_id_part():
    first, second = fused_embedding(), fused_embedding(fusion="sum")
    regularisation = IdRegularisation(IdRegularisation(RegLoss(), first), second)
    with parametrize.cached():
        loss = regularisation([first.weight, second.weight])
    own = [embedding.parametrizations.weight.original.norm(2) for embedding in (first, second)]
    torch.testing.assert_close(loss, sum(own))
