"""Size and speed of the page in headless Chromium: python -m benchmarks.page (from the root; wants chromium-driver).

1,000 and 19,267 made-up examples (the study's test split) by ten models under three variants: how long until the page
answers, what a filter, an order, a scroll and an example take, and the longest task after loading. About five minutes,
most of them for 19,267 images; --no-images leaves them out, --examples N measures another number.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from radcap.report.page import Gallery, Run, Section, Table, Written, write
from tests.report.browser import Browser, chromium

COUNTS = (1000, 19_267)
MODELS = [f"model_{number}" for number in range(10)]
VARIANTS = ("plain", "modality", "base")
METRICS = (
    "Overall",
    "Relevance",
    "Factuality",
    "Similarity",
    "BERTScore",
    "ROUGE-1",
    "BLEURT",
    "UMLS F1",
    "AlignScore",
)
MODALITIES = ("CT", "X-ray", "MRI", "Ultrasound", "Angiography", "PET", "OCT")
# ROCOv2's captions have 21 words in the mean, and concepts are a few of many.
WORDS, CONCEPTS = 21, 2000
IMAGE_LIMIT, FILE_LIMIT = 32 * 2**20, 2 * 2**30

# Milliseconds from a change until the frame that shows it is painted.
CHANGE = """
const [field, value] = arguments;
const node = document.getElementById(field);
const start = performance.now();
node.value = value;
node.dispatchEvent(new Event('input', {bubbles: true}));
return new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now() - start))));
"""
# Milliseconds of each of 120 frames while the list scrolls, by rows first and then through all of it.
SCROLL = """
const list = document.getElementById('list');
const times = [];
let last = performance.now();
return new Promise((done) => {
  const step = () => {
    const now = performance.now();
    times.push(now - last);
    last = now;
    const jump = times.length < 60 ? 240 : list.scrollHeight / 60;
    list.scrollTop += jump;
    if (times.length < 120) requestAnimationFrame(step); else { list.scrollTop = 0; done(times.slice(1)); }
  };
  requestAnimationFrame(step);
});
"""
OPEN = """
const start = performance.now();
document.querySelector('.row').click();
return new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now() - start))));
"""
WATCH = """
window.tasks = [];
const keep = (list) => list.getEntries().forEach(({startTime, duration}) => window.tasks.push([startTime, duration]));
new PerformanceObserver(keep).observe({type: 'longtask', buffered: true});
"""
FILTERS = [
    ("modality", "CT"),
    ("low", "0.5"),
    ("search", "w11 w7"),
    ("concepts", "missed"),
    ("modality", ""),
    ("low", ""),
    ("search", ""),
    ("concepts", ""),
]
# A run that is shown for the first time, and its metrics.
RUNS = [("model", "model_7"), ("variant", "base"), ("metric", "BLEURT")]
ORDERS = [("order", "down"), ("order", "up"), ("order", "")]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--examples", type=int, nargs="+", default=list(COUNTS))
    options.add_argument("--no-images", action="store_true")
    options.add_argument("--keep", type=Path, help="write the pages here, and keep them")
    given = options.parse_args()
    print(
        f"{len(MODELS)} models x {len(VARIANTS)} variants x {len(METRICS)} scores; milliseconds, the largest of several"
    )
    print("| examples | written s | MiB | ready | warm | filter | run | order | scroll frame | open | longest task |")
    print("|" + " ---: |" * 11)
    notes: list[str] = []
    for count in given.examples:
        with tempfile.TemporaryDirectory() as name:
            folder = given.keep / str(count) if given.keep else Path(name)
            start = time.monotonic()
            written = build(folder / "index.html", count, images=not given.no_images)
            seconds = time.monotonic() - start
            with chromium() as browser:
                figures = measure(browser, (folder / "index.html").as_uri())
        shown = " | ".join(f"{value:,.0f}" for value in figures)
        print(f"| {count:,} | {seconds:.0f} | {written.size / 2**20:.1f} | {shown} |", flush=True)
        notes += [f"{count:,}: {note}" for note in written.notes]
    print("\n".join(notes))


def measure(browser: Browser, url: str) -> list[float]:
    """ready, warm, filter, run, order, scroll, open, longest task after ready."""
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
    browser.open(url)
    browser.wait("performance.getEntriesByName('warm').length", seconds=60)
    ready, warm = (
        browser.run("return performance.getEntriesByName(arguments[0])[0].startTime", n) for n in ("ready", "warm")
    )
    changes = [max(browser.run(CHANGE, *change) for change in some) for some in (FILTERS, RUNS, ORDERS)]
    scroll = max(browser.run(SCROLL))
    opened = browser.run(OPEN)
    tasks = browser.run(
        "return window.tasks.filter(([start]) => start > arguments[0]).map(([, length]) => length)", ready
    )
    return [ready, warm, *changes, scroll, opened, max(tasks, default=0)]


def build(out: Path, count: int, *, images: bool) -> Written:
    """A page of made-up examples, the same at every call."""
    random = np.random.default_rng(1)
    captions = [sentence(random) for _ in range(count)]
    rows = [[model, *random.random(len(METRICS)).tolist()] for model in MODELS for _ in range(20)]
    gallery = Gallery(
        ids=[f"ROCOv2_2023_test_{number:06d}" for number in range(count)],
        references=captions,
        images=pictures(count) if images else [b""] * count,
        modality=random.choice(MODALITIES, count).tolist(),
        concepts=concepts(random, count),
        names={f"C{number:07d}": f"Concept {number}" for number in range(CONCEPTS)},
        runs=(run(random, model, variant, count) for model in MODELS for variant in VARIANTS),
    )
    section = Section(heading="Results", parts=[Table(header=["Model", *METRICS], rows=rows)])
    return write(
        out,
        title="Measured",
        sections=[section],
        gallery=gallery,
        image_limit_bytes=IMAGE_LIMIT,
        file_limit_bytes=FILE_LIMIT,
    )


def run(random: np.random.Generator, model: str, variant: str, count: int) -> Run:
    scores = {metric: random.random(count).tolist() for metric in METRICS}
    captions = [sentence(random) for _ in range(count)]
    return Run(model=model, variant=variant, captions=captions, scores=scores, concepts=concepts(random, count))


def sentence(random: np.random.Generator) -> str:
    """Words of Zipf's frequencies, 21 in the mean, as long as English ones in the mean."""
    return " ".join(
        f"w{number}" + "orde"[: number % 5] for number in random.zipf(1.5, random.poisson(WORDS) + 1) % 9999
    )


def concepts(random: np.random.Generator, count: int) -> list[list[str]]:
    return [[f"C{n:07d}" for n in sorted(set(random.zipf(1.5, 4) % CONCEPTS))] for _ in range(count)]


def pictures(count: int) -> Iterator[bytes]:
    """Blurred noise of 500 x 420 pixels, which takes about as many bytes as a radiograph; 40 of them in turn."""
    known = []
    for number in range(40):
        noise = np.random.default_rng(number).integers(0, 255, (420, 500), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3)).save(buffer, "PNG")
        known.append(buffer.getvalue())
    for number in range(count):
        yield known[number % len(known)]


if __name__ == "__main__":
    main()
