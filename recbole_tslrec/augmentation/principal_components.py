"""Principal components of item vectors, computed once: a narrow frozen input makes a cheap gate."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PrincipalComponents:
    """The map from vectors to their first principal components.

    Attributes:
        center: the mean vector, float32 [H].
        axes: a column of norm 1 for each component, float32 [H, k].
    """

    center: Tensor
    axes: Tensor

    @classmethod
    def of(cls, vectors: Tensor, dimension: int, seed: int) -> "PrincipalComponents":
        """Find them.

        Args:
            vectors: [n, H].
            dimension: k, at most n and H.
            seed: the seed of the randomised solver that scikit-learn takes for large n and H.
        """
        from sklearn.decomposition import PCA  # here: most runs need none of scikit-learn

        center = vectors.mean(dim=0, dtype=torch.float64).float()
        # centred before scikit-learn sees them: beside a large common part, its float32 covariance would lose the rest
        pca = PCA(dimension, random_state=seed).fit((vectors - center).numpy())
        return cls(center, torch.from_numpy(pca.components_.T).float().contiguous())

    def __call__(self, vectors: Tensor) -> Tensor:
        """[n, H] -> [n, k]."""
        return (vectors - self.center) @ self.axes
