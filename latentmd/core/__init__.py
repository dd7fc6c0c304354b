"""The torch-only core: JEPA, objectives, predictors and noise. It knows no atoms and no engines."""
