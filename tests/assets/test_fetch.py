"""`radcap fetch scorers` with a fake hub: what is printed, skipped, written and recorded."""

import hashlib
import io
import json
import threading
import zipfile
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest

from radcap import cli, files
from radcap.assets import download_plan, fetch, remote, sources
from radcap.assets.download_plan import plan_download
from radcap.errors import UserError
from radcap.metrics.alignscore import punkt_splitter
from radcap.metrics.medimageinsight import weights
from radcap.settings import Settings
from tests.conftest import copy_settings
from tests.models_for_tests import PARAMS, ROOT

HEAD, LATER = "a" * 40, "b" * 40
PUNKT = dict.fromkeys(("abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab"), b"x")
PUNKT |= {"collocations.tab": b"a\tb\n", "ortho_context.tab": b"a\t1\n"}


@dataclass
class Hub:
    """A fake hub. `repos`: {repository: {path: bytes}}. Every branch is at `head`. `cache`: the folder of snapshots."""

    cache: Path
    repos: dict[str, dict[str, bytes]]
    head: str = HEAD
    broken: str = ""
    asked: list[str] = field(default_factory=list)

    def model_info(self, repo: str, *, revision: str, files_metadata: bool, timeout: float):
        named = [
            SimpleNamespace(
                rfilename=path, size=len(data), lfs=SimpleNamespace(sha256=hashlib.sha256(data).hexdigest())
            )
            for path, data in self.repos[repo].items()
        ]
        sha = revision if len(revision) == 40 else self.head
        return SimpleNamespace(sha=sha, siblings=named)

    def http_get(self, url: str, stream: IO[bytes], *, resume_size: int, **_: object) -> None:
        repo, place = url.removeprefix("https://huggingface.co/").split("/resolve/")
        commit, path = place.split("/", 1)
        self.asked.append(f"{repo}/{path}@{commit}")
        if path == self.broken:
            stream.write(b"ha")
            raise KeyboardInterrupt
        stream.seek(0)
        stream.truncate()
        stream.write(self.repos[repo][path])

    def snapshot_download(self, repo: str, *, revision: str, allow_patterns: list[str]) -> str:
        self.asked.append(f"{repo}@{revision}")
        commit = revision if len(revision) == 40 else self.head
        folder = self.cache / repo / commit
        for path, data in self.repos[repo].items():
            files.write_text(folder / path, data.decode())
        return str(folder)

    def try_to_load_from_cache(self, repo: str, path: str, *, revision: str) -> str | None:
        found = self.cache / repo / revision / path
        return str(found) if found.exists() else None


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty working folder, with a fake hub and a punkt_tab.zip to fetch from."""
    import huggingface_hub.file_download

    known = sources.requirements(PARAMS.profiles["rocov2"].scorers)
    names = ("config.json", "model.safetensors", "vocab.json")
    made = Hub(
        tmp_path / "cache",
        {w.source.repo: {p: f"{w.source.name} {p}".encode() for p in w.source.files or names} for w in known},
    )
    made.repos["yzha/AlignScore"]["AlignScore-large.ckpt"] = b"not asked for"
    made.repos["microsoft/deberta-xlarge-mnli"]["tf_model.h5"] = b"not asked for"
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    for name in ("snapshot_download", "try_to_load_from_cache"):
        monkeypatch.setattr(huggingface_hub, name, getattr(made, name))
    monkeypatch.setattr(huggingface_hub.file_download, "http_get", made.http_get)
    ckpt = made.repos["yzha/AlignScore"]["AlignScore-base.ckpt"]
    sha256 = {"AlignScore-base.ckpt": hashlib.sha256(ckpt).hexdigest()}
    monkeypatch.setattr(sources, "ALIGNSCORE", replace(sources.ALIGNSCORE, sha256=sha256))
    data = archive({**{f"punkt_tab/english/{name}": text for name, text in PUNKT.items()}, "punkt_tab/czech/x": b"x"})
    (tmp_path / "punkt_tab.zip").write_bytes(data)
    punkt = replace(
        sources.PUNKT,
        url=(tmp_path / "punkt_tab.zip").as_uri(),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    monkeypatch.setattr(fetch, "PUNKT", punkt)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return made


def written() -> set[str]:
    return {path.as_posix() for path in Path().rglob("*") if path.is_file()}


ALL = {
    *(
        "packs/fetched.json",
        "packs/alignscore/AlignScore-base.ckpt",
        "packs/alignscore/config.json",
        "packs/alignscore/vocab.json",
        "packs/alignscore/merges.txt",
    ),
    *(f"packs/medimageinsight/{name}" for name in sources.SIMILARITY.files),
    *(f"packs/punkt_tab/english/{name}" for name in PUNKT),
}


def on_main() -> Settings:
    """The settings with the name of a branch instead of the pinned commits."""
    rocov2 = PARAMS.profiles["rocov2"]
    scorers = rocov2.scorers.model_copy(update={"deberta_revision": "main", "bleurt_revision": "main"})
    return PARAMS.model_copy(update={"profiles": {"rocov2": rocov2.model_copy(update={"scorers": scorers})}})


def run(profile: str = "rocov2", *, yes: bool = True, params: Settings = PARAMS) -> bool:
    return fetch.fetch_scorers(params, profile=profile, yes=yes)


@pytest.mark.parametrize("params", [PARAMS, on_main()], ids=["commits", "main"])
def test_all_files_go_where_the_profile_and_the_loaders_expect_them(hub: Hub, params: Settings) -> None:
    assert run(params=params)
    assert written() == ALL
    found = weights.find_checkpoint(Path("packs/medimageinsight"))
    assert found.weights.read_text() == f"MedImageInsight {sources.SIMILARITY.files[1]}"
    assert (found.tokenizer / "vocab.json").exists()
    assert punkt_splitter(Path("packs/punkt_tab"))("One. Two.") == ["One.", "Two."]
    # Pinned commits by their hash, where the branch stands elsewhere.
    assert f"microsoft/deberta-xlarge-mnli@{sources.BERTSCORE.commit}" in hub.asked


def test_sizes_are_printed_first_and_everything_is_recorded(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repos["lion-ai/MedImageInsights"][sources.SIMILARITY.files[1]] = b"x" * 2_500_000
    run()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "MedImageInsight: lion-ai/MedImageInsights@aaaaaaaaaaaa -> packs/medimageinsight: "
        "2.5 MB, 2.5 MB to fetch (MIT; for research, not for clinical use)"
    )
    assert "NLM" not in lines[0] and any(line.startswith("UMLS concepts: a MedCAT pack cannot be") for line in lines)
    record = json.loads(Path("packs/fetched.json").read_text())
    assert set(record) == {*hub.repos, "punkt_tab"}
    data = hub.repos["yzha/AlignScore"]["AlignScore-base.ckpt"]
    assert record["yzha/AlignScore"] == {
        "commit": sources.ALIGNSCORE.commit,
        "branch": "main",
        "place": "packs/alignscore/AlignScore-base.ckpt",
        "files": {"AlignScore-base.ckpt": {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}},
    }
    assert record["microsoft/deberta-xlarge-mnli"]["place"] is None
    assert set(record["microsoft/deberta-xlarge-mnli"]["files"]) == {"config.json", "model.safetensors", "vocab.json"}


def test_present_files_are_skipped_and_a_moved_branch_is_reported(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    run(params=on_main())
    before = Path("packs/fetched.json").read_bytes()
    hub.asked.clear()
    hub.head = LATER
    capsys.readouterr()
    assert run(yes=False, params=on_main())
    assert (hub.asked, Path("packs/fetched.json").read_bytes()) == ([], before)
    out = capsys.readouterr().out
    assert f"  main of lion-ai/MedImageInsights has moved on to {LATER}; {HEAD} is used\n" in out
    assert f"{sources.BERTSCORE.commit} is used, so deberta_revision in configs/scorers.yaml must name it" in out
    assert out.endswith("nothing to fetch\n")


def test_one_missing_file_is_fetched_alone_at_the_recorded_commit(hub: Hub) -> None:
    run()
    hub.asked.clear()
    hub.head = LATER
    lost = f"packs/medimageinsight/{sources.CLIP}/merges.txt"
    Path(lost).unlink()
    run()
    assert hub.asked == [f"lion-ai/MedImageInsights/{sources.CLIP}/merges.txt@{HEAD}"]
    assert written() == ALL


def test_a_branch_that_stands_at_the_commit_is_fetched_by_its_name(hub: Hub) -> None:
    hub.head = str(sources.BLEURT.commit)
    run(params=on_main())
    assert "lucadiliello/BLEURT-20-D12@main" in hub.asked


@pytest.mark.parametrize("answer", ["", "n", "no"])
def test_a_refused_confirmation_writes_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert not run(yes=False)
    assert (written(), hub.asked) == (set(), [])


def test_a_confirmation_fetches(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "y")
    assert run(yes=False)
    assert len(asked) == 1 and asked[0].startswith("fetch ")
    assert written() == ALL


def test_without_a_terminal_yes_must_be_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(UserError, match="no terminal to ask on; --yes"):
        run(yes=False)
    assert written() == set()


def test_a_full_disk_is_reported_before_anything_is_fetched(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(UserError, match="to fetch, only 10 B free"):
        run()
    assert (written(), hub.asked) == (set(), [])


def test_an_interrupted_download_leaves_no_partial_file_and_resumes(hub: Hub) -> None:
    hub.broken = sources.SIMILARITY.files[1]
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not Path("packs/medimageinsight").exists()
    assert all(name.startswith("packs/.medimageinsight.part/") for name in written())
    hub.broken = ""
    run()
    assert written() == ALL


def test_a_download_resumes_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real client with a local server: one half of the file is there, so it requests the other half."""
    from huggingface_hub import constants

    data, ranges = bytes(range(256)) * 40, []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ranges.append((self.path, self.headers.get("Range")))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 5000-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - 5000))
            self.end_headers()
            self.wfile.write(data[5000:])

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        half = tmp_path / HEAD / "a/b.bin"
        half.parent.mkdir(parents=True)
        half.write_bytes(data[:5000])
        found = remote.download_file("me/model", "a/b.bin", HEAD, tmp_path, size=len(data))
    finally:
        server.shutdown()
        server.server_close()
    assert ranges == [(f"/me/model/resolve/{HEAD}/a/b.bin", "bytes=5000-")]
    assert (found, found.read_bytes()) == (half, data)


