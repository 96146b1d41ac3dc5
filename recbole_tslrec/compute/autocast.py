"""The floating-point type that autocast computes in."""

import torch
from torch import Tensor


def computing_dtype(tensor: Tensor) -> torch.dtype:
    """The type that a product with ``tensor`` is computed in: autocast's where it is on, else the tensor's own."""
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensor.dtype
