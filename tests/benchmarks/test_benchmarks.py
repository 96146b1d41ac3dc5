"""The benchmarks run at toy size, compare like with like, and give the figures that they promise."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import attention
import baselines
import export_items
import fig3
import gpu
import lengths
import measure
import models
import numpy as np
import pytest
import sft_step
import steps
import torch

from recbole_tslrec.baselines.e4srec import MiddlePadded
from recbole_tslrec.experiments.llm_time import Sample
from recbole_tslrec.llm.settings import PADDED, PREFIX_ROW
from recbole_tslrec.sft.examples import ITEM_SEQ, ITEM_SEQ_LEN
from recbole_tslrec.sft.timed_runs import random_steps

CPU = torch.device("cpu")


def written(report: measure.Report) -> dict[str, Any]:
    assert report.path is not None
    return json.loads(report.path.read_text())


@pytest.mark.parametrize(
    ("case", "users", "items", "interactions"),
    [("beauty", 22363, 12101, 198502), ("ml1m", 6040, 3416, 999611), ("yelp", 30431, 20033, 316354)],
)
def test_stored_lengths_are_those_of_the_papers_datasets(case: str, users: int, items: int, interactions: int) -> None:
    data = lengths.load(case)
    assert (data.users, len(data.history), data.items) == (users, users, items)
    assert int(data.history.sum()) + 2 * users == interactions
    assert data.prompt_items.max() == 50


def test_lengths_are_counted_without_the_two_held_out_interactions(tmp_path: Path) -> None:
    rows = ["a\t1\t1", "a\t2\t2", "a\t1\t3", "b\t3\t1", "b\t1\t2", "b\t2\t3", "b\t9\t4"]
    path = tmp_path / "toy.inter"
    path.write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    assert lengths.count(path) == {"users": 2, "items": 4, "interactions": 7, "histogram": {"1": 1, "2": 1}}


def test_all_layouts_give_the_same_hidden_states() -> None:
    """Except the published E4SRec's, whose positions are wrong as soon as a batch has pads."""
    networks = sft_step.build_contenders(models.TINY, CPU)
    examples = models.make_examples(np.array([3, 1, 7, 7]), 100, batch_size=4)
    batch = examples.interaction(np.arange(4))
    hidden = {name: network(batch[ITEM_SEQ], batch[ITEM_SEQ_LEN])[0] for name, network in networks.items()}
    for found in hidden.values():
        torch.testing.assert_close(found, hidden[sft_step.OURS], atol=1e-4, rtol=1e-4)

    llm = models.build_llm(models.TINY, CPU)
    published = models.build_network(llm, models.TINY, 1000, CPU, encoder_class=MiddlePadded)
    models.copy_weights(networks[sft_step.OURS], published)
    found = published(batch[ITEM_SEQ], batch[ITEM_SEQ_LEN])[0]
    unpadded = batch[ITEM_SEQ_LEN] == 7
    torch.testing.assert_close(found[unpadded], hidden[sft_step.OURS][unpadded], atol=1e-4, rtol=1e-4)


def test_a_step_changes_the_weights_alike_in_every_layout() -> None:
    networks = sft_step.build_contenders(models.TINY, CPU)
    examples = models.make_examples(np.array([3, 1, 7, 7]), 100, batch_size=4)
    plans = {
        sft_step.OURS: steps.budget_steps(examples, 40, PREFIX_ROW),
        sft_step.SORTED: steps.budget_steps(examples, 60, PADDED),
        sft_step.CAUSAL_LM: random_steps(examples, 2),
    }
    gradients = {}
    for name, network in networks.items():
        training = steps.Training(network, examples, plans[name], CPU)
        for micro_batch in plans[name][0]:
            training.loss(micro_batch).backward()
        gradients[name] = network.encoder.linear_proj.weight.grad
    for found in gradients.values():
        torch.testing.assert_close(found, gradients[sft_step.OURS], atol=1e-5, rtol=1e-3)


def test_exported_items_are_those_of_the_padded_loop() -> None:
    networks = export_items.build_contenders(models.TINY, 20, CPU)
    rows = models.item_embeddings(20)[1:]
    exact = export_items.encode_all(networks[export_items.LOOP], rows, 7)
    torch.testing.assert_close(
        export_items.encode_all(networks[export_items.FP32], rows, 20), exact, atol=1e-4, rtol=1e-4
    )


