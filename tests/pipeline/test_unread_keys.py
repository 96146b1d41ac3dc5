"""Keys that were given and that nothing reads are named."""

import pytest

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.pipeline import plan
from recbole_tslrec.pipeline.unread_keys import warn_of_unread


@pytest.mark.parametrize(
    ("model", "argv", "unread"),
    [
        ("SASRec", ["--fusion_type=sum", "--epochs=1", "--show_progress=False"], "fusion_type"),
        ("SASRec", ["--sft_epochs=3", "--group_count=7"], "group_count, sft_epochs"),
        ("TSLRecSASRec", ["--knowledge_path=v.csv", "--group_count=5", "--fusion_type=sum"], "group_count"),
        ("TSLRecSASRec", ["--group_count=5", "--sft_epochs=1", "--fusion_type=sum", "--export_batch_size=8"], ""),
        ("CISASRec", ["--ci_fusion_type=sum", "--fusion_type=sum"], "fusion_type"),
        ("E4SRec", ["--sft_epochs=1", "--llm_dtype=float32"], ""),
    ],
)
def test_what_no_stage_reads_is_named(
    model: str, argv: list[str], unread: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(model, "toy", argv=argv)
    warn_of_unread(config, plan(config))
    assert caplog.messages == ([f"no stage of this run of {model} reads {unread}"] if unread else [])


def test_a_file_of_settings_may_be_for_several_models(caplog: pytest.LogCaptureFixture) -> None:
    config = Config("SASRec", "toy", ["properties/presets/quick.yaml"])
    warn_of_unread(config, plan(config))
    assert not caplog.messages
