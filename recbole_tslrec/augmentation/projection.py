"""p_v, the knowledge of every item in the space of the ID embeddings: frozen rows and a learned projection."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recbole_tslrec.augmentation.knowledge import Knowledge
from recbole_tslrec.augmentation.standardisation import standardise
from recbole_tslrec.compute.autocast import computing_dtype


class KnowledgeProjection(nn.Module):
    """p_v = Linear(H -> d)(h^v) for every item; items without a vector share a learned default.

    The knowledge rows are frozen and standardised once, over the items that have one: centred, and divided so that
    their root-mean-square norm is 1. A linear layer can undo both, so nothing is lost; but the step size and the start
    no longer depend on the scale of the LLM's hidden states, nor on the large component that they all share.

    Args:
        knowledge: h, with rows [N + 1, H].
        dimension: d.

    Attributes:
        knowledge: the standardised rows, [N + 1, H].
        center: what was subtracted, float64 [H].
        norm: what they were divided by, float64 [].
        pca_center: the center of the principal components, if the rows are such; [width of the vectors].
        pca_axes: their axes; [width of the vectors, H].
        present: whether an item has a vector, bool [N + 1]; ``None`` if all have.
        default: p of an item without a vector, [d]; ``None`` if all have one.
    """

    knowledge: Tensor
    center: Tensor
    norm: Tensor
    pca_center: Tensor | None
    pca_axes: Tensor | None
    present: Tensor | None
    default: nn.Parameter | None

    def __init__(self, knowledge: Knowledge, dimension: int) -> None:
        super().__init__()
        knowledge = knowledge.standardised()
        rows, present, components = knowledge.rows, knowledge.present, knowledge.components
        complete = knowledge.is_complete
        self.register_buffer("knowledge", rows)  # shared by all models and tables that fuse it, which change nothing
        self.register_buffer("center", knowledge.center)
        self.register_buffer("norm", knowledge.norm)
        # copies: two tables fuse the same knowledge in some backbones, and safetensors refuses shared tensors
        self.register_buffer("pca_center", None if components is None else components.center.clone())
        self.register_buffer("pca_axes", None if components is None else components.axes.clone())
        self.register_buffer("present", None if complete else present.clone())
        self.linear = nn.Linear(rows.shape[1], dimension)
        self.default = None if complete else nn.Parameter(torch.zeros(dimension))
        self._cast: tuple[Tensor, tuple[int, int]] | None = None
        self.register_load_state_dict_pre_hook(_check_saved)  # type: ignore[no-untyped-call]

    @property
    def item_rows(self) -> int:
        """N + 1."""
        return len(self.knowledge)

    @property
    def vector_width(self) -> int:
        """The width of the vectors as they were given."""
        return len(self.center if self.pca_center is None else self.pca_center)

    def reset_scale(self, std: float) -> None:
        """Start with projected knowledge of standard deviation ``std``: rows of norm 1 keep that of the weights."""
        nn.init.normal_(self.linear.weight, std=std)
        nn.init.zeros_(self.linear.bias)
        if self.default is not None:
            nn.init.normal_(self.default, std=std)

    def forward(self) -> Tensor:
        """-> [N + 1, d]."""
        return self._project(self._frozen(), self.present)

    def rows(self, ids: Tensor) -> Tensor:
        """The rows of ``ids`` [n] only -> [n, d]."""
        return self._project(self._frozen()[ids], None if self.present is None else self.present[ids])

    def standardised(self, vectors: Tensor) -> Tensor:
        """Vectors [n, width] of new items as the rows of ``knowledge`` are -> [n, H], by the statistics of the old."""
        if self.pca_center is not None and self.pca_axes is not None:
            vectors = (vectors - self.pca_center) @ self.pca_axes
        return standardise(vectors, self.center, self.norm)

    def _project(self, frozen: Tensor, present: Tensor | None) -> Tensor:
        projected: Tensor = self.linear(frozen)
        if present is None or self.default is None:
            return projected
        return torch.where(present.unsqueeze(1), projected, self.default)

    def _frozen(self) -> Tensor:
        """The knowledge in the type that autocast computes in: cast once, where autocast would do so in every step.

        Measured on 12,101 rows of 4,096 with two cores, forward and backward, min of 7: 87 ms in float32, 54 ms with
        autocast's own casts, 24 ms so. Without bfloat16 units (AVX-512 only) 88, 124 and 91 ms.
        """
        dtype = computing_dtype(self.knowledge)
        if dtype == self.knowledge.dtype:
            return self.knowledge
        made_of = (self.knowledge.data_ptr(), self.knowledge._version)
        if self._cast is None or self._cast[0].dtype != dtype or self._cast[1] != made_of:
            self._cast = self.knowledge.to(dtype), made_of
        return self._cast[0]


def frozen_rows(model: nn.Module) -> dict[str, Tensor]:
    """The knowledge in a model, by its names in the state: not trained, and as large as its artifact."""
    modules = model.named_modules(remove_duplicate=False)  # some backbones have a table under two names
    return {f"{name}.knowledge": it.knowledge for name, it in modules if isinstance(it, KnowledgeProjection)}


def _check_saved(module: nn.Module, saved: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    """Before weights are loaded: say in one sentence that they belong to other vectors."""
    assert isinstance(module, KnowledgeProjection)
    center = saved.get(f"{prefix}pca_center", saved.get(f"{prefix}center"))
    if center is not None and len(center) != module.vector_width:
        raise ValueError(
            f"the saved model was trained with item vectors of width {len(center)}, knowledge_path now gives width "
            f"{module.vector_width}; give it the vectors it was trained with, or train again"
        )
