"""Which molecules a model covers, and why another one is not covered; needs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from latentmd.arrays import Floats
from latentmd.molecule.bonds import components
from latentmd.molecule.chemistry import Chemistry, Topology, chemistry
from latentmd.molecule.matching import Answer

_TEMPERATURE_TOLERANCE = 1e-3  # K


class PeptideChemistry(BaseModel):
    """Coverage of a transferable model of chains of standardised residues (HID is HIS).

    `ends` are caps, "" an uncapped end; `lengths` fewest and most residues without caps; `temperature` lowest and
    highest in K; `templates` residues in their place with their atoms, as `latentmd.molecule.chain` writes them; where
    there are none, types are told by name alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["peptides"] = "peptides"
    residues: frozenset[str] = Field(min_length=1)
    ends: frozenset[str] = frozenset({"ACE", "NME"})
    lengths: tuple[int, int]
    temperature: tuple[float, float]
    force_field: tuple[str, ...]
    templates: frozenset[str] = frozenset()

    def covers(
        self,
        topology: Topology,
        temperature: float | None = None,
        force_field: tuple[str, ...] | None = None,
        positions: Floats | None = None,
    ) -> Answer:
        """Answer whether a molecule is covered; temperature (K), force-field files and structure (nm) where given."""
        record = chemistry(topology)
        parts = len(components(record.n_atoms, record.bonds))
        if parts != 1:
            return Answer(f"it consists of {parts} molecules, expected one chain")
        names = _residue_names(record)
        caps = [name for name in (names[0], names[-1]) if name not in self.residues]
        chain = [name for i, name in enumerate(names) if 0 < i < len(names) - 1 or name in self.residues]
        unknown = sorted({*chain} - self.residues)
        if unknown:
            return Answer(f"it holds {', '.join(unknown)}; covered are {', '.join(sorted(self.residues))}")
        foreign = [cap for cap in caps if cap not in self.ends]
        if foreign or (len(caps) < 2 and "" not in self.ends):
            expected = ", ".join(name or "uncapped" for name in sorted(self.ends))
            return Answer(f"its ends are {', '.join(foreign) or 'not both capped'}; covered are {expected}")
        if not self.lengths[0] <= len(chain) <= self.lengths[1]:
            return Answer(f"it has {len(chain)} residues; covered are {self.lengths[0]} to {self.lengths[1]}")
        conditions = self._covers_conditions(temperature, force_field)
        return self._covers_residues(record) and self._covers_hands(record, positions) and conditions

    def _covers_residues(self, record: Chemistry) -> Answer:
        """Protonation states and ends, which names do not tell."""
        if not self.templates:
            return Answer()
        from latentmd.molecule.chain import ChainError, chain_templates

        try:
            found = chain_templates(record)
        except ChainError as error:
            return Answer(str(error))
        missing = [key for key in found if key not in self.templates]
        known = {key.split(":")[0] for key in self.templates}
        named = [key.split(":")[0] if key.split(":")[0] not in known else key for key in missing]
        return Answer(f"it was not trained on {', '.join(sorted(set(named)))}") if missing else Answer()

    def _covers_hands(self, record: Chemistry, positions: Floats | None) -> Answer:
        from latentmd.molecule.chain import hands
        from latentmd.molecule.stereo import cis_peptides

        if positions is None:
            return Answer()
        found, cis = hands(record, positions), cis_peptides(record, positions)
        if any(found) and not all(found):
            return Answer("it has L and D residues; covered are chains of one hand")
        if cis:
            names, plural = _residue_names(record), len(cis) > 1
            named = ", ".join(f"{i + 1} {names[i]}" for i in cis)
            what = f"residues {named} have cis peptide bonds" if plural else f"residue {named} has a cis peptide bond"
            return Answer(f"{what}, and the model holds for trans ones (--mode md and --wall, exact chains, keep cis)")
        return Answer()

    def _covers_conditions(self, temperature: float | None, force_field: tuple[str, ...] | None) -> Answer:
        low, high = self.temperature
        if temperature is not None and not low - _TEMPERATURE_TOLERANCE <= temperature <= high + _TEMPERATURE_TOLERANCE:
            covered = f"covered is {low:g} K" if low == high else f"covered are {low:g} to {high:g} K"
            return Answer(f"the temperature is {temperature:g} K; {covered}")
        if force_field is not None and force_field != self.force_field:
            return Answer(f"the force field is {', '.join(force_field)}; covered is {', '.join(self.force_field)}")
        return Answer()


def _residue_names(record: Chemistry) -> list[str]:
    """Name of each residue, in the order of their first atoms."""
    return list(dict(zip(record.residue_index, record.residues, strict=True)).values())
