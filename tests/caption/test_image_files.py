"""`radcap caption`: one line a picture, the same as the pipeline's caption of it, and a word on what is left out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from radcap import cli, files, layout
from radcap.adapt.lora import add_lora
from radcap.adapt.storage import load_fine_tuned, save_fine_tuned
from radcap.caption.generate import generate_captions
from radcap.caption.image_files import RESEARCH_ONLY
from radcap.caption.variants import decoding_options
from radcap.data import store
from radcap.modality import classifier
from radcap.modality.predict import classify, open_classifier
from radcap.models import base
from radcap.models.inputs import fill_template
from tests.conftest import copy_settings, png
from tests.data.test_image_files import BYTES, WINDOW, dicom, encoded, written
from tests.models_for_tests import PARAMS, fresh

KEY = "smolvlm_500m"
NAMES = ("a.png", "b.png", "c.png")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an untrained miniature, adapters that do change it, and three pictures."""
    folder = tmp_path_factory.mktemp("project")
    copy_settings(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        loaded = fresh(KEY)
        base.save_miniature(loaded, layout.base(KEY), family_name=PARAMS.models[KEY].family)
        trainee, _ = add_lora(loaded, PARAMS.adapters, PARAMS.models[KEY].published)
        for name, parameter in trainee.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=0.5)
        save_fine_tuned(loaded, trainee, layout.fine_tuned(KEY), base_folder=layout.base(KEY))
        files.write_json(layout.fine_tuned(KEY) / "audit.json", {"variant": "published", "caption_tokens_p99": 24})
        classifier.build_miniature(PARAMS.modality.miniature).save(layout.MODALITY)
        files.write_json(layout.MODALITY / base.RECORD, {})
        (folder / "scans").mkdir()
        for number, name in enumerate(NAMES):
            (folder / "scans" / name).write_bytes(png(number, size=(40 + 20 * number, 32)))
    return folder


@pytest.fixture
def workspace(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def run(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, list[str]]]:
    """Exit code, standard output and the lines on standard error."""

    def call(*arguments: str, model: str = KEY) -> tuple[int, str, list[str]]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["caption", *arguments, "--model", model])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err.splitlines()

    return call


