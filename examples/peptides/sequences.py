"""Print the peptides of the transferable model's data set: one line per peptide, split, name and residues.

    python examples/peptides/sequences.py > examples/peptides/sequences.txt

Splits: `test` (never trained on, no choice is made on it), `validation` (model choices), `train`. Every random peptide
is drawn with a fixed seed; residue types are drawn without replacement from shuffled alphabets, so that rare types come
as often as others. A sequence of `test` or `validation` is in `train` neither with charged ends nor capped.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

ALPHABET = "ACDEFGHIKLMNPQRSTVWY"
NAMES = dict(
    zip(
        "ARNDCQEGHILKMFPSTWYV",
        "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split(),
        strict=True,
    )
)
#: Other protonation states that ff14SB describes; at the ends of a chain only histidine has them.
STATES = {"H": ("HIP", "HID"), "D": ("ASH",), "E": ("GLH",), "K": ("LYN",)}
HELD_OUT = ("GTLM", "AEFN", "VKSY")
FIRST = 143  # random tetrapeptides, drawn independently of each other


def independent_tetrapeptides(count: int) -> list[str]:
    """The first `count` of a stream of independent random tetrapeptides without the held-out ones."""
    rng = np.random.default_rng(2026)
    found: list[str] = []
    while len(found) < count:
        letters = "".join(rng.choice(list(ALPHABET), 4))
        if letters not in HELD_OUT and letters not in found:
            found.append(letters)
    return found


def balanced(length: int, seed: int) -> Iterator[str]:
    """An endless stream of random sequences in which every residue type comes equally often."""
    rng = np.random.default_rng(seed)
    bag: list[str] = []
    while True:
        while len(bag) < length:
            bag += list(rng.permutation(list(ALPHABET)))
        yield "".join(bag[:length])
        bag = bag[length:]


def take(stream: Iterator[str], count: int, taken: set[str]) -> list[str]:
    """The next `count` sequences that are not taken yet; takes them."""
    chosen: list[str] = []
    while len(chosen) < count:
        sequence = next(stream)
        if sequence not in taken:
            taken.add(sequence)
            chosen.append(sequence)
    return chosen


def peptide(sequence: str, capped: bool, rng: np.random.Generator | None = None) -> tuple[str, list[str]]:
    """Name and residues of a peptide; with a generator, titratable residues are in another state at times."""
    residues = [NAMES[letter] for letter in sequence]
    name = f"ace-{sequence}-nme" if capped else sequence
    if rng is not None:
        for i, letter in enumerate(sequence):
            inner = capped or 0 < i < len(sequence) - 1
            states = STATES.get(letter, ()) if inner or letter == "H" else ()
            if states and rng.random() < 0.25:
                residues[i] = str(rng.choice(states))
                name += f"_{residues[i].lower()}{i + 1}"
    return name, ["ACE", *residues, "NME"] if capped else residues


def data_set() -> list[tuple[str, str, list[str]]]:
    """Split, name and residues of every peptide, in the order in which they matter."""
    first = independent_tetrapeptides(FIRST)
    taken = set(first)
    streams = {length: balanced(length, 100 + length) for length in range(1, 9)}
    rows: list[tuple[str, str, list[str]]] = []

    def add(split: str, sequences: list[str], capped: bool = False, states: int | None = None) -> None:
        rng = None if states is None else np.random.default_rng(states)
        rows.extend((split, *peptide(sequence, capped, rng)) for sequence in sequences)

    def new(length: int, count: int) -> list[str]:
        return take(streams[length], count, taken)

    taken.update(HELD_OUT)
    add("test", [*HELD_OUT, *new(4, 9)])
    add("test", [*new(1, 2), *new(2, 2)], capped=True)
    for length in (5, 6, 7, 8):
        add("test", new(length, 1))
    add("validation", new(4, 12))
    add("validation", [*new(1, 2), *new(2, 2)], capped=True)
    add("train", first)
    add("train", new(1, len(ALPHABET) - 4), capped=True)
    add("train", new(4, 500), states=1)
    add("train", new(3, 120), states=2)
    add("train", new(2, 100), states=3)
    add("train", new(2, 60), capped=True, states=4)
    add("train", [*new(3, 30), *new(4, 30)], capped=True, states=5)
    return rows


def main() -> None:
    """Print the table."""
    for split, name, residues in data_set():
        print(split, name, "-".join(residues))


if __name__ == "__main__":
    main()
