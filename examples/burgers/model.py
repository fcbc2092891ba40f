"""A small Fourier neural operator: from a state and its viscosity to the state one time unit later."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SpectralConv(nn.Module):
    """A convolution over the whole interval, written as one matrix for each of the lowest wave numbers."""

    def __init__(self, width: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(torch.randn(modes, width, width, 2) / width)

    def forward(self, v: Tensor) -> Tensor:
        """Shape (B, width, N) to (B, width, N)."""
        v_hat = torch.fft.rfft(v)[..., : self.modes]
        mixed = torch.einsum("bik,kio->bok", v_hat, torch.view_as_complex(self.weight))
        return torch.fft.irfft(mixed, n=v.shape[-1])


class Surrogate(nn.Module):
    """Predicts the change of the state, so that doing nothing is where it begins."""

    def __init__(self, width: int = 20, modes: int = 16, layers: int = 3) -> None:
        super().__init__()
        self.lift = nn.Conv1d(2, width, 1)
        self.spectral = nn.ModuleList(SpectralConv(width, modes) for _ in range(layers))
        self.local = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=1, padding_mode="circular") for _ in range(layers)
        )
        self.project = nn.Sequential(nn.Conv1d(width, 2 * width, 1), nn.GELU(), nn.Conv1d(2 * width, 1, 1))

    def forward(self, state: Tensor, viscosity: Tensor) -> Tensor:
        """States of shape (B, N) and viscosities of shape (B,) to states of shape (B, N)."""
        nu = (torch.log10(viscosity) + 1)[:, None].expand_as(state)
        v = self.lift(torch.stack([state, nu], dim=1))
        for spectral, local in zip(self.spectral, self.local, strict=True):
            v = v + functional.gelu(spectral(v) + local(v))
        change: Tensor = self.project(v)[:, 0]
        return state + change
