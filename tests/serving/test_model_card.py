"""The card says what the manifests say."""

import pytest
import yaml

from recbole_tslrec.serving.model_card import evaluations, model_card, without_local_paths
from recbole_tslrec.store.artifacts import Recipe, Store
from recbole_tslrec.store.files import write_json

DATA = {"name": "toy", "users": 1234, "items": 3, "interactions": 9, "fingerprint": "f00d"}


@pytest.fixture
def artifacts(tmp_path):
    """``artifacts(kind, settings, *parents, hit=...)``: an artifact, an evaluation with that figure in one mode."""
    store = Store(tmp_path / "artifacts" / "toy")

    def make(kind, settings, *parents, hit=0.0):
        def write(folder):
            write_json(folder / "of.json", {"kind": kind, **settings})
            if kind == "evaluation":
                found = {"unmasked": {"ndcg@10": hit / 2, "hit@10": hit}}
                write_json(folder / "metrics.json", {"valid": found, "test": found})

        recipe = Recipe(settings, {each.manifest["kind"]: each.hash for each in parents}, DATA)
        return store.build(kind, recipe, write, seed=3)

    return make


@pytest.fixture
def family(artifacts):
    """A backbone, knowledge made from it, a recommender that fuses it, their evaluations, and others'."""
    backbone = artifacts("backbone", {"model": "SASRec", "epochs": 5, "worker": None})
    knowledge = artifacts("knowledge", {"knowledge_source": "sft", "llm_name_or_path": "/home/me/llama-7b"}, backbone)
    recommender = artifacts("recommender", {"model": "TSLRecSASRec"}, knowledge)
    other = artifacts("recommender", {"model": "TSLRecGRU4Rec"})
    artifacts("evaluation", {"row": "TSLRec"}, recommender, knowledge, hit=0.5)
    artifacts("evaluation", {"row": "Base"}, backbone, hit=0.25)
    artifacts("evaluation", {"row": "CI"}, other, hit=0.75)
    return backbone, knowledge, recommender


def test_head_names_library_license_and_tags(family):
    _, knowledge, _ = family
    text = model_card(knowledge, "me/toy-vectors", "cc-by-4.0", (3, 8))
    assert text.startswith("---\n")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["library_name"] == "recbole_tslrec"
    assert head["license"] == "cc-by-4.0"
    assert "sequential-recommendation" in head["tags"]


def test_card_of_knowledge_says_its_data_counts_settings_and_figures_beside_those_of_base(family):
    _, knowledge, _ = family
    text = model_card(knowledge, "me/toy-vectors", "mit", (3, 8))
    assert "# toy-vectors" in text
    assert "Knowledge vectors of items: 3 x 8" in text
    assert "--dataset=toy --knowledge_path=hf://me/toy-vectors" in text
    assert "1,234" in text
    assert "`f00d`" in text
    assert "knowledge_source: sft\n" in text
    base, ours = [" ".join(line.split()) for line in text.splitlines() if "unmasked" in line]
    assert base == "| Base | SASRec | 3 | unmasked | 0.2500 | 0.1250 |"
    assert ours == "| TSLRec | TSLRecSASRec | 3 | unmasked | 0.5000 | 0.2500 |"
    assert "HR@10 |   NDCG@10 |" in text


def test_card_of_a_model_says_which_and_leaves_out_what_is_not_set(family):
    backbone, _, recommender = family
    text = model_card(backbone, "me/toy", "mit", (3, 8))
    assert "The items as the trained model SASRec scores them: 3 x 8." in text
    assert "epochs: 5\n" in text
    assert "worker" not in text
    assert [(name, each.manifest["settings"]["row"]) for name, each in evaluations(recommender)] == [
        ("SASRec", "Base"),
        ("TSLRecSASRec", "TSLRec"),
    ]


def test_paths_of_this_machine_are_not_told(family, tmp_path, monkeypatch):
    _, knowledge, _ = family
    assert "/home/me" not in model_card(knowledge, "me/toy", "mit", (3, 8))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llms" / "mine").mkdir(parents=True)
    settings = {"a": "/x/llama", "b": "llms/mine", "c": "meta/llama", "d": "", "e": None, "f": 3}
    assert without_local_paths(settings) == {**settings, "a": "llama", "b": "mine"}


def test_without_an_evaluation_the_card_says_so(artifacts):
    text = model_card(artifacts("knowledge", {"knowledge_source": "tfidf"}), "me/toy", "mit", (3, 8))
    assert "No evaluation was found beside these vectors." in text
