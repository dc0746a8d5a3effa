"""MedImageInsight's image tower: DaViT (Ding et al. 2022), as transformers' Florence-2 backbone runs it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import Florence2VisionConfig
from transformers.models.florence2.modeling_florence2 import Florence2VisionBackbone

from radcap.data.images import open_rgb

# The reference turns L and LA into RGB, takes RGB as it is, and fails on every other mode or misreads its channels.
REFERENCE_MODES = ("L", "LA", "RGB")


class ImageTower(nn.Module):
    """DaViT, then the mean over its last map's positions and a LayerNorm. `settings`: config.json's image_encoder."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        config = Florence2VisionConfig(
            patch_size=settings["patch_size"],
            patch_stride=settings["patch_stride"],
            patch_padding=settings["patch_padding"],
            patch_prenorm=settings["patch_prenorm"],
            embed_dim=settings["dim_embed"],
            num_heads=settings["num_heads"],
            num_groups=settings["num_groups"],
            depths=settings["depths"],
            window_size=settings["window_size"],
            # Stochastic depth belongs to training; a score must not depend on chance.
            drop_path_rate=0.0,
            # Of flat images LayerNorm divides rounding by next to nothing: only this path rounds as the reference does.
            attn_implementation="sdpa",
        )
        self.backbone: Any = Florence2VisionBackbone(config)
        self.norms = nn.LayerNorm(settings["dim_embed"][-1])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) of normalised pixels -> (batch, last width)."""
        maps = self.backbone(pixels).last_hidden_state
        features: torch.Tensor = self.norms(maps.flatten(2).transpose(1, 2).mean(dim=1))
        return features


def stored_mode(data: bytes) -> str:
    """Pillow's mode of an image file ("RGB", "I;16", ...), from its header alone."""
    with Image.open(io.BytesIO(data)) as image:
        return image.mode


def decode(data: bytes) -> Image.Image:
    """8-bit RGB of an image file; BadImage where it cannot be decoded.

    L, LA and RGB as the reference has them: alpha dropped, EXIF turns ignored. RGBA, CMYK, palette and 1-bit images,
    on which the reference fails, go the same way. Greys of more than 8 bits are stretched from their own minimum and
    maximum (radcap.data.images), where Pillow would clip them to white.
    """
    upright = open_rgb(data)
    with Image.open(io.BytesIO(data)) as image:
        if image.mode.startswith(("I", "F")):
            return upright
        # Pillow warns of a palette's transparency unless alpha is spelled out first.
        return (image.convert("RGBA") if image.has_transparency_data else image).convert("RGB")


def normalised(image: Image.Image, settings: dict[str, Any]) -> torch.Tensor:
    """(3, height, width): bicubic to `image_size` without cropping, scaled to [0, 1], then by mean and deviation."""
    height, width = settings["image_size"]
    resized = np.array(image.resize((width, height), Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(resized).permute(2, 0, 1).float() / 255
    mean, deviation = (torch.tensor(settings[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    return (pixels - mean) / deviation
