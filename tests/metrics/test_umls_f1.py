"""Concepts found with a small MedCAT pack: filters, several processes, and references that are tagged once."""

from pathlib import Path

import pytest

from radcap.metrics import umls_f1
from radcap.metrics.miniatures.medcat_pack import build_medcat_pack
from radcap.metrics.umls_f1 import ConceptTagger

TEXTS = ["CT of the chest with a nodule in the left lung", "X-ray", "", "no concept at all", "MRI of the brain"]


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    return build_medcat_pack(tmp_path_factory.mktemp("pack"))


def test_concepts_are_sorted_filtered_and_the_same_in_several_processes(pack: Path, monkeypatch) -> None:
    tagger = ConceptTagger(pack)
    found = {name: tagger.concepts(TEXTS, semantic_types=name) for name in umls_f1.TYPE_LISTS}
    assert found["official127"][2:4] == [(), ()]
    assert all(set(few) <= set(all_) for few, all_ in zip(found["medcon66"], found["official127"], strict=True))
    assert len(found["official127"][0]) > 2
    assert all(list(cuis) == sorted(set(cuis)) for cuis in found["official127"])
    monkeypatch.setattr(umls_f1, "TEXTS_PER_PROCESS", 1)
    two = ConceptTagger(pack, processes=2)
    assert {name: two.concepts(TEXTS, semantic_types=name) for name in umls_f1.TYPE_LISTS} == found


def test_a_very_long_word_takes_no_memory_and_hides_no_concept(pack: Path) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tagger = ConceptTagger(pack)
    plain, long = tagger.concepts(
        ["MRI of the brain", f"MRI of the {'x' * 20_000} brain"], semantic_types="official127"
    )
    assert plain == long != ()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_f1_is_of_the_lists_concepts(pack: Path) -> None:
    scores = ConceptTagger(pack).score(
        [TEXTS[0], "", "MRI", TEXTS[4]], [TEXTS[0], "", "X-ray", "MRI"], semantic_types="official127"
    )
    assert scores[:3] == [1.0, 0.0, 0.0]
    assert 0 < scores[3] < 1


def test_references_are_tagged_once_for_all_candidates_and_processes(pack: Path, tmp_path: Path, monkeypatch) -> None:
    seen: list[str] = []
    look = umls_f1.tag_text
    monkeypatch.setattr(umls_f1, "tag_text", lambda cat, text: (seen.append(text), look(cat, text))[1])
    first = ConceptTagger(pack, cache=tmp_path)
    scores = first.score(["CT"], TEXTS[:1], semantic_types="medcon66")
    assert seen == [TEXTS[0], "CT"]
    later = ConceptTagger(pack, cache=tmp_path)
    assert later.score(["CT", "CT"], TEXTS[:1] * 2, semantic_types="medcon66") == scores * 2
    assert seen == [TEXTS[0], "CT", "CT"]
