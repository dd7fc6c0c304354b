"""The torch-only core: JEPA, objectives, predictors, rollouts and noise. It knows no atoms and no engines."""
