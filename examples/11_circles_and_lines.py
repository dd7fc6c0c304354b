"""Points on noisy circles and lines: predict their representation. `python 11_circles_and_lines.py [STEPS]`."""

import sys

from latentmd import train_world

# `latentmd train world circles --out circles` takes the recipe's number of steps.
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 40
stage = {"steps": STEPS, "batch": 32}

for name in ("circles", "lines"):
    changes = {
        "maps": ["PCA"],
        "data": {"train": 40, "test": 10},
        "encoder": {"width": 24},
        "jepa": stage,
        "predictor": stage,
        "decoder": stage,
    }
    result = train_world(name, name, changes=changes, overwrite=True)
    print(f"{name}, {STEPS} steps per stage")
    for predictor, row in result.figures["predictors"].items():
        step = row["one_step"]
        print(f"  {predictor:<12} one step ahead: cosine {step['cosine']:.3f}, R² {step['r2']:.3f}")
    probes = ", ".join(f"{probe} {r2:.3f}" for probe, r2 in result.figures["probe_r2"].items())
    print(f"  what the latent holds, R² of linear probes: {probes}")
