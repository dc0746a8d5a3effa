"""The page in headless Chromium: it sorts, filters, opens an example by keyboard, and marks words as ROUGE-1 counts them."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from radcap.metrics.rouge1 import word_counts
from radcap.report.page import Gallery, Run
from radcap.report.page.write import OWN
from tests.report.browser import Browser, chromium, missing
from tests.report.page_sample import HOSTILE, make

pytestmark = pytest.mark.skipif(
    bool(missing()), reason=f"not installed: {', '.join(missing())} (apt-get install chromium chromium-driver)"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "index.html"
    # One picture is in the page, two are beside it.
    make(out, image_limit_bytes=2000, file_limit_bytes=10**6)
    return out.as_uri()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Browser]:
    """The page, just opened and idle; at its end nothing may have been refused or thrown."""
    browser.open("about:blank")
    browser.complaints()
    browser.open(url)
    browser.wait("performance.getEntriesByName('warm').length")
    yield browser
    assert browser.complaints() == []


def texts(page: Browser, selector: str) -> list[str]:
    return page.run("return [...document.querySelectorAll(arguments[0])].map(node => node.innerText)", selector)


def ids(page: Browser) -> list[str]:
    """The list's rows from above to below."""
    script = """return [...document.querySelectorAll('.row')].sort((a, b) => a.position - b.position)
        .map(row => row.querySelector('b').innerText)"""
    return page.run(script)


def choose(page: Browser, field: str, value: str) -> None:
    script = """const field = document.getElementById(arguments[0]); field.value = arguments[1];
        field.dispatchEvent(new Event('input', {bubbles: true}))"""
    page.run(script, field, value)


def first_column(page: Browser) -> list[str]:
    return texts(page, "tbody :is(td, th):first-child")


def test_foreign_text_is_shown_and_not_run(page: Browser) -> None:
    assert page.run("return document.title") == "Trial"
    assert texts(page, "th")[3] == HOSTILE
    assert texts(page, ".row:nth-child(2) .text") == [f"MRI of the brain. {HOSTILE}", HOSTILE]
    assert page.run("return document.querySelectorAll('[onerror]').length") == 0


def test_a_table_sorts_by_key_and_keeps_missing_figures_last(page: Browser) -> None:
    header = "document.querySelectorAll('th')[1]"
    page.run(f"{header}.firstElementChild.focus()")
    found = []
    for _ in range(3):
        page.press("Enter")
        found.append((page.run(f"return {header}.ariaSort"), first_column(page)))
    assert found == [
        ("descending", ["alpha", "beta", "gamma"]),
        ("ascending", ["beta", "alpha", "gamma"]),
        (None, ["Group", "alpha", "beta", "gamma"]),
    ]


def test_a_table_sorts_numbers_by_value_and_texts_as_read(page: Browser) -> None:
    for number, expected in ((2, ["alpha", "beta", "gamma"]), (3, ["gamma", "beta", "alpha"])):
        page.run("document.querySelectorAll('th button')[arguments[0]].click()", number)
        assert first_column(page) == expected
        assert page.run("return document.querySelectorAll('[aria-sort]').length") == 1


FILTERS = [
    ({"modality": "MRI"}, ["case_2"], "1 of 3 examples, mean Overall 0.100"),
    ({"low": "0.3"}, ["case_1", "case_3"], "2 of 3 examples, mean Overall 0.744"),
    ({"model": "beta", "high": "0.4"}, ["case_1", "case_3"], "2 of 3 examples, mean Overall 0.300"),
    ({"variant": "base", "low": "0.015"}, ["case_3"], "1 of 3 examples, mean Overall 0.020"),
    ({"metric": "BLEURT", "high": "0"}, ["case_2"], "1 of 3 examples, mean BLEURT -0.250"),
    ({"order": "down"}, ["case_3", "case_1", "case_2"], "3 of 3 examples, mean Overall 0.529"),
    ({"metric": "BLEURT", "order": "up"}, ["case_2", "case_3", "case_1"], "3 of 3 examples, mean BLEURT 0.375"),
    ({"concepts": "missed"}, ["case_1", "case_2"], "2 of 3 examples, mean Overall 0.300"),
    ({"concepts": "invented"}, ["case_1"], "1 of 3 examples, mean Overall 0.500"),
    ({"concepts": "exact"}, ["case_3"], "1 of 3 examples, mean Overall 0.988"),
    ({"search": "LUNG mass"}, ["case_1"], "1 of 3 examples, mean Overall 0.500"),
    ({"search": "case_2"}, ["case_2"], "1 of 3 examples, mean Overall 0.100"),
    ({"search": "nowhere"}, [], "0 of 3 examples"),
]


@pytest.mark.parametrize(("filters", "expected", "told"), FILTERS, ids=[json.dumps(case[0]) for case in FILTERS])
def test_filters_and_orders(page: Browser, filters: dict[str, str], expected: list[str], told: str) -> None:
    for field, value in filters.items():
        choose(page, field, value)
    assert ids(page) == expected
    assert page.run("return document.getElementById('count').value") == told
    page.run("document.querySelector('[type=reset]').click()")
    page.wait("document.getElementById('count').value.startsWith('3 of 3')")
    assert ids(page) == ["case_1", "case_2", "case_3"]


