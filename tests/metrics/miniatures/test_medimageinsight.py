"""Batches of the miniature MedImageInsight hold every row in turn, captions with a wrong fact, and noise; its losses."""

from pathlib import Path

import numpy as np
import pytest
import torch

from radcap.metrics.medimageinsight.text_tower import Tokenizer
from radcap.metrics.medimageinsight.weights import PUBLISHED
from radcap.metrics.miniatures.clip_tokenizer import write_tokenizer
from radcap.metrics.miniatures.facts import FACTS
from radcap.metrics.miniatures.medimageinsight import IMAGE_ENCODER, TrainingModule, _fact_loss
from radcap.metrics.miniatures.medimageinsight_batches import MAX_NOISE_CAPTIONS, BatchSampler
from radcap.metrics.miniatures.training import BATCH_SIZE
from tests.metrics.miniatures.phantoms import rows

ROWS = rows(2 * BATCH_SIZE, seed=6)


@pytest.fixture
def sampler(tmp_path: Path) -> BatchSampler:
    write_tokenizer([row["caption"] for row in ROWS], tmp_path)
    odd = [ROWS[0] | {"caption": "Figure 3."}, *ROWS[1:]]
    image = PUBLISHED["image_encoder"] | IMAGE_ENCODER
    return BatchSampler(odd, Tokenizer(tmp_path, max_tokens=77), image, np.random.default_rng(0))


def test_a_batch_holds_captions_wrong_ones_and_noise(sampler: BatchSampler) -> None:
    batches = [sampler.sample(), sampler.sample()]
    pictures = torch.cat([batch.pixels for batch in batches])
    # Two batches are all rows once.
    assert len({picture.numpy().tobytes() for picture in pictures}) == 2 * BATCH_SIZE
    for batch in batches:
        count = len(batch.pixels)
        known = batch.image_facts[:, 0] >= 0
        assert count == BATCH_SIZE
        assert len(batch.texts) == len(batch.caption_facts) == count + int(known.sum()) + MAX_NOISE_CAPTIONS
        assert torch.equal(batch.caption_facts[:count], batch.image_facts)
        wrong = batch.caption_facts[count : batch.noise.start]
        differing = (wrong != batch.image_facts[known]).sum(dim=1)
        # A finding may come with a side, or without.
        assert set(differing.tolist()) <= {1, 2}
        assert (batch.caption_facts[batch.noise] < 0).all()
    unknown = torch.cat([batch.image_facts for batch in batches])
    assert int((unknown[:, 0] < 0).sum()) == 1


def test_noise_is_words_of_the_batch(sampler: BatchSampler) -> None:
    taken = list(range(BATCH_SIZE))
    words = {word for index in taken for word in sampler.captions[index].split()}
    found = sampler._noise_captions(taken)
    assert [len(text.split()) for text in found] == [
        len(sampler.captions[index].split()) for index in taken[:MAX_NOISE_CAPTIONS]
    ]
    assert {word for text in found for word in text.split()} <= words


def test_the_contrast_counts_every_caption_of_the_same_facts_as_right() -> None:
    module = TrainingModule.__new__(TrainingModule)
    torch.nn.Module.__init__(module)
    module.scale = torch.nn.Parameter(torch.tensor(0.0))
    right = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0]], dtype=torch.bool)
    cosines = torch.tensor([[0.9, 0.1, 0.2, 0.5], [0.3, 0.8, 0.4, 0.0]])
    rows = torch.log_softmax(cosines, dim=1)
    pictures = -((rows[0, 0] + rows[0, 3]) / 2 + rows[1, 1]) / 2
    # The third caption is no picture's.
    columns = torch.log_softmax(cosines, dim=0)
    captions = -(columns[0, 0] + columns[1, 1] + columns[0, 3]) / 3
    assert module._contrastive_loss(cosines, right).item() == pytest.approx(float((pictures + captions) / 2), abs=1e-6)


def test_unknown_facts_do_not_count() -> None:
    logits = torch.randn(2, sum(map(len, FACTS.values())), generator=torch.Generator().manual_seed(0))
    facts = torch.tensor([[0, 1, 2, 3], [-1, -1, -1, -1]])
    assert _fact_loss(logits, facts).item() == pytest.approx(float(_fact_loss(logits[:1], facts[:1])))
    assert _fact_loss(logits, facts[[1, 1]]) == 0
