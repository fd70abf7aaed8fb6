"""A discrete tokenizer without weights: 16×16 patches of grey, sixteen levels each."""

import torch

from medbench import Encoding, TokenizerInfo, check_images

PATCH, LEVELS = 16, 16


class Posterise:
    """Mean grey of each patch, posterised."""

    def __init__(self, variant, device):
        self.device = device
        self.info = TokenizerInfo(
            name="posterise",
            variant=variant,
            kind="discrete",
            size_multiple=PATCH,
            downsample=PATCH,
            layout="raster",
            codebooks=1,
            codebook_size=LEVELS,
            positions=256,
            latent_dims=1,
            feature_dims=1,
            colour="luma",
            training_data="none",
            code_licence="CC0-1.0",
            source="an example",
            bits_per_image=256 * 4,
        )

    def encode(self, images):
        check_images(images, tokenizer=self.info.full_name, size_multiple=PATCH)
        grey = torch.nn.functional.avg_pool2d(images.mean(dim=1, keepdim=True), PATCH)
        indices = (grey * (LEVELS - 1)).round().long()
        return Encoding(indices=indices.flatten(2), latents=indices / (LEVELS - 1))

    def decode(self, encoding):
        side = round(encoding.indices.shape[2] ** 0.5)
        grey = encoding.indices.unflatten(2, (side, side)) / (LEVELS - 1)
        return torch.nn.functional.interpolate(grey, scale_factor=PATCH).repeat(1, 3, 1, 1)

    def features(self, images):
        return self.encode(images).latents.flatten(2).transpose(1, 2)


def build(*, variant, config, weights, device):
    """The factory that the entry point names."""
    del config, weights
    return Posterise(variant, device)
