"""The GPT recipe: text, tokenizer, model, AdamW on a cosine schedule; nanoGPT's settings.

`nano` is nanoGPT's character-level Shakespeare on a CPU with three times its learning rate (a model
this small stands it, and gains 0.13 nats), `small` the same on a GPU (Karpathy 2022,
github.com/karpathy/nanoGPT, config/train_shakespeare_char.py and README), `gpt2` the smallest
GPT-2 with nanoGPT's learning rate (config/train_gpt2.py), for a GPU and a long text.
"""

from dataclasses import dataclass, field

from tinygen.models.transformer import GPT, GPTConfig
from tinygen.recipes import Family
from tinygen.recipes.language import LanguageRecipe
from tinygen.recipes.optimisation import OptimizerSettings
from tinygen.recipes.text import DataSettings, TransformerSettings
from tinygen.recipes.writing import Sampling
from tinygen.training.config import setting
from tinygen.training.recipe import RecipeConfig, TrainingSettings


@dataclass(frozen=True)
class ModelSettings(TransformerSettings):
    bias: bool = setting(False, "biases in linear layers and norms")


@dataclass(frozen=True)
class GPTRecipeConfig(RecipeConfig):
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    training: TrainingSettings = field(default=TrainingSettings(steps=2000, batch=12))


PRESETS = {
    "nano": GPTRecipeConfig(optimizer=OptimizerSettings(lr=3e-3)),
    "small": GPTRecipeConfig(
        model=ModelSettings(n_layer=6, n_head=6, width=384, block_size=256, dropout=0.2),
        training=TrainingSettings(steps=5000, batch=64, threads=2),
    ),
    "gpt2": GPTRecipeConfig(
        model=ModelSettings(n_layer=12, n_head=12, width=768, block_size=1024, bias=True),
        optimizer=OptimizerSettings(lr=6e-4, warmup=2000, betas=(0.9, 0.95)),
        training=TrainingSettings(steps=100_000, batch=12, threads=2),
    ),
}


class GPTRecipe(LanguageRecipe):
    """A GPT that learns one text."""

    network = GPT

    @staticmethod
    def architecture(settings: ModelSettings, vocab_size: int) -> GPTConfig:
        return GPTConfig(
            vocab_size=vocab_size,
            block_size=settings.block_size,
            n_layer=settings.n_layer,
            n_head=settings.n_head,
            width=settings.width,
            dropout=settings.dropout,
            bias=settings.bias,
        )


restore = GPTRecipe.restore

FAMILY = Family(
    "gpt",
    PRESETS,
    GPTRecipe,
    restore,
    Sampling(),
    cost=GPTRecipe.cost,
    dial=GPTRecipe.dial,
)