def test_an_example_opens_moves_and_closes_by_keyboard(page: Browser) -> None:
    page.press("/")
    assert page.run("return document.activeElement.id") == "search"
    page.press("case", "Escape", "j", "Down", "k", "Enter")
    page.wait("document.getElementById('example').open")
    assert texts(page, "#example-id, #position") == ["case_2", "2 of 3"]
    assert page.run("return location.hash") == "#example=case_2"
    page.press("Left")
    assert texts(page, "#example-id") == ["case_1"]
    assert page.run("return document.getElementById('previous').disabled")
    page.press("Escape")
    assert not page.run("return document.getElementById('example').open")
    assert page.run("return document.activeElement.id") == "list"
    assert texts(page, "[aria-selected=true] b") == ["case_1"]


def test_an_example_shows_differences_concepts_and_scores(page: Browser) -> None:
    page.run("document.getElementById('list').focus()")
    page.press("Enter")
    page.wait("document.querySelectorAll('.run').length === 2")
    first = "document.querySelector('.run')"
    # The reference: Axial CT of the chest shows a 12 mm nodule in the left lung.
    assert page.run(f"return {first}.querySelector('.text').innerText") == (
        "Axial CT of the chest shows a 12 mm nodule mass in the left lung."
    )
    assert texts(page, ".run:first-child ins") == ["mass"]
    assert texts(page, ".run:first-child del") == ["12 mm nodule"]
    lines = page.run(
        "return ['ins', 'del'].map(t => getComputedStyle(document.querySelector('.run ' + t)).textDecorationLine)"
    )
    assert lines == ["underline", "line-through"]
    assert texts(page, ".run:first-child .concepts div") == ["found\nChest", "missed\n<b>Nodule</b>", "invented\nC03"]
    assert texts(page, ".run:first-child .scores div") == ["Overall\n0.500", "BLEURT\nn/a"]
    assert texts(page, ".tag") == ["highest Overall", "empty caption"]
    assert texts(page, "#facts dd")[-2:] == ["CT", "CT, 0.980"]
    page.press("d")
    assert texts(page, ".run:first-child ins") == []
    choose(page, "shown", "")
    assert len(texts(page, ".run")) == 3
    choose(page, "runs-order", "score")
    assert texts(page, ".run h3") == ["alpha plain", "beta plain", "alpha base"]


def test_pictures_are_shown_wherever_they_lie(page: Browser) -> None:
    page.wait("[...document.querySelectorAll('.thumb img')].every(image => image.complete && image.naturalWidth)")
    kinds = page.run("return [...document.querySelectorAll('.thumb img')].map(i => i.getAttribute('src').slice(0, 7))")
    assert kinds == ["data:im", "images/", "images/"]


BARE = {
    "empty": Gallery(ids=[], references=[]),
    "references alone": Gallery(ids=["a", "b"], references=["one", "two"]),
    "captions without scores": Gallery(ids=["a"], references=["x"], runs=[Run(model="m", variant="v", captions=["y"])]),
}


@pytest.mark.parametrize("name", BARE)
def test_a_page_of_less_works(page: Browser, tmp_path: Path, name: str) -> None:
    make(tmp_path / "index.html", gallery=BARE[name])
    page.open((tmp_path / "index.html").as_uri())
    page.wait("performance.getEntriesByName('warm').length")
    count = len(BARE[name].ids)
    assert ids(page) == BARE[name].ids
    for field, value in (("low", "0.5"), ("low", ""), ("order", "down"), ("search", "nowhere"), ("search", "")):
        choose(page, field, value)
    assert page.run("return document.getElementById('count').value") == f"{count} of {count} examples"
    page.run("document.getElementById('list').focus()")
    page.press("j", "Enter")
    assert page.run("return document.getElementById('example').open") == (count > 0)


def test_a_long_list_has_few_rows_and_all_can_be_reached(page: Browser, tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(5000)]
    make(tmp_path / "index.html", gallery=Gallery(ids=names, references=names))
    page.open((tmp_path / "index.html").as_uri())
    page.wait("performance.getEntriesByName('warm').length")
    page.run("document.getElementById('list').focus()")
    for key, chosen in (("End", "n4999"), ("k", "n4998"), ("Home", "n0"), ("Down", "n1")):
        page.press(key)
        assert texts(page, "[aria-selected=true] b") == [chosen]
        # It is the one that a screen reader is told of, and it is in sight.
        seen = """const row = document.getElementById(document.activeElement.getAttribute('aria-activedescendant'));
            const [a, b] = [row, row.closest('#list')].map((node) => node.getBoundingClientRect());
            return [row.querySelector('b').innerText, row.ariaPosInSet, a.top >= b.top && a.bottom <= b.bottom]"""
        assert page.run(seen) == [chosen, str(int(chosen[1:]) + 1), True]
    assert page.run("return document.querySelectorAll('.row').length") < 40
    page.run("document.getElementById('list').scrollTop = 120 * 2500")
    page.wait("[...document.querySelectorAll('.row b')].some(node => node.innerText === 'n2500')")


