"""MedImageInsight's image tower: a DaViT (Ding et al. 2022), which is transformers' Florence-2 backbone."""

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

# Pillow modes that the reference implementation reads: it converts L and LA to RGB. It fails on all other modes, or
# misreads their channels.
REFERENCE_MODES = ("L", "LA", "RGB")


class ImageTower(nn.Module):
    """A DaViT, the mean over the positions of its output, and a LayerNorm. `settings`: config.json's image_encoder."""

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
            # Stochastic depth is for training; a score must not be random.
            drop_path_rate=0.0,
            # In a uniform image LayerNorm amplifies rounding errors; only this implementation rounds as the reference.
            attn_implementation="sdpa",
        )
        self.backbone: Any = Florence2VisionBackbone(config)
        self.norms = nn.LayerNorm(settings["dim_embed"][-1])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features of normalized pixels: (batch, 3, height, width) -> (batch, last width)."""
        maps = self.backbone(pixels).last_hidden_state
        features: torch.Tensor = self.norms(maps.flatten(2).transpose(1, 2).mean(dim=1))
        return features


def image_mode(data: bytes) -> str:
    """Pillow's mode of an image file ("RGB", "I;16", ...), read from its header."""
    with Image.open(io.BytesIO(data)) as image:
        return image.mode


def decode_image(data: bytes) -> Image.Image:
    """Decode an image file to 8-bit RGB. BadImage: it cannot be decoded.

    L, LA and RGB give the reference implementation's pixels: alpha is dropped, and the EXIF orientation ignored. RGBA,
    CMYK, palette and 1-bit images, on which it fails, are treated alike. Greys of more than 8 bits are stretched from
    their own minimum to their maximum (radcap.data.images), because Pillow would clip them to white.
    """
    stretched = open_rgb(data)
    with Image.open(io.BytesIO(data)) as image:
        if image.mode.startswith(("I", "F")):
            return stretched
        # Without this step Pillow warns about the transparency of a palette.
        return (image.convert("RGBA") if image.has_transparency_data else image).convert("RGB")


def normalize_pixels(image: Image.Image, settings: dict[str, Any]) -> torch.Tensor:
    """Resize (bicubic, without cropping) to `image_size`, scale to [0, 1], and normalize: (3, height, width)."""
    height, width = settings["image_size"]
    resized = np.array(image.resize((width, height), Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(resized).permute(2, 0, 1).float() / 255
    mean, deviation = (torch.tensor(settings[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    return (pixels - mean) / deviation