def test_work_counts_the_prefix_once_a_micro_batch() -> None:
    network = models.build_network(models.build_llm(models.TINY, CPU), models.TINY, 100, CPU)
    examples = models.make_examples(np.array([3, 1, 7, 7]), 100, batch_size=4)
    training = steps.Training(network, examples, steps.budget_steps(examples, 1000, PREFIX_ROW), CPU)
    own = 3 + 1 + 7 + 7 + 4 * models.RESPONSE_TOKENS
    assert training.work.tokens == own + models.INSTRUCTION_TOKENS
    assert steps.full_tokens(examples) == own + 4 * models.INSTRUCTION_TOKENS


def test_peak_memory_sees_what_is_freed_again() -> None:
    peak = measure.peak_bytes(lambda: torch.ones(64, 2**20).sum(), CPU)
    assert 200 * 2**20 < peak < 500 * 2**20


def test_sft_step(tmp_path: Path) -> None:
    report = measure.Report("sft_step", tmp_path / "sft.json")
    scale = sft_step.Scale(models.TINY, 8, 4, 4, rounds=1, tuning_users=4, batch_sizes=(4,), budgets=(200,))
    sft_step.measure(scale, report, CPU)
    found = written(report)
    rivals_of = ("padded_causal_lm", "padded_sorted")
    assert set(found["ratios"]) == {f"{case}_vs_{rival}" for case in lengths.CASES for rival in rivals_of}
    assert all(ratio > 0 for ratio in found["ratios"].values())
    assert {"cpu", "torch", "transformers", "date"} <= set(found["machine"])
    row = next(iter(found["tables"].values()))[0]
    assert {"real tokens/s", "computed tokens/s", "TFLOP/s", "share of matmul peak", "peak MiB"} <= set(row)


def test_export_speed(tmp_path: Path) -> None:
    report = measure.Report("export_items", tmp_path / "export.json")
    export_items.measure_speed(export_items.Scale(models.TINY, 20, 1, (8, 20)), report, CPU)
    assert set(written(report)["ratios"]) == {"fp32_vs_padded", "bf16_vs_padded"}
    assert any("bfloat16" in note for note in report.notes)


@pytest.mark.slow
def test_export_memory(tmp_path: Path) -> None:
    report = measure.Report("export_items", tmp_path / "export.json")
    export_items.measure_memory(export_items.Scale(catalogues=(("1k", 1000), ("8k", 8000))), report)
    assert written(report)["ratios"]["memory_8k_vs_1k"] < 1.2


def test_fig3(tmp_path: Path) -> None:
    report = measure.Report("fig3", tmp_path / "fig3.json")
    scale = fig3.Scale(models.TINY, Sample(8, 4, 1, 4, 16, rounds=1, budgets=(200,)))
    fig3.measure(scale, report, CPU)
    names = {f"{phase}_{case}" for phase in ("train", "infer") for case in ("beauty", "ml1m")}
    suffixes = ("", "_both_prefix_row", "_published")
    assert set(written(report)["ratios"]) == {name + suffix for name in names for suffix in suffixes}


TOY = baselines.Scale(models.TINY, (16, 2, 2, 24), "beauty", 8, 6, (1, 4), 5, 100, rounds=1)


def test_baselines(tmp_path: Path) -> None:
    report = measure.Report("baselines", tmp_path / "baselines.json")
    baselines.measure(TOY, report)
    assert set(written(report)["ratios"]) == {"e4srec_epoch", "llamarec_rank", "p5_beam"}


def test_baselines_rank_as_their_originals_batching_does() -> None:
    prompts = baselines.rank_prompts(TOY)
    network, original = baselines.build_ranker(TOY.size, prompts.instruction)
    expected = baselines.letters_of_padded(original, prompts, 4)
    torch.testing.assert_close(baselines.letters_of_rows(network, prompts, 2000), expected, atol=1e-4, rtol=1e-4)


