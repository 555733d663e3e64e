"""The Llama recipe: the GPT's text, batches and optimiser, with a Llama for its network.

The presets have the GPT's sizes and learning rates, so that their losses stand beside one another.
"""

from dataclasses import dataclass, field

from tinygen.errors import UsageError
from tinygen.models.transformer import Llama, LlamaConfig
from tinygen.recipes import Family
from tinygen.recipes.language import LanguageRecipe
from tinygen.recipes.optimisation import OptimizerSettings
from tinygen.recipes.text import DataSettings, TransformerSettings
from tinygen.recipes.writing import Sampling
from tinygen.training.config import setting
from tinygen.training.recipe import RecipeConfig, TrainingSettings


@dataclass(frozen=True)
class ModelSettings(TransformerSettings):
    n_kv_head: int = setting(0, "key/value heads, a divisor of n_head; 0 is as many", least=0)
    hidden: int = setting(0, "hidden features of an MLP; 0 is 8/3 of the width", least=0)
    rope_base: float = setting(10000.0, "base of the rotary frequencies", above=0.0)
    window: int = setting(0, "tokens that a token sees, itself included; 0 is all", least=0)
    qk_norm: bool = setting(False, "norms of queries and keys in each head, as in Qwen3")
    tied: bool = setting(False, "the token embedding is the head too")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_kv_head and self.n_head % self.n_kv_head:
            raise UsageError(f"n_kv_head must divide n_head {self.n_head}, not {self.n_kv_head}")
        if self.width // self.n_head % 2:
            raise UsageError(
                f"n_head must leave each head an even number of features, and {self.n_head} heads "
                f"of the width {self.width} have {self.width // self.n_head}"
            )


@dataclass(frozen=True)
class LlamaRecipeConfig(RecipeConfig):
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    training: TrainingSettings = field(default=TrainingSettings(steps=2000, batch=12))


PRESETS = {
    "nano": LlamaRecipeConfig(optimizer=OptimizerSettings(lr=3e-3)),
    "small": LlamaRecipeConfig(
        model=ModelSettings(n_layer=6, n_head=6, width=384, block_size=256, dropout=0.2),
        training=TrainingSettings(steps=5000, batch=64, threads=2),
    ),
    "medium": LlamaRecipeConfig(
        model=ModelSettings(n_layer=12, n_head=12, n_kv_head=4, width=768, block_size=1024),
        optimizer=OptimizerSettings(lr=6e-4, warmup=2000, betas=(0.9, 0.95)),
        training=TrainingSettings(steps=100_000, batch=12, threads=2),
    ),
}


class LlamaRecipe(LanguageRecipe):
    """A Llama that learns one text."""

    network = Llama

    @staticmethod
    def architecture(settings: ModelSettings, vocab_size: int) -> LlamaConfig:
        return LlamaConfig(
            vocab_size=vocab_size,
            block_size=settings.block_size,
            n_layer=settings.n_layer,
            n_head=settings.n_head,
            width=settings.width,
            dropout=settings.dropout,
            n_kv_head=settings.n_kv_head or None,
            hidden=settings.hidden or None,
            rope_base=settings.rope_base,
            window=settings.window or None,
            qk_norm=settings.qk_norm,
            tied=settings.tied,
        )


restore = LlamaRecipe.restore

FAMILY = Family(
    "llama",
    PRESETS,
    LlamaRecipe,
    restore,
    Sampling(),
    cost=LlamaRecipe.cost,
    dial=LlamaRecipe.dial,
)
