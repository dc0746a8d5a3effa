"""`radcap doctor` with an empty folder and with small checkpoints: present, missing, damaged, and how to get it."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from radcap import cli
from radcap.assets import doctor, environment, inspection, sources
from radcap.assets.environment import Check
from radcap.assets.inspection import Status
from radcap.metrics import alignscore, alignscore_checkpoint, bleurt
from radcap.models.families import cnn_transformer
from radcap.models.families.cnn_transformer import chexnet
from radcap.settings import Settings
from tests.conftest import copy_settings
from tests.models_for_tests import PARAMS, ROOT

GOLDEN = ROOT / "tests/metrics/golden"
FETCH = "radcap fetch scorers --profile rocov2"
MACHINE = [Check(name="Python", state="present", detail="3.11.7")]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, an empty hub cache, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "checks", lambda: MACHINE)
    ftfy = Check(name="ftfy", state="present", detail="ftfy 6.3.1", licence="Apache-2.0")
    monkeypatch.setattr(environment, "ftfy", lambda: ftfy)


def line(name: str, state: str, detail: str, **more: object) -> dict[str, object]:
    return (
        {"needed": True, "place": None, "size": None, "licence": None, "get": None}
        | {"name": name, "state": state, "detail": detail}
        | more
    )


PYTHON = line("Python", "present", "3.11.7", needed=False)
FTFY = line("ftfy", "present", "ftfy 6.3.1", needed=False, licence="Apache-2.0")
LATE = "`dvc repro` downloads it if the hub is reachable; or name a local folder in models.{}.checkpoint"


def test_the_sample_needs_nothing(machine: None) -> None:
    assert doctor.report(PARAMS, "sample") == {
        "profile": "sample",
        "ready": True,
        "checks": [
            PYTHON,
            line("data", "present", "drawn by the pipeline: nothing needed", needed=False),
            line(
                "scorers",
                "present",
                "miniatures, made by `dvc repro scorers`: nothing needed",
                needed=False,
                place="models/scorers",
            ),
            line("modality", "present", "a miniature: nothing needed", needed=False),
            line("models", "present", "10 miniatures: nothing needed", needed=False),
        ],
    }


def test_an_empty_folder_lacks_all_that_is_published(machine: None) -> None:
    found = doctor.report(PARAMS, "rocov2")
    models = {check["name"]: check for check in found["checks"] if check["name"] in PARAMS.models}
    assert {"profile": found["profile"], "ready": found["ready"]} == {"profile": "rocov2", "ready": False}
    assert [check for check in found["checks"] if check["name"] not in PARAMS.models] == [
        PYTHON,
        line(
            "data",
            "missing",
            "data/raw is not there",
            place="data/raw",
            licence="of each image, as its source says",
            get="put a folder in ROCOv2's layout there (README, Your own images)",
        ),
        line(
            "similarity",
            "missing",
            "packs/medimageinsight is not there",
            place="packs/medimageinsight",
            licence="MIT; for research, not for clinical use",
            get=FETCH,
        ),
        line(
            "bertscore",
            "missing",
            "microsoft/deberta-xlarge-mnli at 5b07a9086c1d is not in the hub's cache",
            licence="MIT",
            get=FETCH,
        ),
        line(
            "bleurt",
            "missing",
            "lucadiliello/BLEURT-20-D12 at 90ce39a8ceb3 is not in the hub's cache",
            licence="Apache-2.0",
            get=FETCH,
        ),
        line(
            "alignscore",
            "missing",
            "packs/alignscore/AlignScore-base.ckpt is not there",
            place="packs/alignscore/AlignScore-base.ckpt",
            licence="MIT",
            get=FETCH,
        ),
        line(
            "umls_f1",
            "missing",
            "packs/umls.zip is not there",
            place="packs/umls.zip",
            licence=doctor.NLM,
            get=f"{sources.UMLS_PACK} packs/umls.zip",
        ),
        line(
            "punkt_tab",
            "fallback",
            "not there: AlignScore's sentences are split by a simpler rule, and scores record this",
            needed=False,
            place="packs/punkt_tab",
            licence="MIT",
            get=FETCH,
        ),
        FTFY,
        line(
            "modality",
            "missing",
            "microsoft/resnet-50 at 34c2154c194f is not in the hub's cache",
            licence="as its page on the hub says",
            get="`dvc repro` downloads it if the hub is reachable; or name a local folder in checkpoint of configs/modality.yaml",
        ),
    ]
    assert list(models) == list(PARAMS.models)
    assert models["smolvlm_500m"] == line(
        "smolvlm_500m",
        "missing",
        "HuggingFaceTB/SmolVLM-500M-Instruct at a7da5b986cb5 is not in the hub's cache",
        licence="as its page on the hub says",
        get=LATE.format("smolvlm_500m"),
    )
    assert models["cnn_transformer"] == line(
        "cnn_transformer",
        "missing",
        "packs/model.pth.tar is not there",
        place="packs/model.pth.tar",
        licence="CheXNet's own",
        get=f"{doctor.CHEXNET}, and put the file at packs/model.pth.tar",
    )


@pytest.fixture
def filled(empty: Path) -> Settings:
    """Settings with copies of the checkpoints in tests/metrics/golden, and two present models."""
    for name in ("medimageinsight", "bleurt", "alignscore", "bertscore"):
        shutil.copytree(GOLDEN / name, empty / name)
    punkt = empty / "punkt/english"
    punkt.mkdir(parents=True)
    for name in alignscore.PUNKT_FILES:
        (punkt / name).write_text("x\n")
    (empty / "medcat").mkdir()
    (empty / "medcat/cdb.dat").write_bytes(b"1234")
    (empty / "raw").mkdir()
    rocov2 = PARAMS.profiles["rocov2"]
    places = {name: str(empty / name) for name in ("medimageinsight", "bleurt", "alignscore", "punkt")}
    scorers = rocov2.scorers.model_copy(
        update={**places, "deberta": str(empty / "bertscore"), "medcat_pack": str(empty / "medcat")}
    )
    data = rocov2.data.model_copy(update={"path": str(empty / "raw")})
    profile = rocov2.model_copy(update={"scorers": scorers, "data": data})
    shutil.copytree(GOLDEN / "bertscore", empty / "model")
    model = PARAMS.models["smolvlm_500m"].model_copy(update={"checkpoint": str(empty / "model")})
    modality = PARAMS.modality.model_copy(update={"checkpoint": str(empty / "model")})
    changes = {"profiles": {"rocov2": profile}, "models": {"smolvlm_500m": model}, "modality": modality}
    return PARAMS.model_copy(update=changes)


def size(folder: Path, *names: str) -> int:
    return sum((folder / name).stat().st_size for name in names)


def test_small_checkpoints_are_present_with_their_sizes(machine: None, filled: Settings, empty: Path) -> None:
    roberta = ("config.json", "vocab.json", "merges.txt", "weights.safetensors")
    model = ("config.json", "model.safetensors")
    mit = {"licence": "MIT"}
    assert doctor.report(filled, "rocov2") == {
        "profile": "rocov2",
        "ready": True,
        "checks": [
            PYTHON,
            line("data", "present", "there", place=str(empty / "raw"), licence="of each image, as its source says"),
            line(
                "similarity",
                "present",
                "complete",
                place=str(empty / "medimageinsight"),
                size=size(empty / "medimageinsight", *roberta),
                licence=sources.SIMILARITY.licence,
            ),
            line(
                "bertscore",
                "present",
                "complete",
                place=str(empty / "bertscore"),
                size=size(empty / "bertscore", *model),
                **mit,
            ),
            line(
                "bleurt",
                "present",
                "complete",
                place=str(empty / "bleurt"),
                size=size(empty / "bleurt", *model, "spm.model"),
                licence="Apache-2.0",
            ),
            line(
                "alignscore",
                "present",
                "complete",
                place=str(empty / "alignscore"),
                size=size(empty / "alignscore", *roberta),
                **mit,
            ),
            line("umls_f1", "present", "complete", place=str(empty / "medcat"), size=4, licence=doctor.NLM),
            line("punkt_tab", "present", "complete", place=str(empty / "punkt"), size=8, **mit),
            FTFY,
            *(
                line(
                    name,
                    "present",
                    "complete",
                    place=str(empty / "model"),
                    size=size(empty / "model", *model),
                    licence="as its page on the hub says",
                )
                for name in ("modality", "smolvlm_500m")
            ),
        ],
    }


@pytest.mark.parametrize(
    ("name", "file", "keep", "check", "state", "reason"),
    [
        ("medimageinsight", "weights.safetensors", 1000, "similarity", "damaged", "is not a safetensors file, or truncated"),
        ("medimageinsight", "merges.txt", None, "similarity", "missing", "lacks merges.txt"),
        ("medimageinsight", "config.json", 5, "similarity", "damaged", "config.json: is not JSON"),
        ("bertscore", "model.safetensors", 700_000, "bertscore", "damaged", "holds 700000 bytes instead of"),
        ("bertscore", "model.safetensors", None, "bertscore", "missing", "lacks model.safetensors or pytorch_model.bin"),
        ("bleurt", "spm.model", 0, "bleurt", "damaged", "spm.model: is empty"),
        ("bleurt", "spm.model", None, "bleurt", "missing", "lacks spm.model"),
        ("alignscore", "vocab.json", None, "alignscore", "missing", "lacks vocab.json"),
        ("punkt/english", "ortho_context.tab", None, "punkt_tab", "damaged", "lacks ortho_context.tab"),
        ("model", "config.json", None, "smolvlm_500m", "missing", "lacks config.json"),
    ],
)  # fmt: skip
def test_faults_are_reported(
    machine: None,
    filled: Settings,
    empty: Path,
    name: str,
    file: str,
    keep: int | None,
    check: str,
    state: str,
    reason: str,
) -> None:
    path = empty / name / file
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:keep])
    found = doctor.report(filled, "rocov2")
    entry = next(entry for entry in found["checks"] if entry["name"] == check)
    assert (entry["state"], found["ready"]) == (state, False)
    assert reason in entry["detail"]
    assert entry["get"]


def test_the_published_layouts(tmp_path: Path) -> None:
    tree = tmp_path / "mi" / sources.MEDIMAGEINSIGHT
    (tree / "vision_model").mkdir(parents=True)
    shutil.copy(GOLDEN / "medimageinsight/weights.safetensors", tree / "vision_model/medimageinsigt-v1.0.0.pt")
    assert inspection.medimageinsight(tmp_path / "mi").reason == (
        f"{tree} lacks language_model/clip_tokenizer_4.16.2/vocab.json, language_model/clip_tokenizer_4.16.2/merges.txt"
    )
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "mi" / sources.CLIP).mkdir(parents=True, exist_ok=True)
        shutil.copy(GOLDEN / "medimageinsight" / name, tmp_path / "mi" / sources.CLIP / name)
    assert inspection.medimageinsight(tmp_path / "mi").state == "present"
    ckpt = tmp_path / "AlignScore-base.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(100)}}, ckpt)
    assert "lacks config.json, vocab.json, merges.txt" in inspection.alignscore(ckpt).reason
    for name in inspection.ROBERTA_FILES:
        shutil.copy(GOLDEN / "alignscore" / name, tmp_path / name)
    assert inspection.alignscore(ckpt).state == "present"
    ckpt.write_bytes(ckpt.read_bytes()[:-100])
    assert inspection.alignscore(ckpt) == Status("damaged", f"{ckpt}: is truncated")


def test_shards_are_those_of_the_index(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "bertscore/config.json", tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(
        json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}})
    )
    shutil.copy(GOLDEN / "bertscore/model.safetensors", tmp_path / "one.safetensors")
    assert inspection.model(tmp_path) == Status("missing", f"{tmp_path} lacks two.safetensors")
    shutil.copy(GOLDEN / "bertscore/model.safetensors", tmp_path / "two.safetensors")
    assert inspection.model(tmp_path).state == "present"
    index.write_text("[]")
    assert inspection.model(tmp_path) == Status("damaged", f"{index} is not an index of weights")


def test_a_snapshot_in_the_hubs_cache_is_found_by_branch_and_commit(empty: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = empty / "hub/models--someone--model"
    shutil.copytree(GOLDEN / "bertscore", repository / "snapshots" / commit)
    lacking = Status("missing", "someone/model at main is not in the hub's cache")
    assert inspection.local_or_cached("someone/model", "main", inspection.model) == (lacking, None)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)
    for revision in ("main", commit):
        found, at = inspection.local_or_cached("someone/model", revision, inspection.model)
        assert (found.state, at) == ("present", repository / "snapshots" / commit)


def test_packs(tmp_path: Path) -> None:
    pack = tmp_path / "umls.zip"
    assert inspection.pack(pack) == Status("missing", f"{pack} is not there")
    pack.write_text("<html>")
    assert inspection.pack(pack) == Status("damaged", f"{pack} is not a complete zip")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_text("1")
    shutil.make_archive(str(tmp_path / "umls"), "zip", tmp_path / "in")
    assert inspection.pack(pack) == Status("present", size=pack.stat().st_size)


def cnn(alignscore_at: str) -> Check:
    rocov2 = PARAMS.profiles["rocov2"]
    scorers = rocov2.scorers.model_copy(update={"alignscore": alignscore_at})
    return doctor.check_models(PARAMS, rocov2.model_copy(update={"scorers": scorers}))[-1]


def test_the_tokenizer_beside_chexnets_file_must_be_its_own() -> None:
    Path("packs").mkdir()
    Path("packs/model.pth.tar").write_bytes(b"weights")
    assert (cnn("packs/a/A.ckpt").state, cnn("packs/a/A.ckpt").get) == ("missing", "openai-community/gpt2")
    Path("packs/vocab.json").write_text("{}")
    assert cnn("packs/a/A.ckpt").state == "present"
    check = cnn("packs/A.ckpt")
    assert (check.state, check.get) == ("damaged", "move AlignScore's files")
    assert check.detail.startswith(
        "models.cnn_transformer.checkpoint takes the tokenizer beside it, which is RoBERTa's"
    )


@pytest.mark.parametrize(
    ("lock", "state", "detail"),
    [
        ("pytest=={pytest}\n# a comment\ntorch=={torch}\n", "present", "2 as in lock"),
        ("pytest==0.1\ntorch=={torch}\n", "differs", "1 of 2 have other versions: pytest {pytest} instead of 0.1"),
        ("no-such-a==1\nNo_Such.B==2\nc-no==1\nd-no==1\n", "missing", "4 of 4 are not installed: no-such-a, No_Such.B, c-no, ..."),
    ],
)  # fmt: skip
def test_packages_against_the_lock(lock: str, state: str, detail: str) -> None:
    installed = {"pytest": pytest.__version__, "torch": torch.__version__.split("+")[0]}
    Path("lock").write_text(lock.format(**installed))
    found = environment.packages(Path("lock"))
    assert (found.state, found.detail) == (state, detail.format(**installed))


def test_each_check_of_the_machine_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@example.org/mlflow")
    found = {check.name: check for check in environment.checks()}
    assert list(found) == ["Python", "packages", "device", "disk", "hub", "DVC", "MLflow"]
    assert (found["packages"].state, found["DVC"].state) == ("missing", "missing")
    assert (found["hub"].state, found["hub"].needed) == ("offline", False)
    assert found["hub"].detail == "huggingface.co cannot be reached (HF_HUB_OFFLINE is set): only its cache is used"
    assert found["MLflow"].place == "https://example.org/mlflow"
    assert all("\n" not in check.detail for check in found.values())


def test_an_unreachable_hub_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://localhost:1")
    assert (environment.hub().state, environment.hub().detail[:29]) == ("offline", "localhost cannot be reached (")


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command(machine: None, as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    copy_settings(Path())
    for profile, code in (("sample", 0), ("rocov2", 1)):
        with pytest.raises(SystemExit) as ended:
            cli.main(["doctor", "--profile", profile, *(["--json"] if as_json else [])])
        assert ended.value.code == code
        out = capsys.readouterr().out
        if as_json:
            assert json.loads(out) == doctor.report(PARAMS, profile)
        else:
            assert out == doctor.render(doctor.report(PARAMS, profile))


def test_the_table() -> None:
    checks = [
        line("bleurt", "present", "complete", place="at/bleurt", size=1_500_000, licence="Apache-2.0"),
        line("umls_f1", "missing", "at/umls.zip is not there", place="at/umls.zip", get="ask NLM"),
    ]
    assert doctor.render({"profile": "p", "ready": False, "checks": checks}) == (
        "bleurt   present   1.5 MB, complete (Apache-2.0)\n"
        "                   in at/bleurt\n"
        "umls_f1  missing   at/umls.zip is not there\n"
        "                   get it: ask NLM\n"
        "profile p: not ready, because it lacks: umls_f1\n"
    )


def test_the_file_names_are_those_that_the_loaders_use() -> None:
    """inspection.py does not import the loaders, because importing transformers takes seconds."""
    assert inspection.PUNKT_FILES == alignscore.PUNKT_FILES
    assert inspection.ROBERTA_FILES == (
        alignscore_checkpoint.CONFIG,
        alignscore_checkpoint.VOCAB,
        alignscore_checkpoint.MERGES,
    )
    assert alignscore_checkpoint.WEIGHTS == "weights.safetensors"
    assert (inspection.BLEURT_FILES, inspection.WEIGHTS) == ((bleurt.CONFIG, bleurt.TOKENIZER), bleurt.WEIGHTS)
    assert sources.FILE_SUFFIXES == chexnet.SUFFIXES
    assert doctor.GPT2 == cnn_transformer.GPT2


def test_nothing_heavy_is_imported() -> None:
    import subprocess
    import sys

    code = "import sys, radcap.assets.doctor, radcap.assets.fetch; print(sorted({'torch', 'transformers', 'mlflow', 'medcat'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
