"""The viscous Burgers' equation u_t + (u²/2)_x = ν u_xx on a periodic interval of length 2π, solved spectrally."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Fields = NDArray[np.float64]

LENGTH = 2 * np.pi


def points(n: int) -> Fields:
    """The n grid points, shape (n,)."""
    grid: Fields = np.linspace(0, LENGTH, n, endpoint=False)
    return grid


def random_waves(rng: np.random.Generator, *, count: int, n: int, modes: int = 4) -> Fields:
    """Initial states: a drift of up to ±0.25 and `modes` waves with amplitudes falling as 1/k, their peak at 1.

    Returns:
        Shape (count, n).
    """
    k = np.arange(1, modes + 1)
    amplitude = rng.standard_normal((count, modes)) / k
    phase = rng.uniform(0, LENGTH, (count, modes))
    waves = np.einsum("bk,bkn->bn", amplitude, np.sin(k[:, None] * points(n) + phase[..., None]))
    waves /= np.abs(waves).max(axis=1, keepdims=True)
    states: Fields = rng.uniform(-0.25, 0.25, (count, 1)) + waves
    return states


def solve(start: Fields, viscosity: Fields | float, *, time: float, steps: int) -> Fields:
    """Bring states forward by `time`: Fourier in space, and in time Runge–Kutta of order 4 with exact diffusion.

    The advection term is a derivative, so its mean is zero: mass is conserved to rounding. Products are cut at two
    thirds of the spectrum, where they would alias.

    Args:
        start: Shape (B, N), point values.
        viscosity: ν > 0, for all, or one for each state in shape (B,). The grid has to resolve a shock, which is about
            4ν wide for jumps of 1.
        steps: Of equal length; advection needs time / steps below about 2.8 · 3 / (N · max|u|).

    Returns:
        Shape (B, N).

    Raises:
        FloatingPointError: The steps are too long: a state grew beyond all bounds.
    """
    n = start.shape[-1]
    k = np.fft.rfftfreq(n, d=1 / n)
    nu = np.broadcast_to(np.asarray(viscosity, dtype=float), start.shape[:1])[:, None]
    dt = time / steps
    half = np.exp(-nu * k**2 * dt / 2)
    advect = -0.5j * k * (k < n / 3)

    def slope(u_hat: NDArray[np.complex128]) -> NDArray[np.complex128]:
        u = np.fft.irfft(u_hat, n)
        moved: NDArray[np.complex128] = advect * np.fft.rfft(u * u)
        return moved

    u_hat = np.fft.rfft(start)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            a = slope(u_hat)
            b = slope(half * (u_hat + dt / 2 * a))
            c = slope(half * u_hat + dt / 2 * b)
            d = slope(half * (half * u_hat + dt * c))
            u_hat = half**2 * (u_hat + dt / 6 * a) + dt / 3 * half * (b + c) + dt / 6 * d
        end: Fields = np.fft.irfft(u_hat, n)
    if not np.isfinite(end).all():
        raise FloatingPointError(f"{steps} steps are too few for time {time:g} on {n} points; take more")
    return end


def cell_means(u: Fields, n: int) -> Fields:
    """Means over n equal cells, shape (B, n): coarser without losing any mass.

    Raises:
        ValueError: The grid does not divide into n cells.
    """
    if u.shape[-1] % n:
        raise ValueError(f"{u.shape[-1]} points do not make {n} equal cells")
    means: Fields = u.reshape(*u.shape[:-1], n, -1).mean(axis=-1)
    return means