@pytest.fixture(scope="module")
def expected(project: Path) -> dict[str, str]:
    """What stage generate says of the same bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        split = project / "data" / "test.arrow"
        blank = {"caption": "", "raw_caption": "", "cuis": (), "width": 1, "height": 1, "sha256": ""}
        made = [store.Row(id=name, image=(project / "scans" / name).read_bytes(), **blank) for name in NAMES]
        store.write(split, made)
        tuned = load_fine_tuned(layout.fine_tuned(KEY), layout.base(KEY), dtype=PARAMS.active.dtype)
        prompts = [fill_template(PARAMS.models[KEY].template, PARAMS.prompt.instruction)] * len(NAMES)
        options = {"variant": "plain", "decoding": decoding_options(PARAMS, KEY), "batch_size": 2}
        return {one.id: one.caption for one in generate_captions(lambda: tuned, store.read(split), prompts, **options)}


def test_a_folder_as_text(run, expected: dict[str, str]) -> None:
    assert len(set(expected.values())) == 3
    code, out, err = run("scans")
    assert code == 0
    assert out == "".join(f"scans/{name}: {expected[name]}\n" for name in NAMES)
    assert err.count(f"radcap: {RESEARCH_ONLY}") == 1


def test_alone_and_in_a_batch_and_in_any_order_the_caption_is_the_same(run, expected: dict[str, str]) -> None:
    for name in NAMES:
        assert run(f"scans/{name}")[1] == f"scans/{name}: {expected[name]}\n"
    order = ["scans/c.png", "./scans/a.png", "scans/c.png"]
    for size in ("1", "2"):
        told = run(*order, "--batch-size", size)[1].splitlines()
        assert told == [f"{path}: {expected[Path(path).name]}" for path in order]


def test_json_lines_and_a_file(run, workspace: Path, expected: dict[str, str]) -> None:
    lines = [json.loads(line) for line in run("scans", "--json")[1].splitlines()]
    fields = ["path", "model", "strategy", "prompt", "modality", "raw", "caption", "tokens", "finish", "logprob"]
    assert [list(line) for line in lines] == [fields] * 3
    assert [line["caption"] for line in lines] == list(expected.values())
    about = {(line["model"], line["strategy"], line["prompt"], line["modality"]) for line in lines}
    assert about == {(KEY, "published", "plain", None)}
    assert lines[0]["path"] == "scans/a.png"
    code, out, _ = run("scans", "--json", "--out", "told/captions.jsonl", "--strategy", "published")
    assert (code, out) == (0, "3 captions in told/captions.jsonl\n")
    assert [json.loads(line) for line in Path("told/captions.jsonl").read_text().splitlines()] == lines


def test_the_prompt_may_say_the_modality_that_the_classifier_sees(run, workspace: Path) -> None:
    """An untrained classifier sees something in every picture, and the prompt says it."""
    code, out, _ = run("scans", "--json", "--prompt", "modality")
    lines = [json.loads(line) for line in out.splitlines()]
    images = [(workspace / "scans" / name).read_bytes() for name in NAMES]
    seen = [label for label, _ in classify(open_classifier(), images, batch_size=2)]
    assert (code, [line["modality"] or "other" for line in lines]) == (0, seen)
    plain = [json.loads(line) for line in run("scans", "--json")[1].splitlines()]
    said = [line["modality"] is not None for line in lines]
    assert [a["raw"] != b["raw"] or a["logprob"] != b["logprob"] for a, b in zip(lines, plain, strict=True)] == said


def test_a_dicom_is_captioned_as_the_picture_that_it_shows(run, workspace: Path) -> None:
    big = BYTES.repeat(6, axis=0).repeat(6, axis=1) * 4
    (workspace / "mixed").mkdir()
    written(dicom(big, **WINDOW), workspace / "mixed/IM0001")
    (workspace / "mixed/a.png").write_bytes(encoded(Image.fromarray(big)))
    code, out, _ = run("mixed")
    first, second = [line.split(": ", 1) for line in out.splitlines()]
    assert (code, first[0], second[0], first[1]) == (0, "mixed/IM0001", "mixed/a.png", second[1])


def test_bad_files_among_good_ones_are_told_and_counted(run, workspace: Path, expected: dict[str, str]) -> None:
    (workspace / "empty.png").touch()
    (workspace / "none").mkdir(exist_ok=True)
    code, out, err = run("empty.png", "scans/b.png", "gone.dcm", "none")
    assert (code, out) == (1, f"scans/b.png: {expected['b.png']}\n")
    assert err[:4] == [
        "radcap: empty.png: left out, image file is empty",
        "radcap: gone.dcm: left out, no such file or folder",
        "radcap: none: left out, folder holds no picture (.png, .jpg, .jpeg, .tif, .tiff, .bmp, .webp, .dcm, .dicom)",
        "radcap: 3 of 4 pictures left out",
    ]


def test_without_one_good_file_there_are_no_captions(run, workspace: Path) -> None:
    code, out, err = run("gone.png", "gone.dcm")
    assert (code, out, err[-1]) == (1, "", "radcap: 2 of 2 pictures left out")


def test_a_name_that_is_no_unicode(run, workspace: Path, expected: dict[str, str]) -> None:
    (workspace / "odd\udcff.png").write_bytes((workspace / "scans/a.png").read_bytes())
    assert run("odd\udcff.png")[1] == f"odd\\udcff.png: {expected['a.png']}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["gone.png"], "gone.png: no such file or folder"),
        (["scans", "--strategy", "hybrid"], f"models/{KEY} is trained with strategy 'published', not 'hybrid'; `dvc exp run -S lora.strategy=hybrid finetune@{KEY}` trains that one in its place"),
        (["scans", "--strategy", "best"], "unknown strategy 'best'; allowed: published, targeted, extended, hybrid"),
        (["scans", "--out", "scans"], "scans is a folder; --out needs a file"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(run, arguments: list[str], line: str) -> None:
    assert run(*arguments) == (2, "", [f"radcap: error: {line}"])


def test_a_model_that_is_not_there(run) -> None:
    line = "models/qwen2_vl_2b/audit.json not found; `dvc repro finetune@qwen2_vl_2b` makes the fine-tuned model"
    assert run("scans", model="qwen2_vl_2b") == (2, "", [f"radcap: error: {line}"])
    assert run("scans", model="nobody")[2][0].startswith("radcap: error: unknown model 'nobody'; allowed: ")


def test_a_model_that_trains_in_full_has_no_strategy_and_takes_no_modality(run, workspace: Path) -> None:
    for folder in (layout.fine_tuned("vision_gpt2"), layout.base("vision_gpt2")):
        folder.mkdir(parents=True)
    files.write_json(layout.fine_tuned("vision_gpt2") / "audit.json", {"variant": "full"})
    files.write_json(layout.base("vision_gpt2") / base.RECORD, {})
    line = "vision_gpt2 trains in full, without adapters; leave out the strategy 'hybrid'"
    assert run("scans", "--strategy", "hybrid", model="vision_gpt2") == (2, "", [f"radcap: error: {line}"])
    line = "vision_gpt2 takes no prompt modality: its modality_instruction is none in configs/models/vision_gpt2.yaml"
    assert run("scans", "--prompt", "modality", model="vision_gpt2") == (2, "", [f"radcap: error: {line}"])
