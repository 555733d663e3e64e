"""Recipes of images and points, as small as they come, that tests train for a few steps."""

from typing import Any

from tinygen.recipes import family

TINY: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "vae": ("vae", "digits", [("model.hidden", "8"), ("model.latent", "3")]),
    "vae of binary pixels": (
        "vae",
        "digits",
        [("model.hidden", "8"), ("model.likelihood", "bernoulli"), ("model.conditional", "true")],
    ),
    "vae, importance weighted": (
        "vae",
        "digits",
        [("model.hidden", "8"), ("model.likelihood", "logistic"), ("objective.samples", "3")],
    ),
    "vae of real pixels": (
        "vae",
        "digits",
        [("model.hidden", "8"), ("model.likelihood", "gaussian")],
    ),
    "vq-vae": (
        "vqvae",
        "digits",
        [("model.channels", "8"), ("prior.part", "0.5"), ("prior.width", "8")],
    ),
    "vq-vae of classes on a grid": (
        "vqvae",
        "fsq",
        [
            ("model.channels", "4,8"),
            ("model.likelihood", "bernoulli"),
            ("model.conditional", "true"),
            ("prior.width", "8"),
            ("prior.part", "0.5"),
        ],
    ),
    "gan of points": ("gan", "ring", [("model.hidden", "8")]),
    "gan of images": (
        "gan",
        "digits",
        [("model.hidden", "8"), ("objective.d_steps", "2"), ("objective.augment", "true")],
    ),
    "spectral gan": (
        "gan",
        "digits",
        [("model.architecture", "dcgan"), ("model.base", "4"), ("model.spectral", "true")],
    ),
    "flow of points": ("diffusion", "points", [("model.width", "16"), ("model.depth", "1")]),
    "flow of images": ("diffusion", "digits", [("model.width", "16"), ("model.depth", "1")]),
    "edm": ("diffusion", "digits", [("model.width", "16"), ("model.method", "edm")]),
    "ddpm by a unet": (
        "diffusion",
        "digits",
        [
            ("model.width", "8"),
            ("model.depth", "1"),
            ("model.method", "ddpm"),
            ("model.network", "unet"),
        ],
    ),
    "flow by a dit": (
        "diffusion",
        "digits",
        [("model.width", "16"), ("model.depth", "1"), ("model.network", "dit")],
    ),
}


def config_of(kind: str) -> tuple[Any, Any]:
    name, preset, settings = TINY[kind]
    chosen = family(name)
    sizes = [("training.batch", "6"), ("training.steps", "6"), ("data.eval_images", "40")]
    return chosen, chosen.presets[preset].overridden([*settings, *sizes])
