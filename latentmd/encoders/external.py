"""Frozen encoders that were trained elsewhere: any torch module, and V-JEPA 2 through `transformers`."""

from typing import Any

import torch
from torch import Tensor, nn

VJEPA2 = "facebook/vjepa2-vitl-fpc64-256"
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours, as V-JEPA 2 was trained


class ExternalEncoder(nn.Module):
    """A module that stays as it is, as an encoder: its parameters get no gradient and it never enters training mode.

    It can be scripted if the module can.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "ExternalEncoder":
        """Set the mode of this module alone: dropout and running statistics inside stay off."""
        super().train(mode)
        self.module.eval()
        return self

    def forward(self, obs: Tensor) -> Tensor:
        """Tokens [batch, tokens, dim]; features without a token axis become one token."""
        out: Tensor = self.module(obs)
        if out.dim() == 2:
            out = out.unsqueeze(1)
        if out.dim() != 3 or out.shape[0] != obs.shape[0]:
            raise ValueError(f"the external module gave {out.shape}; expected [batch, dim] or [batch, tokens, dim]")
        return out


class VideoFeatures(nn.Module):
    """Features of a V-JEPA 2 model (Assran et al. 2025) for stacks of grey pictures.

    Pictures are resized to what the model was trained on, repeated over three colours and normalised. Patch features
    are averaged over time and over the cells of a square grid: one cell gives the pooled feature of H-JEPA, more cells
    keep where things are. Not scriptable: a transformers model is Python. Encode the frames once and train on the
    features.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: Any, grid: int = 1) -> None:
        super().__init__()
        self.model = model
        self.size = int(model.config.crop_size)
        self.patches = self.size // int(model.config.patch_size)
        if not 1 <= grid <= self.patches:
            raise ValueError(
                f"the grid has {grid} cells a side; expected 1 to {self.patches}, the patches of the model"
            )
        self.grid = grid
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).reshape(3, 1, 1))

    def forward(self, obs: Tensor) -> Tensor:
        """Stacks [batch, history, size, size] with values from 0 to 1 → tokens [batch, grid², hidden]."""
        pictures = nn.functional.interpolate(obs, size=(self.size, self.size), mode="bilinear", antialias=True)
        clip = (pictures.unsqueeze(2) - self.mean) / self.deviation  # [batch, history, 3, size, size]
        features: Tensor = self.model.get_vision_features(clip)  # [batch, times · patches², hidden]
        places = features.unflatten(1, (-1, self.patches, self.patches)).mean(1).permute(0, 3, 1, 2)
        return nn.functional.adaptive_avg_pool2d(places, self.grid).flatten(2).transpose(1, 2)


def vjepa2_encoder(name: str = VJEPA2, grid: int = 1) -> ExternalEncoder:
    """A frozen, pretrained V-JEPA 2."""
    try:
        from transformers import AutoConfig, VJEPA2Model
    except ImportError as error:
        raise ImportError("V-JEPA 2 needs transformers: pip install 'latentmd[vjepa]'") from error
    try:
        kind = AutoConfig.from_pretrained(name).model_type
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot load {name}; expected a model on the Hugging Face hub or a folder of one") from error
    if kind != "vjepa2":
        raise ValueError(f"{name} is a model of kind {kind!r}; expected 'vjepa2', such as {VJEPA2}")
    try:
        model = VJEPA2Model.from_pretrained(name)
    except OSError as error:
        raise ValueError(f"{name} has a configuration but no weights that can be loaded; download it again") from error
    return ExternalEncoder(VideoFeatures(model, grid))
