"""New items in a trained model, with nothing trained."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_tslrec.augmentation.projection import KnowledgeProjection
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.pipeline.run import Run
from recbole_tslrec.serving import extend as module
from recbole_tslrec.serving.extend import extend_knowledge, main
from recbole_tslrec.serving.new_items import NewItems
from recbole_tslrec.serving.new_rows import with_new_items
from recbole_tslrec.serving.parents import find_parent
from recbole_tslrec.serving.recommend import recommend
from recbole_tslrec.serving.saved_model import ModelFiles, load_model
from recbole_tslrec.store.artifacts import Artifact, ArtifactError, open_artifact
from tests.conftest import small_config
from tests.serving.conftest import Fresh

ORIGINAL = "item_embedding.parametrizations.weight.original"
KNOWLEDGE = "item_embedding.parametrizations.weight.0.source.knowledge"
WIDTH, ITEMS = 8, 30  # of a stage-0 embedding; that the model was trained with
VECTOR = torch.linspace(-1, 1, WIDTH)
NEW = {"twin": ["i3"], "mean": ["i1", "i2"], "given": VECTOR}


@pytest.fixture
def run(trained: Callable[..., Run]) -> Run:
    return trained("TSLRecSASRec")


@pytest.fixture
def former(run: Run) -> Artifact:
    return run.artifacts["recommender"]


@pytest.fixture
def extended(former: Artifact) -> Artifact:
    """The second test finds what the first has made."""
    return open_artifact(extend_knowledge(former.folder, NEW), "recommender")


def row(artifact: Artifact, name: str, token: str) -> torch.Tensor:
    return artifact.tensors()[name][artifact.item_tokens().index(token)]


def weight_row(model: Artifact, name: str, token: str) -> torch.Tensor:
    return ModelFiles.read(model).weights[name][model.item_tokens().index(token) + 1]


# What is put into the rows


def test_a_stage_0_embedding_is_the_mean_of_the_neighbours_or_given(extended: Artifact) -> None:
    embeddings = find_parent(find_parent(extended, "knowledge"), "item_embeddings")
    neighbours = (row(embeddings, "item_embeddings", token) for token in ("i1", "i2"))
    torch.testing.assert_close(row(embeddings, "item_embeddings", "mean"), sum(neighbours) / 2)
    assert torch.equal(row(embeddings, "item_embeddings", "given"), VECTOR)


def test_knowledge_comes_from_the_same_llm_and_is_standardised_alike(extended: Artifact) -> None:
    """An item with the stage-0 embedding of i3 gets what i3 got."""
    knowledge = find_parent(extended, "knowledge")
    for name in ("knowledge", "category_distribution"):
        torch.testing.assert_close(row(knowledge, name, "twin"), row(knowledge, name, "i3"), rtol=1e-4, atol=1e-5)
        assert (row(knowledge, name, "given") - row(knowledge, name, "i3")).abs().max() > 1e-4
    twin, third = (weight_row(extended, KNOWLEDGE, token) for token in ("twin", "i3"))
    torch.testing.assert_close(twin, third, rtol=1e-3, atol=1e-4)


def test_the_id_part_lies_between_the_neighbours_as_far_out_as_they_or_is_the_mean_of_all(
    former: Artifact, extended: Artifact
) -> None:
    first, second, third = (weight_row(former, ORIGINAL, token) for token in ("i1", "i2", "i3"))
    assert torch.equal(weight_row(extended, ORIGINAL, "twin"), third)
    mean, length = (first + second) / 2, (first.norm() + second.norm()) / 2
    torch.testing.assert_close(weight_row(extended, ORIGINAL, "mean"), mean / mean.norm() * length)
    of_all = ModelFiles.read(former).weights[ORIGINAL][1:].mean(dim=0)
    torch.testing.assert_close(weight_row(extended, ORIGINAL, "given"), of_all)


def test_the_former_model_stays_and_its_rows_return_bit_by_bit(former: Artifact, extended: Artifact) -> None:
    assert extended.folder != former.folder
    assert open_artifact(former.folder).hash == former.hash
    assert extended.item_tokens() == [*former.item_tokens(), *NEW]
    weights = ModelFiles.read(extended).weights
    for name, weight in ModelFiles.read(former).weights.items():
        assert torch.equal(weights[name][: len(weight)] if weight.dim() else weights[name], weight), name
    tables = [find_parent(model, "knowledge").tensors()["knowledge"] for model in (former, extended)]
    assert torch.equal(tables[1][:ITEMS], tables[0])


def test_scores_of_former_items_stay(former: Artifact, extended: Artifact) -> None:
    generator = torch.Generator().manual_seed(0)
    item_seq, length = torch.randint(1, ITEMS + 1, (40, 8), generator=generator), torch.arange(40) % 8 + 1
    item_seq = item_seq * (torch.arange(8) < length.unsqueeze(1))
    before, after = (load_model(model.folder).scores(item_seq, length) for model in (former, extended))
    assert torch.equal(after[:, : ITEMS + 1], before)


# In use


def test_new_items_are_recommended_and_taken_in_histories(extended: Artifact) -> None:
    """A twin scores as its only neighbour does, and stands for it in a history."""
    found = recommend(extended.folder, {"a": ["i1", "i7"]}, k=ITEMS + 3, mask_history=False)["a"]
    scores = dict(found)
    assert scores.keys() >= NEW.keys()
    assert scores["twin"] == pytest.approx(scores["i3"], abs=1e-4)
    histories = {"twin": ["i1", "twin"], "third": ["i1", "i3"]}
    answers = recommend(extended.folder, histories, k=ITEMS + 3, mask_history=False)
    assert dict(answers["twin"]) == pytest.approx(dict(answers["third"]), abs=1e-3)


def test_an_extended_model_can_be_extended(extended: Artifact, former: Artifact) -> None:
    again = open_artifact(extend_knowledge(extended.folder, {"next": ["given"]}))
    assert again.item_tokens() == [*former.item_tokens(), *NEW, "next"]
    assert torch.equal(weight_row(again, ORIGINAL, "next"), weight_row(extended, ORIGINAL, "given"))


def test_the_same_items_are_found_again(extended: Artifact, former: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_through_the_llm", None)
    assert extend_knowledge(former.folder, {**NEW, "given": VECTOR.tolist()}) == extended.folder


def test_new_items_are_pooled_as_the_former_ones(trained: Callable[..., Run]) -> None:
    former = trained("TSLRecSASRec", export_pooling="mean").artifacts["recommender"]
    extended = open_artifact(extend_knowledge(former.folder, NEW))
    twin, third = (weight_row(extended, KNOWLEDGE, token) for token in ("twin", "i3"))
    torch.testing.assert_close(twin, third, rtol=1e-3, atol=1e-4)


def test_principal_components_are_those_of_the_former_items(trained: Callable[..., Run]) -> None:
    former = trained("TSLRecSASRec", fusion_pca_dimension=4).artifacts["recommender"]
    extended = open_artifact(extend_knowledge(former.folder, NEW))
    twin, third = (weight_row(extended, KNOWLEDGE, token) for token in ("twin", "i3"))
    assert twin.shape == (4,)
    torch.testing.assert_close(twin, third, rtol=1e-3, atol=1e-4)


def test_every_backbone_takes_new_items(fresh: Fresh) -> None:
    """Whatever it keeps for each item grows, a mask row stays last, and a new item may stand in a history."""
    files = ModelFiles.read(fresh.artifact)
    items, neighbour = len(files.item_tokens), files.item_tokens[6]
    source = next(one for one in fresh.model.modules() if isinstance(one, KnowledgeProjection))
    vectors = torch.randn(2, source.vector_width)
    after = with_new_items(files, NewItems(["x", "y"], [[neighbour], []], vectors), vectors).build()
    assert after.item_tokens[items:] == ["x", "y"]
    for name in fresh.tables:
        own, grown = (getattr(model, name).parametrizations.weight.original for model in (fresh.model, after.model))
        assert torch.equal(grown[: items + 1], own[: items + 1])
        assert torch.equal(grown[items + 1], own[7])
        torch.testing.assert_close(grown[items + 2], own[1 : items + 1].mean(dim=0))
        assert torch.equal(grown[items + 3 :], own[items + 1 :])
    users = fresh.users[torch.tensor([0, 0])]
    for sequence in (users[field] for field in users.columns if users[field].dim() == 2):  # SHAN has two of them
        sequence[:] = torch.tensor([[items + 1], [items]])  # nothing but a new item, or the last former one
    users["item_length"][:] = users["item_id_list"].shape[1]
    with torch.no_grad():
        scores = after.model.full_sort_predict(users).view(2, -1)
    assert scores.shape == (2, items + 3)
    assert scores[:, 1:].isfinite().all()
    assert not torch.equal(scores[0], scores[1])


# Bad input


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({}, "there are no new items"),
        ({"i3": ["i1"]}, "item 'i3' is known to the model already"),
        ({"new": ["i1", "i99"]}, "item 'new' is said to be similar to an item that the model does not know, 'i99'"),
        ({"new": [0.5] * 7}, r"item 'new' has a vector of another shape than \(8,\), .* stage-0 embeddings: \(7,\)"),
        ({"new": np.full(8, np.nan)}, "item 'new' has a vector that is not finite"),
        ({"new": []}, "item 'new' has neither a list of similar items' tokens nor a vector of numbers"),
        ({"new": "i1"}, "item 'new' has neither a list of similar items' tokens nor a vector of numbers"),
        ({"new": None}, "item 'new' has neither a list of similar items' tokens nor a vector of numbers"),
        ({"new": ["i1", 0.5]}, "item 'new' has neither a list of similar items' tokens nor a vector of numbers"),
    ],
)
def test_bad_items_are_refused_before_the_llm_is_loaded(
    former: Artifact, monkeypatch: pytest.MonkeyPatch, items: Any, message: str
) -> None:
    monkeypatch.setattr(module, "_through_the_llm", None)
    with pytest.raises(ValueError, match=message):
        extend_knowledge(former.folder, items)


@pytest.mark.parametrize("missing", ["knowledge", "sft", "item_embeddings"])
def test_a_missing_artifact_is_named(run: Run, tmp_path: Path, missing: str) -> None:
    for name in {"knowledge", "sft", "item_embeddings", "recommender"} - {missing}:
        shutil.copytree(run.artifacts[name].folder, tmp_path / run.artifacts[name].folder.name)
    with pytest.raises(ArtifactError, match=rf"was made of a \[{missing}\] artifact that is not in {tmp_path}"):
        extend_knowledge(tmp_path / run.artifacts["recommender"].folder.name, NEW)


def test_a_model_without_knowledge_is_refused(trained: Callable[..., Run]) -> None:
    with pytest.raises(ValueError, match="holds CIGRU4Rec, which has no knowledge to extend"):
        extend_knowledge(trained("CIGRU4Rec").artifacts["recommender"].folder, NEW)


def test_a_model_of_several_sources_serves_and_is_not_extended(trained: Callable[..., Run]) -> None:
    folder = trained("TSLRecSASRec", knowledge_source="sft,stage0").artifacts["recommender"].folder
    assert len(recommend(folder, {"somebody": ["i1", "i2"]}, k=3)["somebody"]) == 3
    with pytest.raises(ValueError, match=r"is knowledge of sft, knowledge of stage0 side by side, and new items get"):
        extend_knowledge(folder, NEW)


def test_an_llm_whose_files_have_changed_is_refused(tmp_path: Path, llama_folder: Path) -> None:
    """Under the same path; until the former ones are back."""
    run = run_stages(small_config(tmp_path, "TSLRecSASRec", llm_name_or_path=str(llama_folder)))
    former, weights = run.artifacts["recommender"].folder, llama_folder / "model.safetensors"
    extend_knowledge(former, {"first": ["i1"]})
    written = weights.read_bytes()
    weights.write_bytes(written[:-1] + bytes([written[-1] ^ 1]))
    with pytest.raises(LLMError, match=r"llama\] is not the LLM that .*sft-\w+ was fine-tuned from: its files"):
        extend_knowledge(former, {"second": ["i1"]})
    weights.write_bytes(written)
    assert open_artifact(extend_knowledge(former, {"second": ["i1"]})).item_tokens()[-1] == "second"


# The command


def test_the_command_gives_what_the_function_gives(
    former: Artifact, extended: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"item": token, "similar": NEW[token]} for token in ("twin", "mean")]
    lines.append({"item": "given", "vector": VECTOR.tolist()})
    Path("new.jsonl").write_text("\n".join(map(json.dumps, lines)))
    main([f"--model_folder={former.folder}", "--items=new.jsonl"])
    assert capsys.readouterr().out == f"{extended.folder}\n"


def write_table(to: Callable[[pd.DataFrame], None]) -> None:
    """The new items, vectors as numbers."""
    similar = [NEW["twin"], NEW["mean"], None]
    to(pd.DataFrame({"item": list(NEW), "similar": similar, "vector": [None, None, VECTOR.tolist()]}))


@pytest.mark.parametrize("name", ["new.parquet", "new.csv"])
def test_new_items_may_stand_in_a_table(
    former: Artifact, extended: Artifact, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write_table(lambda table: table.to_csv(name, index=False) if name.endswith("csv") else table.to_parquet(name))
    main([f"--model_folder={former.folder}", f"--items={name}"])
    assert capsys.readouterr().out == f"{extended.folder}\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is no JSON object"),
        ('{"item": "x"}', "line 2 has not one of the lists similar and vector"),
        ('{"item": "x", "similar": ["i1"], "vector": [1.0]}', "line 2 has not one of the lists"),
        ('{"similar": ["i1"]}', "line 2 has no item that is text or a whole number"),
        ('{"item": "first", "similar": ["i1"]}', r"line 2 \(item 'first'\) gives its item a second time"),
        ('{"item": "x", "similar": ["i99"]}', r"line 2 \(item 'x'\) is said to be similar to an item that .* 'i99'"),
    ],
)
def test_a_wrong_line_is_named_or_skipped(
    former: Artifact, line: str, message: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    Path("new.jsonl").write_text('{"item": "first", "similar": ["i1"]}\n' + line)
    command = [f"--model_folder={former.folder}", "--items=new.jsonl"]
    with pytest.raises(ValueError, match=message + ".* --skip_bad"):
        main(command)
    with caplog.at_level(logging.WARNING):
        main([*command, "--skip_bad"])
    assert open_artifact(capsys.readouterr().out.strip()).item_tokens()[ITEMS:] == ["first"]
    assert re.search(f"1 of 2 were skipped: new.jsonl, {message}", caplog.text)
