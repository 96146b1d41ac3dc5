"""New items by vectors of the encoder that the model was trained with."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_tslrec import extend_with_vectors
from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.pipeline.run import Run
from recbole_tslrec.serving.extend import main
from recbole_tslrec.serving.new_vectors import NEIGHBOURS
from recbole_tslrec.serving.recommend import recommend
from recbole_tslrec.serving.saved_model import ModelFiles
from recbole_tslrec.store.artifacts import Artifact, open_artifact

ORIGINAL = "item_embedding.parametrizations.weight.original"
KNOWLEDGE = "item_embedding.parametrizations.weight.0.source.knowledge"
ITEMS, WIDTH = 30, 6
TOKENS = [f"i{number}" for number in range(ITEMS)]
VECTORS = dict(zip(TOKENS, torch.randn(ITEMS, WIDTH, generator=torch.Generator().manual_seed(0)), strict=True))
NEW = {"twin": VECTORS["i3"], "far": torch.full((WIDTH,), 9.0)}


def written(vectors: dict[str, torch.Tensor], path: Path) -> Path:
    """A table of vectors."""
    pd.DataFrame({"item_id": list(vectors), "vector": [row.tolist() for row in vectors.values()]}).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vectors")


@pytest.fixture
def former(trained: Callable[..., Run], folder: Path) -> Artifact:
    """A model of vectors from elsewhere; one item has none."""
    path = folder / "vectors.parquet"
    if not path.exists():
        written({token: row for token, row in VECTORS.items() if token != "i7"}, path)
    return trained("TSLRecSASRec", knowledge_path=str(path)).artifacts["recommender"]


@pytest.fixture
def extended(former: Artifact) -> Artifact:
    return open_artifact(extend_with_vectors(former.folder, NEW), "recommender")


def weight_row(model: Artifact, name: str, token: str) -> torch.Tensor:
    return ModelFiles.read(model).weights[name][model.item_tokens().index(token) + 1]


def test_a_vector_is_standardised_as_those_of_the_former_items(former: Artifact, extended: Artifact) -> None:
    assert torch.equal(weight_row(extended, KNOWLEDGE, "twin"), weight_row(former, KNOWLEDGE, "i3"))


@pytest.mark.parametrize("token", NEW)
def test_the_id_part_lies_between_the_nearest_items_as_far_out_as_they(
    former: Artifact, extended: Artifact, token: str
) -> None:
    """By hand: cosines of the centred vectors, but for the item that has none."""
    tokens = [each for each in TOKENS if each != "i7"]
    center = np.mean([VECTORS[each].numpy() for each in tokens], axis=0)
    own = NEW[token].numpy() - center

    def cosine(other: str) -> float:
        row = VECTORS[other].numpy() - center
        return float(own @ row / np.linalg.norm(own) / np.linalg.norm(row))

    nearest = sorted(tokens, key=cosine, reverse=True)[:NEIGHBOURS]
    assert (nearest[0] == "i3") == (token == "twin")
    rows = torch.stack([weight_row(former, ORIGINAL, each) for each in nearest])
    direction = rows.mean(dim=0) / rows.mean(dim=0).norm()
    torch.testing.assert_close(weight_row(extended, ORIGINAL, token), direction * rows.norm(dim=1).mean())


def test_rows_of_former_items_stay_bit_by_bit(former: Artifact, extended: Artifact) -> None:
    assert extended.item_tokens() == [*former.item_tokens(), *NEW]
    weights = ModelFiles.read(extended).weights
    for name, weight in ModelFiles.read(former).weights.items():
        assert torch.equal(weights[name][: len(weight)] if weight.dim() else weights[name], weight), name


def test_new_items_are_recommended_and_taken_in_histories(extended: Artifact) -> None:
    found = recommend(extended.folder, {"a": ["i1", "twin"]}, k=ITEMS + 2, mask_history=False)["a"]
    assert dict(found).keys() >= NEW.keys()


def test_a_file_may_hold_the_known_items_too(former: Artifact, extended: Artifact, tmp_path: Path) -> None:
    """A catalogue as it is today, encoded again with other rounding."""
    again = {token: row + 1e-4 for token, row in VECTORS.items()}
    path = written({**again, **NEW}, tmp_path / "all.parquet")
    assert extend_with_vectors(former.folder, path) == extended.folder


def test_known_items_may_be_spelled_otherwise(former: Artifact, extended: Artifact, tmp_path: Path) -> None:
    """With blanks around every token, as in a file that has them for the model's training."""
    blanks = {f"{token} ": row for token, row in {**VECTORS, **NEW}.items()}
    path = written(blanks, tmp_path / "blanks.parquet")
    assert extend_with_vectors(former.folder, path) == extended.folder


