"""What every fused model promises, written once over the backbones, the families and the fusions."""

import copy

import pytest
import torch
from recbole.utils import get_model

import recbole_tslrec.models as models
from recbole_tslrec.augmentation.fusion import FUSIONS
from recbole_tslrec.augmentation.item_table import FusedItemTable
from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.settings import derive
from recbole_tslrec.store.artifacts import ArtifactError, open_artifact
from recbole_tslrec.store.files import write_tensors
from recbole_tslrec.training.recommender import RecommenderTrainer, build_model
from recbole_tslrec.training.weights import load_weights

ID_PART = "item_embedding.parametrizations.weight.original"
SOURCE = "item_embedding.parametrizations.weight.0.source."
FUSION = "item_embedding.parametrizations.weight.0.fusion."

backbones = pytest.mark.parametrize("backbone", ["GRU4Rec", "Caser", "SASRec", "FMLPRec"])
families = pytest.mark.parametrize("family", ["TSLRec", "CI"])
tslrec = pytest.mark.parametrize("family", ["TSLRec"])
fusions = pytest.mark.parametrize("fusion", FUSIONS)


class Toy:
    """A small dataset, what an LLM or a grouping says about its items, and models of one name. No test changes it."""

    def __init__(self, name, make_config, make_knowledge, make_groups):
        self.make_knowledge, self.make_groups = make_knowledge, make_groups
        self.config = make_config(name, eval_batch_size=10, train_mode="prefix")  # 40 users: 4 batches
        self.data = Data(self.config)
        self.train_data, self.valid_data, _ = self.data.loaders
        self.batch = next(iter(self.train_data)).to(self.config["device"])
        self.tokens = self.data.item_tokens
        self.rows = torch.randn(len(self.tokens), 64, generator=torch.Generator().manual_seed(0)) + 3
        self.groups = torch.arange(len(self.tokens)) % 10
        is_ci = name.startswith("CI")
        needed = self.groups_path(self.tokens, self.groups) if is_ci else self.knowledge_path(self.tokens, self.rows)
        self.config = derive(self.config, **needed)

    def knowledge_path(self, tokens, rows):
        """The setting for a knowledge artifact."""
        return {"knowledge_path": str(self.make_knowledge(tokens, rows).folder)}

    def groups_path(self, tokens, groups):
        """The setting for a groups artifact."""
        return {"groups_path": str(self.make_groups(tokens, groups, 10).folder)}

    def model(self, fusion="gate", **settings):
        """A new model. Those of one seed are equal."""
        config = derive(self.config, **{"fusion_type": fusion, "ci_fusion_type": fusion, **settings})
        return build_model(config, self.train_data)

    def base(self, **settings):
        """The backbone alone, with the seed of ``model``."""
        return build_model(
            derive(self.config, model=parse_model_name(self.config["model"]).backbone, **settings), self.train_data
        )

    @torch.no_grad()
    def scores(self, model):
        """The scores of all items for the batch, [B, N + 1]."""
        return model.eval().full_sort_predict(self.batch)

    def evaluate(self, model):
        """RecBole's evaluation of a model on the validation data."""
        trainer = RecommenderTrainer(self.config, model)
        trainer.evaluate(self.valid_data, load_best_model=False)
        trainer.tensorboard.close()

    def training_step(self, model):
        """One step of gradient descent."""
        optimizer = torch.optim.SGD(model.train().parameters(), lr=1.0)
        model.calculate_loss(self.batch).backward()
        optimizer.step()


@pytest.fixture(scope="module")
def toys():
    """The toys made so far: reading the configuration and the data takes longer than a test of them."""
    return {}


@pytest.fixture
def toy(family, backbone, toys, make_config, make_knowledge, make_groups):
    name = family + backbone
    if name not in toys:
        toys[name] = Toy(name, make_config, make_knowledge, make_groups)
    return toys[name]


@pytest.fixture
def fused_tables(monkeypatch):
    """A list that grows by every fused table that is computed."""
    tables = []
    fuse = FusedItemTable.fuse

    def counted(table, id_embedding):
        tables.append(fuse(table, id_embedding))
        return tables[-1]

    monkeypatch.setattr(FusedItemTable, "fuse", counted)
    return tables


# Names


@backbones
@pytest.mark.parametrize("family", ["CI", "TSLRec", "P2Rec"])
def test_recbole_finds_the_class_of_the_package(family, backbone):
    assert get_model(family + backbone) is getattr(models, family + backbone)


@backbones
def test_p2rec_is_tslrec(backbone):
    assert getattr(models, f"P2Rec{backbone}") is getattr(models, f"TSLRec{backbone}")


# The start of the training


@backbones
@tslrec
def test_ids_start_from_the_vectors_and_nothing_else_changes(toy):
    """The ID rows become principal components; all other parameters start as they would."""
    drawn, started = (dict(toy.model(id_init=start).named_parameters()) for start in ("random", "knowledge"))
    ids = started.pop(ID_PART)
    assert torch.equal(ids[0], drawn[ID_PART][0])
    centred = ids[1:].detach() - ids[1:].detach().mean(dim=0)
    covariance = centred.T @ centred
    torch.testing.assert_close(covariance, covariance.diag().diag(), rtol=0, atol=1e-3 * float(covariance.max()))
    for name, parameter in started.items():
        if not name.startswith(SOURCE):  # whose scale is that of the ID rows, up to rounding
            assert torch.equal(parameter, drawn[name]), name


