"""The page's content is what the pipeline's own files say; what is not there is told."""

import json
import re
from pathlib import Path

import pytest

from radcap import cli, files, layout
from radcap.caption.records import Caption, write_captions
from radcap.data import store
from radcap.errors import UserError
from radcap.metrics.protocols import METRICS, PROTOCOLS
from radcap.metrics.raw_scores import write_per_caption
from radcap.report.page import Picture, Run, Section, Table, collect, markdown
from tests.conftest import copy_settings, png
from tests.models_for_tests import PARAMS
from tests.report.page_sample import SVG

IDS = ["t1", "t2"]
# Of the classifier's file: label, predicted, probability.
MODALITY = {"label": ["ct", "mri"], "predicted": ["ct", "ct"], "probability": [0.9, 0.6]}


def captions(model: str, variant: str, ids: list[str] = IDS) -> None:
    common = {"variant": variant, "tokens": 3, "logprob": -1.0}
    said = {id_: f"{model} {variant} {id_}" for id_ in ids}
    ends = {"t2": "length"}
    made = [
        Caption(id=id_, raw=text, caption=text, finish=ends.get(id_, "end"), **common) for id_, text in said.items()
    ]
    write_captions(Path("captions") / model / f"{variant}.jsonl", made)


def scores(model: str, variant: str, ids: list[str] = IDS, without: str = "") -> None:
    columns: dict[str, list] = {"id": ids}
    for side, found in (("candidate", [["C1"], []]), ("reference", [["C1", "C0040405"], []])):
        columns |= {f"{side}_cuis/{types}": found for types in ("medcon66", "official127")}
    for protocol in PROTOCOLS:
        for number, metric in enumerate(METRICS):
            columns[f"{protocol}/{metric}"] = [None, None] if metric == without else [number / 10, 0.25]
    write_per_caption(Path("scores") / model / f"{variant}.parquet", columns)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """Two test images; two models with captions, one of them under two variants, one of which is not scored."""
    monkeypatch.chdir(tmp_path)
    copy_settings(tmp_path)
    rows = [
        store.Row(id=id_, image=png(1), caption=id_, raw_caption=f" {id_} ", cuis=cuis, width=40, height=32, sha256="")
        for id_, cuis in zip(IDS, [("C9", "C0040405"), ("C9",)], strict=True)
    ]
    store.write(Path("data/test.arrow"), rows)
    for variant in ("base", "plain"):
        captions("smolvlm_500m", variant)
    captions("moondream2", "plain")
    scores("smolvlm_500m", "plain", without="bleurt")
    scores("moondream2", "plain")
    return tmp_path


def runs() -> dict[str, Run]:
    return {f"{run.model}/{run.variant}": run for run in collect.gallery(PARAMS).runs}


@pytest.mark.usefixtures("workspace")
def test_a_run_is_a_file_of_captions_in_the_order_of_params() -> None:
    found = runs()
    assert list(found) == ["moondream2/plain", "smolvlm_500m/plain", "smolvlm_500m/base"]
    plain = found["moondream2/plain"]
    assert plain.captions == ["moondream2 plain t1", "moondream2 plain t2"]
    assert plain.cut == [False, True]
    assert plain.concepts == [["C1"], []]
    assert list(plain.scores)[:4] == ["Overall", "Relevance", "Factuality", "Similarity"]
    assert plain.scores["Relevance"] == pytest.approx([0.15, 0.25])
    assert plain.scores["Factuality"] == pytest.approx([0.45, 0.25])
    assert plain.scores["Overall"] == pytest.approx([0.3, 0.25])


@pytest.mark.usefixtures("workspace")
def test_what_was_not_scored_is_absent_and_so_is_what_it_is_part_of() -> None:
    found = runs()
    assert list(found["smolvlm_500m/plain"].scores) == [
        "Factuality",
        "Similarity",
        "BERTScore",
        "ROUGE-1",
        "UMLS F1",
        "AlignScore",
    ]
    assert found["smolvlm_500m/base"].scores == {}
    assert found["smolvlm_500m/base"].concepts is None
    notes = collect.gallery(PARAMS).notes
    assert notes[0].startswith("No captions of llava_mistral_7b, ")
    assert notes[1] == "No scores of smolvlm_500m (base)."


@pytest.mark.usefixtures("workspace")
def test_references_are_those_that_were_scored() -> None:
    gallery = collect.gallery(PARAMS)
    assert gallery.ids == IDS
    assert gallery.references == [" t1 ", " t2 "]
    assert gallery.concepts == [["C1", "C0040405"], []]
    assert gallery.names["C0040405"] == "X-Ray Computed Tomography"
    assert list(gallery.images) == [png(1), png(1)]


