"""What the small image-text model is shown: every row in turn, wrong captions that are wrong, noise that is none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from radcap.metrics.medimageinsight.text_tower import Tokenizer
from radcap.metrics.medimageinsight.weights import PUBLISHED
from radcap.metrics.miniatures.clip_tokenizer import write_tokenizer
from radcap.metrics.miniatures.facts import FACTS
from radcap.metrics.miniatures.image_text import IMAGE, Learner, _fact_loss
from radcap.metrics.miniatures.image_text_batches import NOISE, Drawer
from radcap.metrics.miniatures.training import BATCH
from tests.metrics.miniatures.phantoms import rows

ROWS = rows(2 * BATCH, seed=6)


@pytest.fixture
def drawer(tmp_path: Path) -> Drawer:
    write_tokenizer([row["caption"] for row in ROWS], tmp_path)
    odd = [ROWS[0] | {"caption": "Figure 3."}, *ROWS[1:]]
    image = PUBLISHED["image_encoder"] | IMAGE
    return Drawer(odd, Tokenizer(tmp_path, length=77), image, np.random.default_rng(0))


def test_a_batch_holds_captions_wrong_ones_and_noise(drawer: Drawer) -> None:
    batches = [drawer.draw(), drawer.draw()]
    pictures = torch.cat([batch.pixels for batch in batches])
    # Two batches are all rows once.
    assert len({picture.numpy().tobytes() for picture in pictures}) == 2 * BATCH
    for batch in batches:
        count = len(batch.pixels)
        known = batch.picture_facts[:, 0] >= 0
        assert count == BATCH
        assert len(batch.texts) == len(batch.caption_facts) == count + int(known.sum()) + NOISE
        assert torch.equal(batch.caption_facts[:count], batch.picture_facts)
        wrong = batch.caption_facts[count : batch.noise.start]
        differing = (wrong != batch.picture_facts[known]).sum(dim=1)
        # A finding may come with a side, or without.
        assert set(differing.tolist()) <= {1, 2}
        assert (batch.caption_facts[batch.noise] < 0).all()
    unknown = torch.cat([batch.picture_facts for batch in batches])
    assert int((unknown[:, 0] < 0).sum()) == 1


def test_noise_is_words_of_the_batch(drawer: Drawer) -> None:
    taken = list(range(BATCH))
    words = {word for index in taken for word in drawer.captions[index].split()}
    found = drawer._noise(taken)
    assert [len(text.split()) for text in found] == [len(drawer.captions[index].split()) for index in taken[:NOISE]]
    assert {word for text in found for word in text.split()} <= words


def test_the_contrast_counts_every_caption_of_the_same_facts_as_right() -> None:
    learner = Learner.__new__(Learner)
    torch.nn.Module.__init__(learner)
    learner.scale = torch.nn.Parameter(torch.tensor(0.0))
    right = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0]], dtype=torch.bool)
    cosines = torch.tensor([[0.9, 0.1, 0.2, 0.5], [0.3, 0.8, 0.4, 0.0]])
    rows = torch.log_softmax(cosines, dim=1)
    pictures = -((rows[0, 0] + rows[0, 3]) / 2 + rows[1, 1]) / 2
    # The third caption is no picture's.
    columns = torch.log_softmax(cosines, dim=0)
    captions = -(columns[0, 0] + columns[1, 1] + columns[0, 3]) / 3
    assert learner._contrast(cosines, right).item() == pytest.approx(float((pictures + captions) / 2), abs=1e-6)


def test_unknown_facts_do_not_count() -> None:
    logits = torch.randn(2, sum(map(len, FACTS.values())), generator=torch.Generator().manual_seed(0))
    facts = torch.tensor([[0, 1, 2, 3], [-1, -1, -1, -1]])
    assert _fact_loss(logits, facts).item() == pytest.approx(float(_fact_loss(logits[:1], facts[:1])))
    assert _fact_loss(logits, facts[[1, 1]]) == 0
