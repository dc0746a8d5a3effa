"""Which weights of a run are kept: the last ones, or those of the best validation by loss or by generated captions."""

from __future__ import annotations

from typing import Any

import torch
from transformers import GenerationConfig, TrainerCallback

from radcap.models.inputs import collate, encode
from radcap.train.examples import Examples

# Value of train.select_by -> (its name among the Trainer's metrics, whether lower is better).
SELECTION_METRICS = {"valid_loss": ("eval_loss", True), "rouge1": ("eval_rouge1", False)}


class BestWeightsCallback(TrainerCallback):  # type: ignore[misc]
    """Keeps a copy of the weights of the best validation, and stops the run early.

    The run stops after `patience` validations in a row without a better one (0: never). `weights` are the tensors
    that training changes, by name. Nothing is copied with `select_by` "last".
    """

    def __init__(self, select_by: str, weights: dict[str, torch.Tensor], *, patience: int, label: str) -> None:
        self.select_by, self.weights, self.patience, self.label = select_by, weights, patience, label
        self.best_weights: dict[str, torch.Tensor] = {}
        # step and figure of the best validation, and the number of validations since then
        self.record: dict[str, Any] = {"step": None, "figure": None, "since": 0}

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        if self.select_by == "last":
            return
        name, lower_is_better = SELECTION_METRICS[self.select_by]
        figure, best = (metrics or {})[name], self.record["figure"]
        if best is None or (figure < best if lower_is_better else figure > best):
            self.record = {"step": state.global_step, "figure": figure, "since": 0}
            self.best_weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.weights.items()}
            return
        self.record["since"] += 1
        if self.patience and self.record["since"] >= self.patience:
            print(f"{self.label}: stopped early at step {state.global_step}/{state.max_steps}, {self._best()}")
            control.should_training_stop, control.should_save = True, False

    def restore(self) -> None:
        """Copy the best weights back into the model, and print which they are."""
        if self.best_weights:
            copy_weights(self.best_weights, into=self.weights)
            print(f"{self.label}: keeps the weights of step {self.record['step']}, {self._best()}")

    def _best(self) -> str:
        return f"best {self.select_by} {self.record['figure']:.4f} at step {self.record['step']}"


def copy_weights(values: dict[str, torch.Tensor], *, into: dict[str, torch.Tensor]) -> None:
    """Copy values into the tensors of the same names. Both must have the same names."""
    assert values.keys() == into.keys()
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(values[name])


@torch.no_grad()
def mean_rouge1(examples: Examples, *, rows: int, batch_size: int, max_new_tokens: int) -> float:
    """Mean ROUGE-1 (F1, rouge-score without any preprocessing) of greedy captions for the first rows of a split.

    This is not the reported ROUGE-1, which preprocesses captions and has its own decoding. If training depended on
    that code, every change to it would retrain all models. The model is left in evaluation mode.
    """
    loaded, model = examples.loaded, examples.loaded.model
    family, processor = loaded.family, loaded.processor
    selected = examples.rows.select(range(min(rows, len(examples.rows))))
    captions: list[str] = []
    model.eval()
    config = GenerationConfig(
        bos_token_id=model.generation_config.bos_token_id,
        decoder_start_token_id=model.generation_config.decoder_start_token_id,
        eos_token_id=family.end_id(processor),
        pad_token_id=family.pad_id(processor),
        max_new_tokens=max_new_tokens,
    )
    for start in range(0, len(selected), batch_size):
        images = selected[start : start + batch_size]["image"]
        prompts = examples.prompts[start : start + batch_size]
        inputs = collate(
            [encode(loaded, image, prompt)[0] for image, prompt in zip(images, prompts, strict=True)],
            family,
            pad_id=family.pad_id(processor),
            side="left",
        )
        on_device = {
            name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else None)
            for name, tensor in inputs.items()
        }
        output = model.generate(**on_device, generation_config=config)
        new_tokens = output[:, inputs[family.ids_name].shape[1] :]
        captions += family.tokenizer(processor).batch_decode(new_tokens, skip_special_tokens=True)
    # It imports nltk, for a second and a half; most runs select by something else.
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1"])
    scores = [
        scorer.score(reference, caption)["rouge1"].fmeasure
        for reference, caption in zip(selected["caption"], captions, strict=True)
    ]
    return float(sum(scores) / len(scores))
