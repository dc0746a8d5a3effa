"""Pretraining of a miniature: a small substitute for what published weights already know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radcap.errors import UserError
from radcap.models.base import LoadedModel
from radcap.models.family import get_family
from radcap.models.initialization import initialize_weights
from radcap.models.inputs import fill_template
from radcap.settings import Model, Pretrain
from radcap.train.examples import Examples
from radcap.train.fit import fit
from radcap.train.log import as_csv
from radcap.train.recipe import Recipe

if TYPE_CHECKING:
    from datasets import Dataset

# Not the study's instruction: published weights were not trained on that one either.
INSTRUCTION = "Describe this image."
MAX_CAPTION_TOKENS = 128


def pretrain(model: Model, settings: Pretrain, general: Dataset, *, seed: int, label: str) -> tuple[LoadedModel, str]:
    """Train a tokenizer and all weights on pictures and diagrams. Returns the model and its training log (CSV)."""
    if not len(general) or not settings.steps:
        raise UserError("a miniature needs pretraining: set data.pictures, data.diagrams and pretrain.steps above 0")
    prompt = fill_template(model.template, INSTRUCTION)
    model_family = get_family(model.family)
    # Every example contains the prompt, so repeat it until the tokenizer merges its words.
    texts = [*general["caption"], *([prompt] * 100)]
    untrained, processor = model_family.miniature(model.miniature, texts)
    initialize_weights(untrained)
    loaded = LoadedModel(model_family, untrained, processor)
    examples = Examples(loaded, general, [prompt] * len(general), max_caption_tokens=MAX_CAPTION_TOKENS, cache=True)
    recipe = Recipe(
        steps=settings.steps,
        batch_size=settings.batch_size,
        accumulation=1,
        learning_rate=settings.learning_rate,
        weight_decay=0.0,
        warmup=0.1,
        schedule="cosine",
        max_grad_norm=1.0,
        seed=seed,
    )
    result = fit(loaded.model, examples, None, recipe, label=label)
    return loaded, as_csv(result.log)
