"""The sizes of a generator and a discriminator, and the choices between their kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tinygen.arguments import number
from tinygen.errors import UsageError
from tinygen.nn.sizes import require_sizes, size_tuple

Architecture = Literal["mlp", "dcgan"]
Conditioning = Literal["embedding", "batch_norm"]
GeneratorNorm = Literal["batch", "none"]
Norm = Literal["batch", "spectral", "none"]

CHOICES = {
    "architecture": get_args(Architecture),
    "conditioning": get_args(Conditioning),
    "generator_norm": get_args(GeneratorNorm),
    "discriminator_norm": get_args(Norm),
}


@dataclass(frozen=True)
class GANConfig:
    """Sizes of the two networks."""

    data_shape: tuple[int, ...]
    """(D,) for points, or (H, W, C) for images."""
    latent: int = 64
    architecture: Architecture = "mlp"
    hidden: tuple[int, ...] = (128, 128, 128)
    """Widths of the hidden layers of the multilayer perceptrons."""
    base: int = 64
    """DCGAN: channels next to the image; each halving of its sides doubles them."""
    classes: int | None = None
    """How many classes y has; None for unconditional networks."""
    conditioning: Conditioning = "embedding"
    """How G sees y: a vector beside z, or DCGAN's batch normalisation with weights of its own for
    each class (Dumoulin et al. 2017). D always has the projection."""
    generator_norm: GeneratorNorm = "batch"
    """DCGAN's generator normalises its channels, or not; a perceptron never does."""
    discriminator_norm: Norm = "none"
    """"batch" (DCGAN's), "spectral" (Miyato et al. 2018) or "none"."""
    slope: float = 0.2
    """Of the discriminator's leaky ReLU below 0."""

    def __post_init__(self) -> None:
        classes = 1 if self.classes is None else self.classes
        require_sizes("GANConfig", latent=self.latent, base=self.base, classes=classes)
        for name in ("data_shape", "hidden"):
            sizes = size_tuple("GANConfig", name, getattr(self, name))
            object.__setattr__(self, name, sizes)
        number("GANConfig: slope", self.slope)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(
                    f"GANConfig: {name} is {getattr(self, name)!r}; use one of {', '.join(known)}."
                )
        if len(self.data_shape) not in (1, 3):
            raise UsageError(
                f"GANConfig: data_shape is {self.data_shape}; it is (D,) for points or (H, W, C) "
                "for images."
            )
        if self.architecture == "dcgan" and len(self.data_shape) != 3:
            raise UsageError(
                f"GANConfig: a DCGAN makes images (H, W, C), not data of shape {self.data_shape}; "
                'use architecture="mlp".'
            )
        if self.conditioning == "batch_norm" and (
            self.architecture != "dcgan" or self.generator_norm != "batch" or self.classes is None
        ):
            raise UsageError(
                'GANConfig: conditioning="batch_norm" needs architecture="dcgan", '
                'generator_norm="batch" and classes.'
            )
        if self.architecture == "mlp" and self.discriminator_norm == "batch":
            raise UsageError(
                'GANConfig: only a DCGAN has batch normalisation; use discriminator_norm="none" '
                'or "spectral" for a perceptron.'
            )

    @property
    def is_image(self) -> bool:
        return len(self.data_shape) == 3