HOSTILE_IDS = ["a b&c=d", "100%", "\ud83e", '"><b>']


def test_ids_may_be_anything(page: Browser, tmp_path: Path) -> None:
    make(tmp_path / "index.html", gallery=Gallery(ids=HOSTILE_IDS, references=["x"] * 4))
    page.open((tmp_path / "index.html").as_uri())
    page.wait("performance.getEntriesByName('warm').length")
    page.run("document.getElementById('list').focus()")
    page.press("Enter", "j", "j", "j")
    assert texts(page, "#example-id") == [HOSTILE_IDS[3]]
    page.run("location.hash = '#example=100%25'")
    page.wait("document.getElementById('example-id').innerText === '100%'")
    page.run("location.hash = '#example=%E0%A4%A'")
    assert texts(page, "#example-id") == ["100%"]


def test_a_link_opens_its_example(page: Browser, url: str) -> None:
    page.open("about:blank")
    page.open(f"{url}#example=case_3")
    page.wait("performance.getEntriesByName('warm').length")
    assert texts(page, "#example-id, #position") == ["case_3", "3 of 3"]


def test_nothing_moves_while_it_loads(page: Browser) -> None:
    script = """return new Promise((done) => {
        new PerformanceObserver((list) => done(list.getEntries().map(({value}) => value)))
          .observe({type: 'layout-shift', buffered: true});
        setTimeout(() => done([]), 200); })"""
    assert page.run(script) == []


# As wide as a font gets that a machine may have in place of the page's.
WIDE_FONT = '* { font-family: "DejaVu Sans Mono", monospace !important; letter-spacing: 1px !important }'
TOO_WIDE = """const width = document.documentElement.clientWidth;
    return [document.documentElement.scrollWidth - width, document.getElementById('example').scrollWidth - width]"""


@pytest.mark.parametrize("style", ["", WIDE_FONT], ids=["own fonts", "a wide font"])
@pytest.mark.parametrize("mobile", [True, False])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_window(page: Browser, width: int, mobile: bool, style: str) -> None:
    """Neither the page, whose headings hold words longer than a phone is wide, nor an example."""
    page.devtools("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=mobile)
    try:
        page.run(
            "const sheet = new CSSStyleSheet(); sheet.replaceSync(arguments[0]); document.adoptedStyleSheets = [sheet]",
            style,
        )
        assert page.run(TOO_WIDE)[0] <= 0
        page.run("document.getElementById('list').focus()")
        page.press("Enter")
        assert page.run("return document.getElementById('example').open")
        assert max(page.run(TOO_WIDE)) <= 0
    finally:
        page.devtools("Emulation.clearDeviceMetricsOverride")


CAPTIONS = [
    "Axial CT, left-sided 5.0 cm mass (arrow).",
    "T1‑weighted MRI of “the” café – naïve 3×4 mm²; 10–12 %",
    "\u00a0\u202f 12\u0664 K Kelvin\u212aelvin ẞ straße \n\ttabs",
    "_under_score 'quoted' a/b c\\d --- ...",
    "🫀 heart 1️⃣ é́ ﬁne Ⅷ ½",
    "",
]


def test_words_are_those_of_rouge(browser: Browser) -> None:
    source = base64.b64encode((OWN / "words.js").read_bytes()).decode()
    script = """const {words} = await import('data:text/javascript;base64,' + arguments[0]);
        return arguments[1].map(text => words(text).found.map(({word}) => word))"""
    browser.open("about:blank")
    found = browser.run(f"return (async (...arguments) => {{ {script} }})(...arguments)", source, CAPTIONS)
    assert [sorted(each) for each in found] == [sorted(word_counts(text).elements()) for text in CAPTIONS]


def test_differences_hold_the_whole_caption(browser: Browser) -> None:
    """What is not struck is the caption, letter by letter; what is not underlined has the reference's words."""
    source = base64.b64encode((OWN / "words.js").read_bytes()).decode()
    script = """const {difference} = await import('data:text/javascript;base64,' + arguments[0]);
        return arguments[1].map(([a, b]) => difference(a, b))"""
    pairs = [[reference, caption] for reference in CAPTIONS for caption in CAPTIONS]
    browser.open("about:blank")
    found = browser.run(f"return (async (...arguments) => {{ {script} }})(...arguments)", source, pairs)
    for (reference, caption), pieces in zip(pairs, found, strict=True):
        own = "".join(piece["lead"] + piece["text"] for piece in pieces if piece["kind"] != "missing")
        assert own.split() == caption.split()
        kept = " ".join(piece["text"] for piece in pieces if piece["kind"] != "added")
        assert word_counts(kept) == word_counts(reference)
