"""The loss and its gradients are the same for 1 x 16, 4 x 4 and 16 x 1 (micro-batch size x accumulation)."""

from pathlib import Path

import pytest
import torch

from radcap.data import store
from radcap.models.inputs import IGNORED, encode, fill_template
from radcap.settings import Phase
from radcap.train.examples import collate_examples
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, shared
from tests.train.test_fit import trained

SENTENCE = "CT of the chest with a nodule in the left lung and a tumor on the right side of the brain"


@pytest.fixture(scope="module")
def sixteen(tmp_path_factory: pytest.TempPathFactory):
    """Captions of 1 to 16 words."""
    path: Path = tmp_path_factory.mktemp("rows") / "rows.arrow"
    examples = [
        store.Row(id=f"r{i}", image=png(i), caption=t, raw_caption=t, cuis=(), width=40, height=32, sha256="")
        for i in range(16)
        for t in [" ".join(SENTENCE.split()[: i + 1])]
    ]
    store.write(path, examples)
    return store.read(path)


@pytest.mark.parametrize("key", KEYS)
def test_the_split_into_micro_batches_changes_neither_loss_nor_gradients(key: str, sixteen, monkeypatch) -> None:
    from transformers import Trainer

    seen: list[torch.Tensor] = []
    clip = Trainer._clip_grad_norm

    def watched(self, model):
        seen.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).clone())
        return clip(self, model)

    monkeypatch.setattr(Trainer, "_clip_grad_norm", watched)
    # Batch norms depend on the micro-batch unless they are frozen with their tower.
    frozen = (Phase(share=1.0, frozen=("vision",)),) if PARAMS.models[key].family == "cnn_transformer" else ()
    losses = []
    for size, accumulation in ((16, 1), (4, 4), (1, 16)):
        log, _ = trained(
            key, sixteen, validate=False, steps=1, batch_size=size, accumulation=accumulation, phases=frozen
        )
        losses.append(log[0]["loss"])
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)
    for gradients in seen[1:]:
        assert float((gradients - seen[0]).norm() / seen[0].norm()) < 1e-4


@pytest.mark.parametrize("key", KEYS)
def test_only_the_caption_and_its_end_are_labelled_even_if_the_end_token_pads(key: str) -> None:
    loaded = shared(key)
    family, end = loaded.family, loaded.family.end_id(loaded.processor)
    texts = ["CT.", "MRI of the brain with a tumor on the right."]
    prompt = fill_template(PARAMS.models[key].template, "Describe it.")
    batch = collate_examples(
        [encode(loaded, png(i), prompt, caption=t, max_caption_tokens=64)[0] for i, t in enumerate(texts)],
        family,
        pad_id=end,
    )
    for labels, text in zip(batch["labels"], texts, strict=True):
        assert labels[labels != IGNORED].tolist() == [*family.caption_ids(loaded.processor, text), end]
