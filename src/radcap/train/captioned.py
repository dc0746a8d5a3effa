"""How good a model's captions are in the middle of training."""

from __future__ import annotations

import torch
from rouge_score.rouge_scorer import RougeScorer
from transformers import GenerationConfig

from radcap.models.inputs import collate, encode
from radcap.train.examples import Examples


@torch.no_grad()
def mean_rouge1(examples: Examples, *, rows: int, batch_size: int, max_new_tokens: int) -> float:
    """Mean ROUGE-1 (F1) of greedy captions of the first rows of a split, by rouge-score as it is.

    The scored ROUGE-1 has the official preprocessing besides, and captions a decoding of their own; were training to
    depend on that code, a line of it would train all models again.
    The model is left in its mode of evaluation.
    """
    loaded, model = examples.loaded, examples.loaded.model
    adapter, processor = loaded.family, loaded.processor
    chosen = examples.rows.select(range(min(rows, len(examples.rows))))
    made: list[str] = []
    model.eval()
    config = GenerationConfig(
        bos_token_id=model.generation_config.bos_token_id,
        decoder_start_token_id=model.generation_config.decoder_start_token_id,
        eos_token_id=adapter.end_id(processor),
        pad_token_id=adapter.pad_id(processor),
        max_new_tokens=max_new_tokens,
    )
    for start in range(0, len(chosen), batch_size):
        part, prompts = chosen[start : start + batch_size]["image"], examples.prompts[start : start + batch_size]
        inputs = collate(
            [encode(loaded, image, prompt)[0] for image, prompt in zip(part, prompts, strict=True)],
            adapter,
            pad_id=adapter.pad_id(processor),
            side="left",
        )
        placed = {
            name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else None)
            for name, tensor in inputs.items()
        }
        output = model.generate(**placed, generation_config=config)
        tokens = output[:, inputs[adapter.ids].shape[1] :]
        made += adapter.tokenizer(processor).batch_decode(tokens, skip_special_tokens=True)
    scorer = RougeScorer(["rouge1"])
    found = [scorer.score(want, text)["rouge1"].fmeasure for want, text in zip(chosen["caption"], made, strict=True)]
    return float(sum(found) / len(found))