@pytest.mark.usefixtures("workspace")
def test_modality_is_the_curated_concepts_or_the_classifiers_file() -> None:
    gallery = collect.gallery(PARAMS)
    assert gallery.modality == ["X-Ray Computed Tomography", ""]
    assert gallery.predicted == []
    write_per_caption(layout.predicted_modalities("test"), {"id": IDS, **MODALITY})
    gallery = collect.gallery(PARAMS)
    assert gallery.modality == ["ct", "mri"]
    assert gallery.predicted == [("ct", 0.9), ("ct", 0.6)]
    untrained = {"label": ["ct", None], "predicted": [None, None], "probability": [None, None]}
    write_per_caption(layout.predicted_modalities("test"), {"id": IDS, **untrained})
    gallery = collect.gallery(PARAMS)
    assert gallery.modality == ["ct", ""]
    assert gallery.predicted == []


@pytest.mark.usefixtures("workspace")
def test_files_of_another_test_split_are_refused() -> None:
    captions("moondream2", "plain", ["t2", "t1"])
    with pytest.raises(UserError, match=r"captions/moondream2/plain.jsonl: ids differ from the test split's; run `dvc"):
        runs()
    captions("moondream2", "plain")
    scores("moondream2", "plain", ["t2", "t1"])
    with pytest.raises(UserError, match=r"scores/moondream2/plain.parquet: ids differ"):
        runs()


def test_a_folders_own_names_of_concepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sample = PARAMS.active
    data = sample.data.model_copy(update={"source": "folder", "path": "mine"})
    profiles = PARAMS.profiles | {PARAMS.profile: sample.model_copy(update={"data": data})}
    params = PARAMS.model_copy(update={"profiles": profiles})
    assert "C7" not in collect._names(params)
    files.write_text(Path("mine/cui_mapping.csv"), "CUI,Canonical name\nC7,Seven\nC0040405,CT\n")
    assert collect._names(params)["C7"] == "Seven"
    assert collect._names(params)["C0040405"] == "CT"


REPORT = """# Audit

One `figure` is **off**; see [the page](other.md).

- first
- second

| Model | A \\| B |
| --- | ---: |
| **Large models** | |
| **x** | 1.5 |
| short |

## Plots

![Overall by model](plots/overall.svg)
![Lost](plots/lost.svg)
"""


def test_markdown_becomes_sections(tmp_path: Path) -> None:
    files.write_text(tmp_path / "audit.md", REPORT)
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/overall.svg").write_bytes(SVG)
    assert markdown.sections(tmp_path / "audit.md") == [
        Section(
            heading="Audit",
            parts=[
                "One figure is off; see the page.\n\n- first\n- second",
                Table(header=["Model", "A | B"], rows=[["Large models"], ["x", "1.5"], ["short", ""]]),
            ],
        ),
        Section(
            heading="Plots",
            level=3,
            parts=[Picture(data=SVG, alt="Overall by model"), "plots/lost.svg is not there."],
        ),
    ]


def test_a_heading_over_others_alone_is_a_section_too(tmp_path: Path) -> None:
    files.write_text(tmp_path / "audit.md", "# Audit\n\n## The study\n\nfine\n")
    assert markdown.sections(tmp_path / "audit.md") == [
        Section(heading="Audit", parts=[]),
        Section(heading="The study", level=3, parts=["fine"]),
    ]


def test_reports_come_summary_first_and_plots_that_none_of_them_shows_last(tmp_path: Path) -> None:
    for name in ("audit", "summary"):
        files.write_text(tmp_path / f"{name}.md", f"# {name}\n\ntext\n")
    files.write_text(tmp_path / "tables/table1.md", "| x |\n| --- |\n| 1 |\n")
    files.write_text(tmp_path / "shown.md", REPORT)
    (tmp_path / "plots").mkdir()
    plots = {"overall.svg": SVG, "overall.png": png(0), "cost.svg": SVG + b"\n", "cost.png": png(1), "loss.png": png(2)}
    for name, data in plots.items():
        (tmp_path / "plots" / name).write_bytes(data)
    found = collect.sections(tmp_path)
    assert [section.heading for section in found] == ["summary", "Table1", "audit", "Audit", "Plots", "Plots"]
    assert [(part.caption, part.data) for part in found[-1].parts] == [("Cost", plots["cost.svg"]), ("Loss", png(2))]


def test_the_command_writes_the_page(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.write_text(Path("reports/summary.md"), "# Results\n\nAll.\n")
    cli.main(["report", "--page"])
    told = capsys.readouterr().out
    assert told.startswith("reports/index.html: 0.0 MiB\nNo captions of llava_mistral_7b, ")
    page = (workspace / "reports/index.html").read_text(encoding="utf-8")
    assert "Not comparable. These are miniatures trained on drawn phantoms" in page
    assert "Not a medical device" in page
    examples = json.loads(re.search(r'id="examples">(.*?)</script', page)[1])
    assert examples["ids"] == IDS
    assert [run["model"] for run in examples["runs"]] == ["moondream2", "smolvlm_500m", "smolvlm_500m"]
