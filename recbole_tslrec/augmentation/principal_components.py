"""Principal components of item vectors, computed once: a narrow frozen input makes a cheap gate."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PrincipalComponents:
    """The map from vectors to their first principal components.

    Attributes:
        center: the mean vector, float32 [H].
        axes: a column for each component, float32 [H, k]; of norm 1, or divided by the component's standard deviation
            (whitening).
    """

    center: Tensor
    axes: Tensor

    @classmethod
    def of(cls, vectors: Tensor, dimension: int, whiten: bool, seed: int) -> "PrincipalComponents":
        """Find them.

        Args:
            vectors: [n, H].
            dimension: k, at most n and H.
            whiten: whether components get unit variance; one without any variance stays zero.
            seed: the seed of the randomised solver that scikit-learn takes for large n and H.
        """
        from sklearn.decomposition import PCA  # here: most runs need none of scikit-learn

        center = vectors.mean(dim=0, dtype=torch.float64).float()
        # centred before scikit-learn sees them: beside a large common part, its float32 covariance would lose the rest
        pca = PCA(dimension, random_state=seed).fit((vectors - center).numpy())
        axes = torch.from_numpy(pca.components_.T)  # [H, k]
        if whiten:
            variance = torch.from_numpy(pca.explained_variance_)  # [k]
            noise = torch.finfo(variance.dtype).eps * variance.max()
            axes = torch.where(variance > noise, axes / variance.clamp_min(noise).sqrt(), 0)
        return cls(center, axes.float().contiguous())

    def __call__(self, vectors: Tensor) -> Tensor:
        """[n, H] -> [n, k]."""
        return (vectors - self.center) @ self.axes
