"""``id_init: knowledge`` (added here): the ID embeddings start from the vectors and are trained from there.

As LLM2BERT4Rec does it (Harte et al., RecSys 2023, arXiv 2309.09261): the item table of a sequential model starts from
the principal components of an LLM's embeddings of the items.
"""

import torch
from torch import nn

from recbole_tslrec.augmentation.knowledge import Knowledge
from recbole_tslrec.augmentation.principal_components import PrincipalComponents


def start_from_components(embedding: nn.Embedding, knowledge: Knowledge, seed: int) -> None:
    """Put the first d principal components of the items' vectors into an item embedding, at its own scale.

    Items without a vector keep the row that was drawn for them, and so do the last columns where there are fewer
    components than d.

    Args:
        embedding: the backbone's initialised item embedding [N + 1, d], or longer where it has more than items.
        knowledge: with rows [N + 1, H].
        seed: the seed of the randomised solver that scikit-learn takes for large tables.
    """
    vectors = knowledge.rows[knowledge.present]  # [n, H]
    dimension = min(embedding.embedding_dim, *vectors.shape)
    coordinates = PrincipalComponents.of(vectors, dimension, seed)(vectors)  # [n, k]
    weight = embedding.weight.detach()  # [N + 1, d]
    scale = weight[1:].std() / coordinates.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    place = knowledge.present.nonzero().squeeze(1)
    weight[place, :dimension] = (coordinates * scale).to(weight.dtype)
