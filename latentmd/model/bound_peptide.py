"""A model of many peptides bound to one of them: the interface of a surrogate of one molecule."""

import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import networkx
import torch
from torch import Tensor, nn

from latentmd.arrays import Floats
from latentmd.core.steps.torsions import NOW
from latentmd.decoders.residues import ResidueDecoder
from latentmd.model.peptides import PeptideModel
from latentmd.molecule.chain import Chain

_CLASH = 0.2  # nm between heavy atoms more than two bonds apart, as the structure checks have it
_TRIES = 4  # draws of a step or of a structure, until one has no clash


class BoundPeptide(nn.Module):
    """`encode`, `step`, `mean_step` and `decode` of one peptide; equal noise gives equal results.

    Args:
        model: of many peptides.
        chain: the peptide.

    Raises:
        KeyError: the peptide has a residue, in its place in the chain, that the model was not trained on.
    """

    def __init__(self, model: PeptideModel, chain: Chain) -> None:
        super().__init__()
        self.model = model
        self.decoder = ResidueDecoder(chain, model.table)
        self.n_atoms = chain.record.n_atoms
        self.register_buffer("types", torch.from_numpy(chain.types).unsqueeze(0))
        self.register_buffer("mask", torch.from_numpy(chain.mask).unsqueeze(0))
        self.register_buffer("pairs", _clash_pairs(chain))
        self.register_buffer("inverse", torch.linalg.inv(model.basis.matrix.double()).float())
        self.torsion_noise = int(chain.mask.size)
        self.step_noise = _TRIES * self.torsion_noise
        self.draw_noise = self.torsion_noise + self.decoder.noise_size
        self.decode_noise = _TRIES * self.draw_noise

    types: Tensor
    mask: Tensor
    pairs: Tensor
    inverse: Tensor

    def angles(self, positions: Tensor) -> Tensor:
        """Torsions [batch, tokens, slots] of positions [batch, atoms, 3] nm."""
        return self.decoder.angles(positions)

    def encode(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, atoms, 3] nm → slow [batch, tokens, k] and fast [batch, tokens, m] axes."""
        z = self.model.encoder(self.angles(positions), self.types, self.mask)
        slow, fast = self.model.basis(z, self.types)
        return slow, fast

    def draw(self, slow: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Torsions [batch, tokens, slots] a lag later; standard normal noise [batch, tokens · slots].

        Args:
            slow: latent tokens [batch, tokens, axes].
            lag: shape [batch], ps.
            noise: standard normal [batch, tokens · slots].
        """
        types, mask = self.types.expand(slow.shape[0], -1, -1), self.mask.expand(slow.shape[0], -1, -1)
        uniform = 0.5 * (1 + torch.erf(noise.reshape(mask.shape) / math.sqrt(2.0)))
        return self.model.step.sample(slow, types, mask, lag, uniform.clamp(1e-6, 1 - 1e-6))

    def step(self, slow: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """One stochastic latent step of lag [batch] ps with standard normal noise [batch, step_noise].

        Torsions that clash in mean bond lengths and angles are drawn again: the law is that of the model, without them.

        Args:
            slow: latent tokens [batch, tokens, axes].
            lag: shape [batch], ps.
            noise: standard normal [batch, step_noise].
        """
        parts = noise.split(self.torsion_noise, dim=1)
        angles = self.draw(slow, lag, parts[0])
        for part in parts[1:]:
            still = slow.new_zeros(slow.shape[0], self.decoder.noise_size)
            again = self.clashes(self.decoder(angles, still)).nonzero().squeeze(1)
            if len(again) == 0:
                break
            angles[again] = self.draw(slow[again], lag[again], part[again])
        return self.model.encode(angles, self.types, self.mask)

    def mean_step(self, slow: Tensor, lag: Tensor) -> Tensor:
        """Conditional mean of a step of lag [batch] ps, in the shape of `slow`. Never histogram its rollouts."""
        kind = self.types[..., 0]
        axes = torch.nn.functional.pad(slow, (0, self.model.config.dim - slow.shape[-1]))
        z = self.model.basis.mean[kind] + (axes.unsqueeze(-2) @ self.inverse[kind]).squeeze(-2)
        later = self.model.predictor.step(z, lag, slow.new_zeros(slow.shape[0], 0))
        out: Tensor = self.model.basis(later, self.types)[0]
        return out

    def decode(self, slow: Tensor, noise: Tensor) -> Tensor:
        """Draw structures of slow axes: [batch, atoms, 3] nm, centred; clashing ones are drawn again."""
        parts = noise.split(self.draw_noise, dim=1)
        out = self._structures(slow, parts[0])
        for part in parts[1:]:
            again = self.clashes(out).nonzero().squeeze(1)
            if len(again) == 0:
                break
            out[again] = self._structures(slow[again], part[again])
        return out

    def _structures(self, slow: Tensor, noise: Tensor) -> Tensor:
        now = torch.full((slow.shape[0],), NOW, dtype=slow.dtype, device=slow.device)
        angles = self.draw(slow, now, noise[:, : self.torsion_noise])
        return self.decoder(angles, noise[:, self.torsion_noise :])

    def clashes(self, positions: Tensor) -> Tensor:
        """Whether heavy atoms of a structure are too near to each other, [batch] bool."""
        difference = positions[:, self.pairs[:, 0]] - positions[:, self.pairs[:, 1]]
        out: Tensor = (difference.square().sum(-1) < _CLASH**2).any(dim=1)
        return out


def bind(topology: Any, positions: Floats, path: Path | None = None) -> BoundPeptide:
    """Bind a model of many peptides to one of them.

    The model was not trained on the peptide: what it says of it is a guess from other sequences.

    Args:
        topology: of OpenMM or mdtraj; a linear peptide of 1 to 8 residues with hydrogens, charged or capped ends.
        positions: a structure, from which handedness is read, nm, shape (atoms, 3).
        path: of the model; the bundled one where None.

    Raises:
        ChainError: not such a peptide.
        KeyError: a residue, in its place in the chain, that the model was not trained on.
    """
    from latentmd.molecule.chain import chain

    found = Path(str(files("latentmd.model").joinpath("peptides.pt"))) if path is None else path
    return BoundPeptide(PeptideModel.load(found), chain(topology, positions))


def _clash_pairs(chain: Chain) -> Tensor:
    """Pairs of heavy atoms more than two bonds apart, [pairs, 2]."""
    graph = networkx.Graph(list(chain.record.bonds))
    near = dict(networkx.all_pairs_shortest_path_length(graph, cutoff=2))
    heavy = [i for i, symbol in enumerate(chain.record.symbols) if symbol != "H"]
    return torch.tensor([(i, j) for i in heavy for j in heavy if i < j and j not in near[i]]).reshape(-1, 2)