def test_principal_components_are_those_of_the_former_items(trained: Callable[..., Run]) -> None:
    reduced = trained(
        "TSLRecSASRec",
        knowledge_path=str(written(VECTORS, Path("all.parquet").resolve())),
        fusion_pca_dimension=3,
    ).artifacts["recommender"]
    extended = open_artifact(extend_with_vectors(reduced.folder, NEW))
    torch.testing.assert_close(weight_row(extended, KNOWLEDGE, "twin"), weight_row(reduced, KNOWLEDGE, "i3"))


def test_the_command_gives_what_the_function_gives(
    former: Artifact, extended: Artifact, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = written(NEW, tmp_path / "new.parquet")
    main([f"--model_folder={former.folder}", f"--vectors={path}"])
    assert capsys.readouterr().out == f"{extended.folder}\n"


# Bad input


def test_bad_vectors_cannot_be_left_out(former: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([f"--model_folder={former.folder}", "--vectors=new.parquet", "--skip_bad"])
    assert "--skip_bad leaves out lines of --items; a file of vectors is read as a whole" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (
            {"new": torch.zeros(5)},
            "has vectors of width 5, the model was trained with width 6; give vectors of the same",
        ),
        ({"i3": VECTORS["i3"]}, "the model knows every item of what was given; there is nothing to add"),
        ({**NEW, "i3": -VECTORS["i3"]}, r"has other vectors of the 1 items that the model knows .*cosine -0\.\d\d\)"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "vectors of new items cannot be read"),
        ({"a": ["x"] * WIDTH}, "vectors of new items cannot be read"),
        ({}, "vectors of new items cannot be read"),
        ({"new": torch.full((WIDTH,), torch.nan)}, "has 1 vectors that are not finite, the first is of item 'new'"),
    ],
)
def test_wrong_vectors_are_refused(former: Artifact, vectors: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(VectorsError, match=message):
        extend_with_vectors(former.folder, vectors)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("CIGRU4Rec", {}, "holds CIGRU4Rec, which has no knowledge to extend"),
        ("TSLRecSASRec", {"knowledge_source": "sft,stage0"}, r"fuses several vectors of each item \(sft, stage0\)"),
    ],
)
def test_a_model_of_other_rows_is_refused(
    trained: Callable[..., Run], model: str, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        extend_with_vectors(trained(model, **settings).artifacts["recommender"].folder, NEW)


def test_vectors_that_the_user_did_not_give_are_compared(trained: Callable[..., Run], tmp_path: Path) -> None:
    """A copy of the model alone, without the artifacts that it was made of, knows it too."""
    run = trained("TSLRecSASRec", knowledge_source="stage0")
    model = Path(shutil.copytree(run.artifacts["recommender"].folder, tmp_path / "alone" / "recommender-copy"))
    knowledge = run.artifacts["knowledge"]
    rows = dict(zip(knowledge.item_tokens(), knowledge.tensors()["knowledge"], strict=True))
    new = {"twin": rows["i3"]}
    with pytest.raises(VectorsError, match="has none of an item that it knows to show that both are alike"):
        extend_with_vectors(model, new)
    extended = open_artifact(extend_with_vectors(model, {**rows, **new}), "recommender")
    assert torch.equal(weight_row(extended, KNOWLEDGE, "twin"), weight_row(extended, KNOWLEDGE, "i3"))