@backbones
@families
@fusions
def test_backbone_starts_as_without_the_fusion(toy, fusion):
    base, model = toy.base(), toy.model(fusion)
    fused = {name.replace(ID_PART, "item_embedding.weight"): p for name, p in model.named_parameters()}
    for name, parameter in base.named_parameters():
        assert torch.equal(fused[name], parameter), name


@backbones
@families
@fusions
def test_backbone_draws_dropout_as_without_the_fusion(toy, fusion):
    """The fusion's initialisation leaves the random stream where it was."""
    toy.base()
    before = torch.get_rng_state()
    toy.model(fusion)
    assert torch.equal(torch.get_rng_state(), before)


@backbones
@tslrec
@fusions
@pytest.mark.parametrize("norm", [0.01, 1000.0])
def test_first_loss_is_near_that_of_the_backbone(toy, fusion, norm):
    """Whatever the scale of the LLM's hidden states. The dropout of both models draws the same numbers."""
    rows = toy.rows / toy.rows.norm(dim=1, keepdim=True) * norm
    base_loss = toy.base().calculate_loss(toy.batch)
    model = toy.model(fusion, **toy.knowledge_path(toy.tokens, rows))
    assert model.calculate_loss(toy.batch).item() == pytest.approx(base_loss.item(), rel=0.05)


@backbones
@families
@fusions
def test_fused_table_starts_at_the_scale_of_the_id_table(toy, fusion):
    wide = {"hidden_size": 64, "embedding_size": 64}  # 30 * 64 values estimate a standard deviation well
    base_std = toy.base(**wide).item_embedding.weight[1:].std().item()
    model = toy.model(fusion, **wide)
    assert model.item_embedding.weight[1:].std().item() == pytest.approx(base_std, rel=0.1)


@backbones
@families
def test_sum_starts_from_the_ids_alone(toy):
    base, model = toy.base(), toy.model("sum")
    assert torch.equal(model.item_embedding.weight[1:], base.item_embedding.weight[1:])


@backbones
@families
def test_table_that_is_given_is_the_one_of_the_path(toy):
    """The stages load it once and hand it over; users name its folder."""
    family = parse_model_name(toy.config["model"]).family
    artifact, settings = open_artifact(toy.config[family.path_key]), family.settings.of(toy.config)
    table = family.load(artifact, toy.train_data._dataset, settings, toy.config["seed"])
    given = build_model(derive(toy.config, **{family.path_key: None}), toy.train_data, table).state_dict()
    expected = build_model(toy.config, toy.train_data).state_dict()
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[name], weight) for name, weight in expected.items())


# The table


@backbones
@families
@fusions
def test_pad_row_is_zero_and_stays_so(toy, fusion):
    model = toy.model(fusion)
    assert not model.item_embedding.weight[0].any()
    toy.training_step(model)
    assert not model.item_embedding.weight[0].any()


@backbones
@families
def test_lookup_gives_the_row_of_the_table(toy):
    model = toy.model()
    ids = toy.batch["item_id"]
    assert torch.equal(model.item_embedding(ids), model.item_embedding.weight[ids])


@backbones
@families
def test_predict_gives_the_column_of_full_sort_predict(toy):
    model = toy.model()
    items = toy.batch["item_id"]
    with torch.no_grad():
        predicted = model.eval().predict(toy.batch)
    torch.testing.assert_close(predicted, toy.scores(model).gather(1, items.unsqueeze(1)).squeeze(1))


# Training


@backbones
@families
@fusions
def test_gradients_reach_every_part_of_the_table(toy, fusion):
    model = toy.model(fusion)
    model.calculate_loss(toy.batch).backward()
    parts = {n: p for n, p in model.named_parameters() if n.startswith((ID_PART, SOURCE, FUSION))}
    for prefix in (ID_PART, SOURCE, *([] if fusion == "sum" else [FUSION])):
        assert any(name.startswith(prefix) for name in parts), prefix
    for name, parameter in parts.items():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@backbones
@tslrec
def test_knowledge_is_frozen(toy):
    model = toy.model()
    knowledge = dict(model.named_buffers())[f"{SOURCE}knowledge"]
    before = knowledge.clone()
    toy.training_step(model)
    assert f"{SOURCE}knowledge" not in dict(model.named_parameters())
    assert torch.equal(knowledge, before)


@backbones
@families
def test_one_table_for_a_training_step(toy, fused_tables):
    """Input and output, and Caser's regularisation, share it; the next step has its own."""
    model = toy.model()
    fused_tables.clear()
    toy.training_step(model)
    assert len(fused_tables) == 1
    toy.training_step(model)
    assert len(fused_tables) == 2
    assert not torch.equal(*fused_tables)


# Evaluation