def test_a_file_with_another_hash_is_not_put_in_place(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ALIGNSCORE", replace(sources.ALIGNSCORE, sha256={"AlignScore-base.ckpt": "0" * 64}))
    with pytest.raises(UserError, match="yzha/AlignScore: .* is not the expected file"):
        run()
    assert not Path("packs/alignscore/AlignScore-base.ckpt").exists()


def test_a_users_own_file_is_never_replaced(hub: Hub) -> None:
    files.write_text(Path("packs/alignscore/vocab.json"), "{}")
    with pytest.raises(
        UserError, match=r"packs/alignscore/vocab.json is not vocab.json of FacebookAI/roberta-base; move it"
    ):
        run()
    assert written() == {"packs/alignscore/vocab.json"}


def test_a_users_own_checkpoints_are_left_alone(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    golden = ROOT / "tests/metrics/golden"
    places = {name: str(golden / name) for name in ("medimageinsight", "bleurt", "alignscore")}
    own = PARAMS.profiles["rocov2"].scorers.model_copy(update={**places, "deberta": str(golden / "bertscore")})
    assert [plan_download(requirement, {}).commit for requirement in sources.requirements(own)] == ["", "", "", ""]


def test_a_users_own_checkpoints_stay_when_others_are_on_record(hub: Hub) -> None:
    run()
    hub.asked.clear()
    golden = ROOT / "tests/metrics/golden"
    places = {name: str(golden / name) for name in ("medimageinsight", "bleurt", "alignscore")}
    rocov2 = PARAMS.profiles["rocov2"]
    own = rocov2.scorers.model_copy(update={**places, "deberta": str(golden / "bertscore")})
    params = PARAMS.model_copy(update={"profiles": {"rocov2": rocov2.model_copy(update={"scorers": own})}})
    before = Path("packs/fetched.json").read_bytes()
    assert fetch.fetch_scorers(params, profile="rocov2", yes=False)
    assert (hub.asked, Path("packs/fetched.json").read_bytes()) == ([], before)


def test_a_folder_that_lacks_files_is_reported(hub: Hub, tmp_path: Path) -> None:
    own = PARAMS.profiles["rocov2"].scorers.model_copy(update={"deberta": str(tmp_path)})
    with pytest.raises(UserError, match=r"DeBERTa: .* lacks config.json, model.safetensors or pytorch_model.bin"):
        [plan_download(requirement, {}) for requirement in sources.requirements(own)]


def test_another_repository_is_taken_as_its_branch_stands(hub: Hub) -> None:
    hub.repos["me/bleurt"] = {"config.json": b"{}"}
    own = on_main().profiles["rocov2"].scorers.model_copy(update={"bleurt": "me/bleurt"})
    found = [plan_download(requirement, {}) for requirement in sources.requirements(own)][2]
    assert (found.requirement.source.repo, found.commit, found.note) == ("me/bleurt", HEAD, "")


def test_punkt_of_another_hash_is_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PUNKT", replace(fetch.PUNKT, sha256="0" * 64))
    with pytest.raises(UserError, match="is not the expected file"):
        run()
    assert not Path("packs/punkt_tab").exists()


def test_a_folder_of_something_else_is_no_place_for_punkt(hub: Hub) -> None:
    files.write_text(Path("packs/punkt_tab/notes.txt"), "mine")
    with pytest.raises(UserError, match="packs/punkt_tab holds other files"):
        run()
    assert Path("packs/punkt_tab/notes.txt").read_text() == "mine"


def test_an_unreachable_archive_names_its_host(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^localhost is not reachable \(.*\); fetch on a machine") as caught:
        remote.download_archive(replace(sources.PUNKT, url="http://localhost:1/punkt_tab.zip"), tmp_path / "punkt")
    assert "\n" not in str(caught.value) and not (tmp_path / "punkt").exists()


def test_the_sample_needs_nothing(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sample")
    assert capsys.readouterr().out == "profile sample trains miniature scorers: nothing to fetch\n"


def test_an_unknown_profile_is_reported(hub: Hub) -> None:
    with pytest.raises(UserError, match="profile: 'x' is not allowed; allowed: sample, rocov2"):
        run("x")


def test_without_a_hub_the_command_says_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    copy_settings(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(["fetch", "scorers", "--yes"])
    assert (ended.value.code, capsys.readouterr()) == (
        2,
        (
            "",
            "radcap: error: huggingface.co is not asked because HF_HUB_OFFLINE is set; unset it, "
            "or fetch on a machine that reaches it, then copy packs/ and the hub's cache here\n",
        ),
    )
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", "configs"}


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ConnectionError("no route"), r"huggingface.co is not reachable \(no route\)"),
        (TimeoutError(), r"huggingface.co is not reachable \(TimeoutError\)"),
        (OSError(28, "No space left on device"), "the download stopped: .*No space left"),
    ],
)
def test_errors_of_the_hubs_client_are_one_line(raised: Exception, expected: str) -> None:
    with pytest.raises(UserError, match=expected), remote.hub_errors():
        raise raised


def test_the_hub_loader_takes_the_same_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed sizes are those of the files that radcap.models.hub downloads."""
    import huggingface_hub

    from radcap.models import hub as loader

    asked: dict[str, list[str]] = {}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda _, **options: asked.update(options) or "x")
    loader.download("someone/model", "main")
    assert tuple(asked["allow_patterns"]) == download_plan.PATTERNS == loader.PATTERNS


def test_commits_are_commits() -> None:
    known = (sources.SIMILARITY, sources.BERTSCORE, sources.BLEURT, sources.ALIGNSCORE, sources.ROBERTA)
    assert [entry.commit is None or bool(sources.COMMIT.fullmatch(entry.commit)) for entry in known] == [True] * 5


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (999, "999 B"), (4_319_076, "4.3 MB"), (1_966_965_771, "1.97 GB"), (1500, "1.5 kB")],
)
def test_sizes_are_formatted(size: int, expected: str) -> None:
    assert remote.format_size(size) == expected
