"""LLM baselines in use: E4SRec and LlamaRec, which score all items as recommenders do."""

from typing import Any

import torch

from recbole_tslrec.baselines.settings import E4SRecSettings, LlamaRecSettings
from recbole_tslrec.models.families import E4SREC, LLAMAREC
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.serving.parents import check_same_llm, find_parent, running_program
from recbole_tslrec.serving.saved_model import KINDS, ModelFiles, SavedModel, check_knows_items_only, open_model_folder
from recbole_tslrec.settings import RecBoleConfig
from recbole_tslrec.store.artifacts import Artifact


def load_llm_model(artifact: Artifact, device: torch.device) -> SavedModel:
    """A fine-tuned LLM that scores all items.

    Args:
        artifact: of E4SRec (``llm_task``) or of LlamaRec (``ranker``, whose ``retriever`` and what that was made of are
            looked for beside it).
        device: where it will compute.

    Raises:
        ArtifactError: a folder is missing (says which) or damaged.
        ValueError: its model cannot be served.
        ImportError: transformers or peft is not installed.
        LLMError: the LLM cannot be loaded, or is another one than was fine-tuned.
    """
    name = artifact.manifest["settings"]["model"]
    loaders = {E4SREC.name: _load_e4srec, LLAMAREC.name: _load_llamarec}
    load = loaders.get(parse_model_name(name).family.name)
    if load is None:
        raise ValueError(
            f"{name} calls users by the numbers that it was trained with, so it has nothing to say about others; train "
            f"a model of items only, such as {E4SREC.name} or TSLRecSASRec"
        )
    try:
        return load(artifact, running_program(device))
    except ImportError as error:
        raise ImportError(
            f"{name} ranks with an LLM, which needs {error.name}; install it with: pip install 'recbole_tslrec[llm]'"
        ) from error


def _load_e4srec(task: Artifact, running: RecBoleConfig) -> SavedModel:
    from recbole_tslrec.baselines.e4srec import load_ranker

    settings = E4SRecSettings.of_recipe(task.manifest["settings"], running)
    check_same_llm(task, settings.engine.llm)
    rows = task.tensors()["item_embeddings"]  # [N, d]
    fields = {"ITEM_ID_FIELD": "item_id", "LIST_SUFFIX": "_list", "ITEM_LIST_LENGTH_FIELD": "item_length"}
    model = load_ranker(settings, task.folder, torch.nn.functional.pad(rows, (0, 0, 1, 0)), fields)
    config = {"MAX_ITEM_LIST_LENGTH": model.max_items, "device": running["device"]}
    return SavedModel(settings.model, model, config, task.item_tokens())


def _load_llamarec(ranker: Artifact, running: RecBoleConfig) -> SavedModel:
    from recbole_tslrec.baselines.llamarec import TITLES, load_prompt
    from recbole_tslrec.baselines.llamarec_ranker import LlamaRecScorer, load_ranker

    settings = LlamaRecSettings.of_recipe(ranker.manifest["settings"], running)
    check_same_llm(ranker, settings.engine.llm)
    retriever = _load_retriever(find_parent(ranker, "retriever"), running["device"])
    title_of = dict(zip(ranker.item_tokens(), ranker.json(TITLES), strict=True))
    prompt = load_prompt(settings, [title_of[token] for token in retriever.item_tokens])
    network = load_ranker(settings, prompt, ranker.folder)
    model = LlamaRecScorer(settings, prompt, network, retriever.model, retriever.max_length)
    config = {"MAX_ITEM_LIST_LENGTH": 0, "device": running["device"]}
    return SavedModel(settings.model, model.eval(), config, retriever.item_tokens)


def _load_retriever(retriever: Artifact, device: Any) -> SavedModel:
    kind = next(kind for kind in KINDS if kind in retriever.manifest["parents"])
    model = find_parent(retriever, kind)
    saved = ModelFiles.read(open_model_folder(model.folder)).build(device)
    check_knows_items_only(saved)
    return saved
