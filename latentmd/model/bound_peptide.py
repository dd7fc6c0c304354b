"""A model of many peptides bound to one of them: the interface of a surrogate of one molecule."""

# No postponed annotations here: torch.jit.script reads them.
import networkx
import torch
from torch import Tensor, nn

from latentmd.core.steps.tilt import Tilt
from latentmd.decoders.residues import ResidueDecoder
from latentmd.model.manifest import NO_ENERGY
from latentmd.model.peptides import PeptideModel
from latentmd.molecule.chain import Chain

_CLASH = 0.2  # nm between heavy atoms more than two bonds apart, as the structure checks have it
_TRIES = 4  # draws of a step or of a structure, until one has no clash


class BoundPeptide(nn.Module):
    """`encode`, `step`, `mean_step`, `decode` and `reconstruct` of one peptide; equal noise gives equal results.

    A token holds its slow axes, then cosines and sines of the residue's torsions (0 where there is none): a step draws
    torsions, and a structure shows those that were drawn. TorchScript-able, so that it goes into a model file like a
    surrogate of one molecule. `mirrored`: the chain is the mirror image of a peptide of D residues. KeyError: a
    residue, in its place in the chain, that the model was not trained on.
    """

    def __init__(self, model: PeptideModel, chain: Chain, mirrored: bool = False) -> None:
        super().__init__()
        self.encoder, self.basis, self.drawn, self.mean = model.encoder, model.basis, model.step, model.predictor
        self.tilt: Tilt | None = None
        self.decoder = ResidueDecoder(chain, model.table)
        self.n_atoms, self.n_tokens = int(chain.record.n_atoms), len(chain.names)
        self.dim, self.n_slow = int(model.config.dim), int(model.config.n_slow)
        self.axes = self.n_slow + 2 * int(chain.mask.shape[1])  # of a token
        self.types = nn.Buffer(torch.from_numpy(chain.types).unsqueeze(0))
        self.mask = nn.Buffer(torch.from_numpy(chain.mask).unsqueeze(0))
        self.pairs = nn.Buffer(_clash_pairs(chain))
        self.inverse = nn.Buffer(torch.linalg.inv(model.basis.matrix.double()).float())
        self.hand = nn.Buffer(torch.tensor([1.0, 1.0, -1.0 if mirrored else 1.0]))
        self.clash, self.no_energy = _CLASH**2, NO_ENERGY
        self.torsion_noise = int(chain.mask.size)
        self.move_noise = self.torsion_noise
        self.step_noise = _TRIES * self.move_noise
        self.draw_noise = self.torsion_noise + self.decoder.noise_size
        self.decode_noise = _TRIES * self.draw_noise

    def take(self, tilt: Tilt) -> None:
        """Tilt every step from now on."""
        self.tilt, self.move_noise = tilt, tilt.proposals * self.torsion_noise + 1
        self.step_noise = _TRIES * self.move_noise

    @torch.jit.export
    def angles(self, positions: Tensor) -> Tensor:
        """Torsions [batch, tokens, slots] of positions [batch, atoms, 3] nm; of the mirror image of a D peptide."""
        return self.decoder.angles(positions * self.hand)

    @torch.jit.export
    def latent(self, angles: Tensor) -> Tensor:
        """Slow axes [batch, tokens, k] of torsions [batch, tokens, slots]."""
        slow: Tensor = self.basis(self.encoder(angles, self.types, self.mask), self.types)[0]
        return slow

    @torch.jit.export
    def state(self, angles: Tensor) -> Tensor:
        """Tokens [batch, tokens, axes] of torsions [batch, tokens, slots]: slow axes, cosines and sines."""
        return self.joined(self.latent(angles), angles)

    @torch.jit.export
    def joined(self, slow: Tensor, angles: Tensor) -> Tensor:
        """Tokens [batch, tokens, axes] of slow axes [batch, tokens, k] and torsions [batch, tokens, slots]."""
        weight = self.mask.to(angles.dtype)
        return torch.cat([slow, angles.cos() * weight, angles.sin() * weight], dim=-1)

    @torch.jit.export
    def from_waves(self, waves: Tensor) -> Tensor:
        """Tokens of cosines and sines [batch, tokens, 2 · slots], of which only the direction counts."""
        cosines, sines = waves.chunk(2, dim=-1)
        return self.state(torch.atan2(sines, cosines))

    @torch.jit.export
    def torsions(self, slow: Tensor) -> Tensor:
        """Torsions [batch, tokens, slots] of tokens [batch, tokens, axes]."""
        cosines, sines = slow[..., self.n_slow :].chunk(2, dim=-1)
        return torch.atan2(sines, cosines) * self.mask.to(slow.dtype)

    @torch.jit.export
    def encode(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, atoms, 3] nm → tokens [batch, tokens, axes] and fast [batch, tokens, m] axes."""
        angles = self.angles(positions)
        slow, fast = self.basis(self.encoder(angles, self.types, self.mask), self.types)
        return self.joined(slow, angles), fast

    @torch.jit.export
    def log_arrival(self, slow: Tensor, lag: Tensor, end: Tensor) -> Tensor:
        """ln of the density, per radian of each torsion, of a step to the torsions of one token set, [batch]."""
        types, mask = self.types.expand(slow.shape[0], -1, -1), self.mask.expand(slow.shape[0], -1, -1)
        angles = self.torsions(end.unsqueeze(0)).expand(slow.shape[0], -1, -1)
        out: Tensor = self.drawn.log_likelihood(slow[..., : self.n_slow], types, mask, lag, angles)
        return out.sum(dim=[1, 2])

    @torch.jit.export
    def draw(self, slow: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Torsions [draws, tokens, slots] a lag later, without the tilt; normal noise [draws, tokens · slots]."""
        types, mask = self.types.expand(slow.shape[0], -1, -1), self.mask.expand(slow.shape[0], -1, -1)
        uniform = 0.5 * (1 + torch.erf(noise.reshape(-1, mask.shape[1], mask.shape[2]) / 2.0**0.5))
        return self.drawn.sample(slow[..., : self.n_slow], types, mask, lag, uniform.clamp(1e-6, 1 - 1e-6))

    @torch.jit.export
    def move(self, slow: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Torsions [batch, tokens, slots] a lag later, one of the tilt's proposals; noise [batch, move_noise]."""
        if self.tilt is None:
            return self.draw(slow, lag, noise)
        rows = noise[:, 1:].reshape(len(slow), self.tilt.proposals, -1).transpose(0, 1).flatten(0, 1)
        return self.tilt.chosen(self.draw(slow, lag, rows), 0.5 * (1 + torch.erf(noise[:, 0] / 2.0**0.5)))

    @torch.jit.export
    def told_step(
        self, slow: Tensor, lag: Tensor, noise: Tensor, angles: Tensor, known: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A step [batch, tokens, axes] with known [tokens, slots] angles given (infinite lag: from equilibrium).

        And ln of the density of the given torsions, given those drawn before them [batch]: the weight of each.
        """
        types, mask = self.types.expand(slow.shape[0], -1, -1), self.mask.expand(slow.shape[0], -1, -1)
        uniform = (0.5 * (1 + torch.erf(noise.reshape(mask.shape) / 2.0**0.5))).clamp(1e-6, 1 - 1e-6)
        told = angles.unsqueeze(0).expand(mask.shape)
        drawn, weight = self.drawn.complete(
            slow[..., : self.n_slow], types, mask, lag, uniform, angles=told, known=known.unsqueeze(0)
        )
        return self.state(drawn), weight

    @torch.jit.export
    def step(self, slow: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """One latent step of lag [batch] ps with normal noise [batch, step_noise]; torsions that clash are redrawn."""
        parts = noise.split(self.move_noise, dim=1)
        angles = self.move(slow, lag, parts[0])
        still = slow.new_zeros(slow.shape[0], self.decoder.noise_size)
        for part in parts[1:]:
            again = self.clashes(self.decoder(angles, still)).nonzero().squeeze(1)
            if len(again) == 0:
                break
            angles[again] = self.move(slow[again], lag[again], part[again])
        return self.state(angles)

    @torch.jit.export
    def mean_step(self, slow: Tensor, lag: Tensor) -> Tensor:
        """Mean slow axes after a lag [batch] ps, with the torsions most likely there. Never histogram its rollouts."""
        kind = self.types[..., 0]
        axes = torch.nn.functional.pad(slow[..., : self.n_slow], [0, self.dim - self.n_slow])
        z = self.basis.mean[kind] + (axes.unsqueeze(-2) @ self.inverse[kind]).squeeze(-2)
        mean, _ = self.basis(self.mean.step(z, lag, slow.new_zeros(slow.shape[0], 0)), self.types)
        return self.joined(mean, self.likely(mean))

    @torch.jit.export
    def likely(self, slow: Tensor) -> Tensor:
        """The most likely torsions [batch, tokens, slots] of slow axes [batch, tokens, k]."""
        mask, now = self.mask.expand(slow.shape[0], -1, -1), slow.new_zeros(slow.shape[0])
        types = self.types.expand(slow.shape[0], -1, -1)
        return self.drawn.sample(slow, types, mask, now, uniform=slow.new_zeros(mask.shape), most_likely=True)

    @torch.jit.export
    def decode(self, slow: Tensor, noise: Tensor) -> Tensor:
        """Structures [batch, atoms, 3] nm of tokens, centred; where atoms clash, torsions are drawn again too."""
        parts = noise.split(self.draw_noise, dim=1)
        out: Tensor = self.decoder(self.torsions(slow), parts[0][:, self.torsion_noise :])
        for part in parts[1:]:
            again = self.clashes(out).nonzero().squeeze(1)
            if len(again) == 0:
                break
            out[again] = self.structures(slow[again], part[again])
        return out * self.hand

    @torch.jit.export
    def structures(self, slow: Tensor, noise: Tensor) -> Tensor:
        """One structure of each token set with torsions drawn from its slow axes, whether atoms clash or not."""
        angles = self.draw(slow, slow.new_zeros(slow.shape[0]), noise[:, : self.torsion_noise])
        out: Tensor = self.decoder(angles, noise[:, self.torsion_noise :])
        return out

    @torch.jit.export
    def reconstruct(self, slow: Tensor, fast: Tensor, noise: Tensor) -> Tensor:
        """The torsions of tokens in mean bond lengths and angles; fast axes and noise are not used."""
        out: Tensor = self.decoder(self.torsions(slow), slow.new_zeros(slow.shape[0], self.decoder.noise_size))
        return out * self.hand

    @torch.jit.export
    def energy(self, positions: Tensor) -> Tensor:
        """Refused with a RuntimeError: the model has no energy."""
        if positions.numel() >= 0:
            raise RuntimeError(self.no_energy)
        return positions

    @torch.jit.export
    def latent_energy(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        """Refused, as `energy` is."""
        if slow.numel() >= 0:
            raise RuntimeError(self.no_energy)
        return slow, fast

    @torch.jit.export
    def clashes(self, positions: Tensor) -> Tensor:
        """Whether heavy atoms of a structure are too near to each other, [batch] bool."""
        difference = positions[:, self.pairs[:, 0]] - positions[:, self.pairs[:, 1]]
        return (difference.square().sum(-1) < self.clash).any(dim=1)

    def forward(self, positions: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Positions [batch, atoms, 3] nm → positions a step later; noise [batch, step_noise + decode_noise]."""
        slow, _ = self.encode(positions)
        return self.decode(self.step(slow, lag, noise[:, : self.step_noise]), noise[:, self.step_noise :])


def _clash_pairs(chain: Chain) -> Tensor:
    """Pairs of heavy atoms more than two bonds apart, [pairs, 2]."""
    near = dict(networkx.all_pairs_shortest_path_length(networkx.Graph(list(chain.record.bonds)), cutoff=2))
    heavy = [i for i, symbol in enumerate(chain.record.symbols) if symbol != "H"]
    return torch.tensor([(i, j) for i in heavy for j in heavy if i < j and j not in near[i]]).reshape(-1, 2)
