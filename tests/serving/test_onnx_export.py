"""A graph gives the model's scores in onnxruntime; what cannot become one is refused in a sentence."""

import json
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from recbole_tslrec.serving import onnx_export
from recbole_tslrec.serving.model_export import ExportError, export, export_model
from recbole_tslrec.serving.onnx_export import check_scores
from recbole_tslrec.serving.saved_model import load_model
from recbole_tslrec.serving.score_comparison import random_histories
from tests.serving.test_saved_model import model_folder

MODELS = ["SASRec", "TSLRecSASRec", "CIGRU4Rec", "TSLRecFMLPRec", "BSARec", "LiGR", "HSTU", "WEARec"]
REFUSED = {
    **dict.fromkeys(["Caser", "FOSSIL", "FPMC", "HGN", "HRM", "NPE", "SHAN"], "an embedding of each user"),
    **dict.fromkeys(["GRU4RecCPR", "RepeatNet", "SASRecCPR", "TransRec"], "does not score by the product"),
    **dict.fromkeys(["GCSAN", "SRGNN"], "builds the graph of each session in numpy"),
    "FEARec": "frequencies of a Fourier transform",
}


class Exported:
    """A model and its graph."""

    def __init__(self, folder: Path, output: Path) -> None:
        self.saved = load_model(folder)
        self.path = export(folder, "onnx", output)
        self.session = onnxruntime.InferenceSession(str(self.path))

    def run(self, item_seq, item_seq_len):
        """The vectors and the scores that onnxruntime computes."""
        found = self.session.run(None, {"item_seq": item_seq.numpy(), "item_seq_len": item_seq_len.numpy()})
        return [torch.from_numpy(array) for array in found]


@pytest.fixture(scope="session")
def graphs():
    """The graphs so far: making one takes seconds."""
    return {}


@pytest.fixture(params=MODELS)
def exported(request, graphs, trained, tmp_path):
    if request.param not in graphs:
        graphs[request.param] = Exported(model_folder(trained(request.param)), tmp_path / "model.onnx")
    return graphs[request.param]


@pytest.fixture
def sasrec(trained):
    return load_model(model_folder(trained("SASRec")))


# Scores


@pytest.mark.parametrize(
    "histories", [[[3]], [[1, 2], [30, 4, 5, 6, 7, 8, 9, 10]], [[i + 1] * (i % 8 + 1) for i in range(30)]]
)
def test_scores_are_the_models_for_any_number_of_histories(exported, histories):
    item_seq = torch.zeros(len(histories), 8, dtype=torch.int64)
    for row, history in zip(item_seq, histories, strict=True):
        row[: len(history)] = torch.tensor(history)
    length = torch.tensor([len(history) for history in histories])
    _, scores = exported.run(item_seq, length)
    expected = exported.saved.scores(item_seq, length)
    torch.testing.assert_close(scores[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-6)


def test_vector_times_table_gives_the_scores(exported):
    vectors, scores = exported.run(torch.tensor([[5, 6, 7, 0, 0, 0, 0, 0]]), torch.tensor([3]))
    table = exported.saved.model.item_embedding.weight[1:]
    torch.testing.assert_close(scores[:, 1:], vectors @ table.T, rtol=1e-4, atol=1e-6)


def test_pad_is_never_recommended(exported):
    _, scores = exported.run(torch.tensor([[5, 0, 0, 0, 0, 0, 0, 0]]), torch.tensor([1]))
    assert scores[0, 0] == -torch.inf
    assert scores[0, 1:].isfinite().all()


@pytest.mark.slow
def test_every_backbone_becomes_a_graph_or_is_refused(fresh, tmp_path):
    """Export itself compares the scores."""
    name = type(fresh.model).__name__
    reason = REFUSED.get(name.removeprefix("TSLRec"))
    if reason is None:
        assert export(fresh.artifact.folder, "onnx", tmp_path / "model.onnx").is_file()
        return
    with pytest.raises(ExportError, match=rf"{name}\b.* {reason}") as refusal:
        export(fresh.artifact.folder, "onnx", tmp_path / "model.onnx")
    assert "\n" not in str(refusal.value)


# What the file holds


def test_tokens_are_in_the_graph_and_beside_it(exported):
    tokens = exported.saved.item_tokens
    metadata = exported.session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["tokens"]) == tokens
    assert metadata["model"] == exported.saved.name
    assert exported.path.with_name("model.onnx.tokens.txt").read_text() == "".join(f"{token}\n" for token in tokens)


@pytest.mark.parametrize("exported", ["TSLRecSASRec"], indirect=True)
def test_fused_table_is_one_constant(exported):
    """Input and output share it, and neither knowledge nor the IDs' own part is in the file."""
    of_items = [tuple(constant.dims) for constant in onnx.load(exported.path).graph.initializer if 31 in constant.dims]
    assert sorted(of_items) == [(31,), (31, 8)]  # the bias that hides the pad, and the table


# The check


def test_other_scores_are_refused(exported):
    model = exported.saved.model
    batch = random_histories(model, 8, 4)
    expected = exported.saved.scores(batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN])
    assert check_scores(exported.path, model, [batch], [expected]) < 1e-5
    expected[2, 3] += 0.01 * expected[:, 1:].abs().max()
    with pytest.raises(ExportError, match="for 4 histories, onnxruntime gives scores"):
        check_scores(exported.path, model, [batch], [expected])


# Refusals


def test_operation_that_onnx_lacks_is_refused_in_a_sentence(sasrec, tmp_path, monkeypatch):
    forward = sasrec.model.forward
    monkeypatch.setattr(sasrec.model, "forward", lambda *inputs: torch.special.bessel_j0(forward(*inputs)))
    with pytest.raises(ExportError, match=r"^ONNX cannot express SASRec: .*bessel_j0") as refusal:
        export_model(sasrec.model, sasrec.item_tokens, sasrec.max_length, "onnx", tmp_path / "model.onnx")
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.glob("*model*")) == []


def test_table_beyond_the_largest_graph_is_refused(sasrec, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "LARGEST_TABLE", 31 * 8 * 4 - 1)
    with pytest.raises(ExportError, match=r"its item table has .* GiB, and a graph holds at most 2"):
        export_model(sasrec.model, sasrec.item_tokens, sasrec.max_length, "onnx", tmp_path / "model.onnx")
