"""The trained parts in one module: what a bundle holds and engines call."""

import torch
from torch import Tensor, nn

from latentmd.core.basis import LatentBasis
from latentmd.core.steps.flow import ConditionalFlow
from latentmd.decoders.torsions import TorsionDecoder
from latentmd.encoders.egnn import AtomEncoder
from latentmd.heads.energy import EnergyHead, LatentEnergyHead


class Surrogate(nn.Module):
    """Encoder, basis, predictor, sampler of the fast axes, decoder and, where energies are known, energy heads."""

    def __init__(
        self,
        encoder: AtomEncoder,
        basis: LatentBasis,
        predictor: nn.Module,
        fast: ConditionalFlow,
        decoder: TorsionDecoder,
        energy_head: EnergyHead | None = None,
        latent_energy_head: LatentEnergyHead | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.basis, self.predictor = encoder, basis, predictor
        self.fast, self.decoder = fast, decoder
        self.energy_head, self.latent_energy_head = energy_head, latent_energy_head
        self.n_atoms = decoder.n_atoms
        self.step_noise = int(predictor.noise_size)  # type: ignore[arg-type]
        self.fast_noise = fast.noise_size
        self.decode_noise = fast.noise_size + decoder.noise_size

    @torch.jit.export
    def encode(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, atoms, 3] nm → slow [batch, 1, k] and fast [batch, 1, m] axes."""
        slow, fast = self.basis(self.encoder(positions))
        return slow, fast

    @torch.jit.export
    def step(self, slow: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """One stochastic latent step of lag [batch] ps with standard normal noise [batch, step_noise]."""
        out: Tensor = self.predictor.step(slow, lag, noise)  # type: ignore[operator]
        return out

    @torch.jit.export
    def mean_step(self, slow: Tensor, lag: Tensor) -> Tensor:
        """Conditional mean of a step of lag [batch] ps, in the shape of `slow`. Never histogram its rollouts."""
        out: Tensor = self.predictor.mean_step(slow, lag)  # type: ignore[operator]
        return out

    @torch.jit.export
    def decode(self, slow: Tensor, noise: Tensor) -> Tensor:
        """Draw a structure of slow axes: [batch, atoms, 3] nm, centred, in the decoder's orientation."""
        nothing = torch.zeros(slow.shape[0], 0, dtype=slow.dtype, device=slow.device)
        fast = self.fast.sample(slow, nothing, noise[:, : self.fast_noise])
        return self.reconstruct(slow, fast, noise[:, self.fast_noise :])

    @torch.jit.export
    def reconstruct(self, slow: Tensor, fast: Tensor, noise: Tensor) -> Tensor:
        """Positions of given slow and fast axes; noise [batch, decode_noise − fast_noise] (zeros: no residual)."""
        out: Tensor = self.decoder(torch.cat([slow, fast], dim=-1).flatten(1), noise)
        return out

    @torch.jit.export
    def energy(self, positions: Tensor) -> Tensor:
        """Potential energy [batch] kJ/mol; differentiable, forces are minus its gradient."""
        if self.energy_head is None:
            raise RuntimeError("this model has no energy: the force field of its trajectories is not known")
        out: Tensor = self.energy_head(positions)
        return out

    @torch.jit.export
    def latent_energy(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the potential energy given the axes, [batch] kJ/mol and (kJ/mol)²."""
        if self.latent_energy_head is None:
            raise RuntimeError("this model has no energy: the force field of its trajectories is not known")
        mean, variance = self.latent_energy_head(torch.cat([slow, fast], dim=-1).flatten(1))
        return mean, variance

    def forward(self, positions: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Positions [batch, atoms, 3] nm → positions a step later; noise [batch, step_noise + decode_noise]."""
        slow, _ = self.encode(positions)
        return self.decode(self.step(slow, lag, noise[:, : self.step_noise]), noise[:, self.step_noise :])
