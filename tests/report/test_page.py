"""The page as a file: foreign text stays text, data are whole, sizes are kept, bytes repeat."""

import base64
import hashlib
import html
import json
import re
from pathlib import Path

import pytest

from radcap.report.page import Gallery, Picture, Section, Table
from radcap.report.page.images import SIDE, place, shrink
from radcap.report.page.sections import paragraphs, render
from radcap.report.page.write import OWN, SCRIPTS, bundle
from tests.conftest import png
from tests.report.page_sample import HOSTILE, REFERENCES, gallery, make


def blocks(page: str) -> dict[str, object]:
    """{id: value} of every JSON block, as a browser would find them."""
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script', page, re.DOTALL)
    return {name: json.loads(text) for name, text in found}


def test_foreign_text_is_never_markup(tmp_path: Path) -> None:
    make(tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "onerror" in page
    assert "<img src=x" not in page
    assert "<!--" not in page
    assert page.count("</script>") == page.count("<script ") == 6
    assert html.escape(HOSTILE) in page


def test_only_the_own_script_and_style_may_run(tmp_path: Path) -> None:
    make(tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    for tag, name in (('<script type="module">', "script-src"), ("<style>", "style-src")):
        text = page.split(tag)[1].split(f"</{tag[1:].split('>')[0].split()[0]}>")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"(?:src|href)=\"?(?:https?:)?//|@import|url\(", page)
    assert 'style="' not in page


def test_the_data_are_those_given(tmp_path: Path) -> None:
    make(tmp_path / "index.html")
    found = blocks((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert list(found) == ["run-0", "run-1", "run-2", "images", "examples"]
    examples = found["examples"]
    assert examples["references"] == REFERENCES
    assert examples["modality"] == {"texts": ["CT", "MRI", "X-ray"], "at": [0, 1, 2]}
    assert examples["predicted"] == {"texts": ["CT", "X-ray"], "at": [0, 0, 1]}
    assert examples["probability"] == [9800, 5000, 10000]
    assert examples["runs"][0] == {"model": "alpha", "variant": "plain", "metrics": ["Overall", "BLEURT"], "cut": 1}
    run = found["run-0"]
    assert run["scores"] == {"Overall": [5000, 1000, 9876], "BLEURT": [None, -2500, 10000]}
    assert run["cut"] == [1]
    assert found["run-1"]["texts"] == ["a"]
    assert found["run-1"]["at"] == [0, 0, 0]
    assert found["run-1"]["concepts"] is None
    named = [[examples["cuis"][number] for number in concepts] for concepts in run["concepts"]]
    assert named == [[["C01", "Chest"], ["C03", ""]], [], [["C02", "<b>Nodule</b>"]]]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    written = make(first)
    make(second)
    assert first.read_bytes() == second.read_bytes()
    assert written.size == first.stat().st_size
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.html", "b.html"]


def test_a_column_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gallery: a column has 1 entries for 3 ids"):
        make(tmp_path / "index.html", gallery=gallery(modality=["CT"]))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_gallery_is_a_page(tmp_path: Path) -> None:
    make(tmp_path / "index.html", gallery=Gallery(ids=[], references=[]))
    assert blocks((tmp_path / "index.html").read_text())["examples"]["ids"] == []


def test_images_are_embedded_then_beside_then_left_out(tmp_path: Path) -> None:
    pictures = [png(number) for number in range(4)]
    small = [shrink(data)[0] for data in pictures]
    first = len("data:image/jpeg;base64,") + 4 * -(-len(small[0]) // 3)
    written = make(
        tmp_path / "index.html",
        gallery=Gallery(ids=list("abcd"), references=list("abcd"), images=[*pictures[:3], b"no image"]),
        image_limit_bytes=first,
        file_limit_bytes=len(small[1]),
    )
    sources = blocks((tmp_path / "index.html").read_text())["images"]
    assert [source[:10] for source in sources] == ["data:image", "images/000", "", ""]
    assert (tmp_path / sources[1]).read_bytes() == small[1]
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["000001.jpeg"]
    assert written.notes == [
        "1 of 4 images lie in the folder beside this page, which has to move with it.",
        "1 of 4 images are left out, beyond the limits of the page's size.",
        "1 of 4 images cannot be read.",
    ]
    assert all(note in html.unescape((tmp_path / "index.html").read_text()) for note in written.notes)


def test_images_of_an_older_page_do_not_stay(tmp_path: Path) -> None:
    make(tmp_path / "index.html", image_limit_bytes=0, file_limit_bytes=10**6)
    assert len(list((tmp_path / "images").iterdir())) == 3
    make(tmp_path / "index.html")
    assert not (tmp_path / "images").exists()


def test_pictures_are_made_small_in_the_shorter_format(tmp_path: Path) -> None:
    noise, kind, size = shrink(png(1, size=(900, 600)))
    assert (kind, size) == ("jpeg", (SIDE, 256))
    assert len(noise) < 100_000
    assert shrink(png(1, size=(8, 8)))[1] == "png"
    placed = place([noise], tmp_path, name="x", page_bytes=10**6, file_bytes=0)
    assert placed.sizes == [(SIDE, 256)]


COLUMNS = [
    # cells, what they sort by (None: as text)
    ([0.25, 1, None], ["0.25", "1.0", None]),
    (["1,204.5", "-3", "−2", "n/a", ""], ["1204.5", "-3.0", "-2.0", None, None]),
    (["+3.1 %", "0 %"], ["3.1", "0.0"]),
    (["0.41 [0.38, 0.44]", "0.5 (0.1)", ".5 *"], ["0.41", "0.5", "0.5"]),
    (["< 0.001", "1e-05"], ["0.001", "1e-05"]),
    (["3 s", "2 min"], None),
    (["7B", "ViT-B"], None),
    (["2024-05-08", "x"], None),
    (["n/a", ""], None),
]


@pytest.mark.parametrize(("cells", "values"), COLUMNS, ids=[str(cells[0]) for cells, _ in COLUMNS])
def test_columns_of_numbers_sort_by_value(cells: list[str | float | None], values: list[str | None] | None) -> None:
    page = render([Section(heading="x", parts=[Table(header=["h"], rows=[[cell] for cell in cells])])])
    found = re.findall(r"<td([^>]*)>", page)
    if values is None:
        assert set(found) == {""}
    else:
        shown = ["" if value is None else f' data-value="{value}"' for value in values]
        assert found == [f' class="number"{value}' for value in shown]


def test_a_row_of_one_cell_heads_a_group() -> None:
    rows = [["Large"], ["a", "1"], ["b", ""]]
    page = render([Section(heading="x", parts=[Table(header=["Model", "n"], rows=rows)])])
    assert '<tr class="group"><th scope="rowgroup" colspan="2">Large</th></tr>' in page
    assert page.count('class="group"') == 1
    assert '<td class="number" data-value="1.0">1</td>' in page


def test_prose_is_paragraphs_and_lists() -> None:
    assert paragraphs("a\nb\n\n- c\n- <d>\ne") == "<p>a b</p><ul><li>c</li><li>&lt;d&gt;</li></ul><p>e</p>"


def test_a_picture_that_is_neither_png_nor_svg_is_refused() -> None:
    with pytest.raises(ValueError, match="a picture must be a PNG, or an SVG with a viewBox"):
        render([Section(heading="x", parts=[Picture(data=b"GIF89a", alt="x")])])


def test_modules_import_only_what_stands_before_them() -> None:
    """Bundling drops the imports, so the order of SCRIPTS must satisfy them."""
    known: dict[str, set[str]] = {}
    for name in SCRIPTS:
        text = (OWN / name).read_text(encoding="utf-8")
        for names, source in re.findall(r'^import \{([^}]+)\} from "\./([\w.]+)";$', text, re.MULTILINE):
            assert {wanted.strip() for wanted in names.split(",")} <= known[source], f"{name} from {source}"
        known[name] = set(re.findall(r"^export (?:const|function|class) (\w+)", text, re.MULTILINE))
    assert not re.search(r"^(?:import|export)\b", bundle(), re.MULTILINE)
    assert "innerHTML" not in bundle()
    assert {path.name for path in OWN.glob("*.js")} == set(SCRIPTS)
