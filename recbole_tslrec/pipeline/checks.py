"""What would make a later stage fail, found before the first one starts."""

from typing import Any

from recbole_tslrec.artifacts import Artifact, open_artifact
from recbole_tslrec.augmentation.fusion import check_fusion_type
from recbole_tslrec.augmentation.knowledge import check_fusion_input, fuses_categories
from recbole_tslrec.augmentation.vectors import check_categories, open_vectors
from recbole_tslrec.evaluation.controls import SFT, TFIDF, check_knowledge_source
from recbole_tslrec.evaluation.history_modes import check_eval_history
from recbole_tslrec.llm.item_text import check_item_text, text_columns
from recbole_tslrec.llm.precision import export_dtype
from recbole_tslrec.reconstruction.grouping import check_group_count
from recbole_tslrec.reconstruction.histories import hold_out_users
from recbole_tslrec.registry import split_model_name
from recbole_tslrec.stages import FUSED_TABLES, STAGES, Run


def given_artifacts(config: Any) -> dict[str, Artifact]:
    """The table that the user gives with ``knowledge_path`` or ``groups_path``, if the model fuses one.

    Raises:
        ArtifactError: the folder holds no whole artifact of that kind.
        VectorsError: ``knowledge_path`` is no file of item vectors either.
    """
    family, _ = split_model_name(config["model"])
    if family not in FUSED_TABLES:
        return {}
    table, _ = FUSED_TABLES[family]
    path = config[f"{table}_path"]
    if not path:
        return {}
    return {table: open_vectors(path) if table == "knowledge" else open_artifact(path, table)}


def check_names(config: Any) -> None:
    """Refuse names that are none of those a key may have; no data is needed.

    Raises:
        ValueError: says which key, and what it may be.
    """
    check_eval_history(config)
    family, _ = split_model_name(config["model"])
    if family in FUSED_TABLES:
        check_fusion_type(config[FUSED_TABLES[family][1]])
    if family == "TSLRec":
        check_fusion_input(config)
        check_knowledge_source(config["knowledge_source"])
        if config["knowledge_path"] and config["knowledge_source"] != SFT:
            raise ValueError(
                f"knowledge_source [{config['knowledge_source']}] makes item vectors, and knowledge_path "
                f"[{config['knowledge_path']}] gives others; leave one of the two out"
            )
        if config["knowledge_source"] == TFIDF and not text_columns(config):
            raise ValueError(
                f"knowledge_source [{TFIDF}] needs words; name columns of the .item file in prompt_item_text"
            )


def check_settings(run: Run) -> None:
    """What would make a later stage fail, checked before the first one starts.

    Raises:
        ValueError: says which key, and what it may be.
    """
    config = run.config
    check_names(config)
    family, _ = split_model_name(config["model"])
    if family not in FUSED_TABLES:
        return
    if run.artifacts and family == "TSLRec" and fuses_categories(config):
        check_categories(run.artifacts["knowledge"].folder)
    if not run.artifacts:
        check_group_count(config["group_count"], len(run.data.item_tokens))
        if family == "TSLRec":
            hold_out_users(len(run.data.full), config["sft_valid_ratio"], config["seed"])
            check_item_text(config)
            if config["knowledge_source"] == "random":
                llm_width(config)


def check_llm_settings(config: Any) -> None:
    """What would make SFT fail, checked before the backbone is trained.

    Raises:
        ImportError: transformers or peft is not installed.
        LLMError: the LLM cannot be loaded.
        ValueError: a key is wrong, or the LLM's context has no room for an item beside the prompt.
    """
    export_dtype(config)
    try:
        from recbole_tslrec.llm.layout import check_layout
        from recbole_tslrec.llm.loading import check_llm
        from recbole_tslrec.reconstruction.fine_tuning import check_prompt
    except ImportError as error:
        raise ImportError(
            f"fine-tuning needs {error.name}; install it with: pip install 'recbole_tslrec[llm]', or start from an "
            "export with --knowledge_path=<folder>"
        ) from error
    check_layout(config["sft_layout"])
    check_llm(config)
    check_prompt(config)


def llm_width(config: Any) -> int:
    """H of the configured LLM, of which only its configuration is read.

    Raises:
        LLMError: it cannot be read.
    """
    from recbole_tslrec.llm.loading import load_llm_config

    width: int = load_llm_config(config).hidden_size
    return width


def needs_llm(config: Any, stop_after: str | None) -> bool:
    """Whether a run goes as far as to use the LLM."""
    family, _ = split_model_name(config["model"])
    reaches = stop_after is None or STAGES.index(stop_after) >= STAGES.index("sft")
    return family == "TSLRec" and reaches and config["knowledge_source"] in (SFT, "untuned")
