"""The yaml files are the only place that describes the keys, and --help reads all of them there."""

import pytest

from recbole_tslrec.configuration.documentation import DocumentedKey, documented_keys, listing, where_documented
from recbole_tslrec.configuration.properties import properties_folder, read_properties


def test_every_key_of_the_files_is_documented_once() -> None:
    folder = properties_folder()
    in_files = [*read_properties(folder / "overall.yaml"), *read_properties(folder / "llm" / "scratch.yaml")]
    assert [key.name for key in documented_keys()] == in_files


def test_key_has_its_section_default_type_and_meaning() -> None:
    expected = DocumentedKey(
        "Stage 1: LoRA adapters (not for scratch, which is trained in full)",
        "lora_alpha",
        "32",
        "float",
        "Scale; an adapter's output is multiplied by lora_alpha / lora_rank.",
    )
    assert expected in list(documented_keys())


def test_listing_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = listing().splitlines()
    at = lines.index("  --sft_save_steps=None")
    assert lines[at + 1 : at + 3] == [
        "      (int) Steps between two step checkpoints; ~ saves",
        "      every four minutes.",
    ]
    assert max(len(line) for line in lines[1:] if not line.startswith("  --")) <= 60


def test_file_that_documents_the_keys_is_named() -> None:
    assert str(properties_folder() / "overall.yaml") in where_documented()
