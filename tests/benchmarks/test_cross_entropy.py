"""Both losses give the same gradients, and a ratio comes out for each catalogue and precision."""

import cross_entropy
import measure
import pytest
import torch


def test_a_ratio_for_each_catalogue_and_precision() -> None:
    report = measure.Report("cross_entropy")
    cross_entropy.measure(cross_entropy.Scale(share=0.005, targets=16, size=4, rounds=1, steps=1), report)
    datasets, precisions = ("beauty", "ml-1m", "yelp"), ("fp32", "bf16")
    assert set(report.ratios) == {f"chunks_{name}_{precision}" for name in datasets for precision in precisions}
    assert [row["items"] for row in report.tables["the loss and its gradients"]] == [61, 61, 17, 17, 100, 100]
    assert all(ratio > 0 for ratio in report.ratios.values())


def test_other_gradients_are_refused() -> None:
    one = torch.ones(2, 3)
    cross_entropy.check_same("fp32", (one, one), (one, one))
    with pytest.raises(RuntimeError, match=r"differ by 0\.1 in fp32"):
        cross_entropy.check_same("fp32", (one, one * 1.1), (one, one))