@backbones
@families
def test_one_table_for_an_evaluation(toy, fused_tables):
    model = toy.model()
    fused_tables.clear()
    toy.evaluate(model)
    assert len(list(toy.valid_data)) == 4
    assert len(fused_tables) == 1


@backbones
@families
@pytest.mark.parametrize("part", [ID_PART, SOURCE, FUSION])
def test_changed_parameter_shows_in_the_next_evaluation(toy, fused_tables, part):
    model = toy.model()
    before = toy.scores(model)
    fused_tables.clear()
    parameter = next(p for name, p in model.named_parameters() if name.startswith(part))
    with torch.no_grad():
        parameter.add_(torch.randn_like(parameter))
    assert not torch.equal(toy.scores(model), before)
    assert len(fused_tables) == 1


@backbones
@families
def test_loaded_weights_show_in_the_next_evaluation(toy):
    model, other = toy.model(), toy.model(seed=1)
    before = toy.scores(model)
    model.load_state_dict(other.state_dict())  # in evaluation mode
    assert torch.equal(toy.scores(model), toy.scores(other))
    assert not torch.equal(toy.scores(model), before)


@backbones
@families
def test_training_step_shows_in_the_next_evaluation(toy):
    model, other = toy.model(), toy.model()
    before = toy.scores(model)
    toy.training_step(model)
    other.load_state_dict(model.state_dict())  # has never been evaluated
    assert torch.equal(toy.scores(model), toy.scores(other))
    assert not torch.equal(toy.scores(model), before)


# Copies


@backbones
@families
@fusions
def test_checkpoint_keeps_the_scores(toy, tmp_path, fusion):
    trained, fresh = toy.model(fusion), toy.model(fusion)
    toy.training_step(trained)
    assert not torch.equal(toy.scores(fresh), toy.scores(trained))
    write_tensors(tmp_path / "model.safetensors", trained.state_dict())
    load_weights(fresh, tmp_path / "model.safetensors")
    assert torch.equal(toy.scores(fresh), toy.scores(trained))


@backbones
@families
def test_deep_copy_after_an_evaluation_scores_alike(toy):
    model = toy.model()
    toy.evaluate(model)
    assert torch.equal(toy.scores(copy.deepcopy(model)), toy.scores(model))


@backbones
@families
def test_deep_copy_after_a_training_step_is_trained_alone(toy):
    model = toy.model()
    toy.training_step(model)
    trained = copy.deepcopy(model)
    before = toy.scores(model)
    toy.training_step(trained)
    assert torch.equal(toy.scores(model), before)
    assert not torch.equal(toy.scores(trained), before)


# The knowledge and the groups that a model is given


@backbones
@pytest.mark.parametrize(("family", "key"), [("TSLRec", "knowledge_path"), ("CI", "groups_path")])
def test_missing_path_is_named(toy, key):
    with pytest.raises(ValueError, match=rf"{toy.config['model']} needs .*{key}="):
        toy.model(**{key: None})


@backbones
@tslrec
@fusions
def test_items_without_a_vector_train_from_a_default(toy, fusion):
    kept = [row for row in range(30) if row not in (4, 7)]
    lacking = toy.knowledge_path([toy.tokens[row] for row in kept], toy.rows[kept])
    model = toy.model(fusion, **lacking)
    model.calculate_loss(toy.batch).backward()
    default = dict(model.named_parameters())[f"{SOURCE}default"]
    assert default.grad.any()


@backbones
@pytest.mark.parametrize("family", ["CI"])
def test_items_without_a_group_are_counted_and_the_first_is_named(toy):
    lacking = toy.groups_path(toy.tokens[1:], toy.groups[1:])
    with pytest.raises(ArtifactError, match=rf"lacks 1 of the dataset's 30 items, the first is '{toy.tokens[0]}'"):
        toy.model(**lacking)


@backbones
@tslrec
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_knowledge_that_is_not_finite_is_refused(toy, value):
    rows = toy.rows.clone()
    rows[5, 3] = rows[9, 0] = value
    broken = toy.knowledge_path(toy.tokens, rows)
    with pytest.raises(VectorsError, match=rf"has 2 .* not finite, the first is of item '{toy.tokens[5]}'"):
        toy.model(**broken)


@backbones
@tslrec
def test_knowledge_is_matched_by_token(toy):
    """Neither the order of the rows nor an item that the dataset does not have matters."""
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0)).tolist()
    tokens = ["an item of another dataset", *(toy.tokens[row] for row in order)]
    shuffled = toy.knowledge_path(tokens, torch.cat([torch.full((1, 64), 1e6), toy.rows[order]]))
    assert torch.equal(toy.model(**shuffled).item_embedding.weight, toy.model().item_embedding.weight)


@backbones
@pytest.mark.parametrize("family", ["CI"])
def test_groups_are_matched_by_token(toy):
    order = list(range(29, -1, -1))
    shuffled = toy.groups_path([toy.tokens[row] for row in order], toy.groups[order])
    assert torch.equal(toy.model(**shuffled).item_embedding.weight, toy.model().item_embedding.weight)
