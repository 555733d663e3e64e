"""How the recipes of one network learn: AdamW on a cosine schedule, with a bounded gradient."""

from dataclasses import dataclass

from tinygen import optim
from tinygen.nn import Module
from tinygen.tensor import Tensor
from tinygen.training.config import Settings, setting
from tinygen.training.recipe import Metrics


@dataclass(frozen=True)
class OptimizerSettings(Settings):
    lr: float = setting(1e-3, "learning rate after the warm-up", above=0.0)
    min_factor: float = setting(0.1, "the last learning rate / lr", least=0.0, most=1.0)
    warmup: int = setting(100, "steps of linear warm-up, at most a tenth of the run", least=0)
    betas: tuple[float, float] = setting(
        (0.9, 0.99), "decay of AdamW's two running means", least=0.0, below=1.0
    )
    weight_decay: float = setting(0.1, "decay of the weight matrices", least=0.0)
    max_norm: float = setting(1.0, "largest norm of the gradient", above=0.0)


class Learner:
    """One network's optimiser and schedule over `steps` steps."""

    def __init__(self, model: Module, settings: OptimizerSettings, steps: int) -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.settings = settings
        self.optimizer = adamw(model, settings)
        self.plan(steps)

    def plan(self, steps: int) -> None:
        """The schedule of a run of `steps` steps."""
        self.schedule = optim.Cosine(
            steps,
            warmup=min(self.settings.warmup, steps // 10),
            min_factor=self.settings.min_factor,
        )

    def step(self, loss: Tensor, step: int) -> Metrics:
        """Go down the gradient of `loss`; `step` counts from 0."""
        factor = self.schedule(step)
        self.optimizer.zero_grad()
        loss.backward()
        norm = optim.clip_grad_norm(self.parameters, self.settings.max_norm)
        self.optimizer.step(factor)
        return {"loss": loss.item(), "lr": self.settings.lr * factor, "grad_norm": norm}


def adamw(model: Module, settings: OptimizerSettings) -> optim.AdamW:
    """AdamW with weight decay on matrices only: not on biases and norm weights."""
    learning = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in learning if p.ndim >= 2]
    vectors = [p for p in learning if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return optim.AdamW(
        [group for group in groups if group["params"]], lr=settings.lr, betas=settings.betas
    )