def test_baselines_generate_as_transformers_does() -> None:
    generator, prompts = baselines.build_generator(TOY), baselines.beam_prompts(TOY)
    found = baselines.items_of_beams(generator, prompts, baselines.ItemTrie.of(prompts.items), 4, 2)
    assert found.tolist() == baselines.items_of_generate(generator, prompts, 4).tolist()


def test_attention(tmp_path: Path) -> None:
    report = measure.Report("attention", tmp_path / "attention.json")
    scale = attention.Scale(heads=2, head_size=16, tokens=(256,), rounds=1, cases=("beauty",))
    attention.measure(scale, report, CPU)
    found = written(report)
    rivals_of = ("padded_mask", "padded_causal")
    assert set(found["ratios"]) == {f"beauty_256_tiles_vs_{rival}" for rival in rivals_of}
    assert all(row["agrees"] for table in found["tables"].values() for row in table)


def test_a_kernel_that_disagrees_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = attention.KERNELS["tiles"]
    monkeypatch.setitem(attention.KERNELS, "wrong", lambda *arguments: 1.1 * exact(*arguments))
    scale = attention.Scale(heads=2, head_size=16, tokens=(256,), rounds=1, cases=("beauty",))
    with pytest.raises(ArithmeticError, match="wrong"):
        attention.measure(scale, measure.Report("attention", tmp_path / "attention.json"), CPU, ["wrong"])


def toy(**settings: Any) -> gpu.Scale:
    tiny = attention.Scale(heads=2, head_size=16, tokens=(256,), rounds=1, cases=("beauty",))
    small = gpu.Scale(
        {"7b": models.TINY},
        cases=("beauty",),
        budgets=(256,),
        kernels=("tiles",),
        timed_tokens=400,
        batch_size=16,
        epoch_users=16,
        most_epoch_seconds=1e9,
        export_items=20,
        one_layer=tiny,
    )
    return replace(small, **settings)


def test_a_part_of_gpu(tmp_path: Path) -> None:
    gpu.measure_part("7b tiles", toy(), CPU, tmp_path / "part.json")
    report = measure.Report("gpu", tmp_path / "gpu.json")
    gpu.gather(report, "7b tiles", tmp_path / "part.json", None)
    gpu.summarise(report)
    sft = {"7b_beauty_tflops", "7b_beauty_share_of_790", "7b_beauty_epoch_seconds"}
    assert set(report.ratios) == sft | {"7b_beauty_whole_epoch_seconds", "7b_export_seconds"}
    assert report.failures == {}


def test_a_part_of_gpu_that_fails_says_why(tmp_path: Path) -> None:
    gpu.measure_part("7b missing", toy(), CPU, tmp_path / "part.json")
    failures = json.loads((tmp_path / "part.json").read_text())["failures"]
    assert "missing" in failures["build 7b missing"]


def test_what_does_not_fit_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "free_memory", lambda device: 10**5)
    gpu.measure_part("7b tiles", toy(), CPU, tmp_path / "part.json")
    found = json.loads((tmp_path / "part.json").read_text())
    assert "MemoryError" in found["failures"]["sft 7b beauty, micro-batches of 256, tiles"]
    assert any(title.startswith("export") for title in found["tables"])  # the other parts go on


@pytest.mark.slow
def test_gpu_gathers_its_processes(tmp_path: Path) -> None:
    report = measure.Report("gpu", tmp_path / "gpu.json")
    gpu.measure(toy(), report, CPU)
    found = written(report)
    assert {"7b_beauty_tflops", "7b_export_seconds", "beauty_256_tiles_vs_padded_mask"} <= set(found["ratios"])
    assert found["failures"] == {}


@pytest.mark.slow
def test_gpu_stops_a_process_that_takes_too_long(tmp_path: Path) -> None:
    report = measure.Report("gpu", tmp_path / "gpu.json")
    gpu.measure(toy(kernels=(), most_seconds=0.5), report, CPU)
    assert "stopped" in written(report)["failures"]["attention"]


def test_unmerged_adapters_are_in_the_loop_and_merged_ones_in_the_package() -> None:
    networks = export_items.build_contenders(models.TINY, 20, CPU)
    assert any("lora" in name for name, _ in networks[export_items.LOOP].named_parameters())
    assert not any("lora" in name for name, _ in networks[export_items.FP32].named_parameters())
