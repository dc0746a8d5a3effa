"""Where a scorer's files are: the scorers stage's record, its checkpoints, and the data of NLTK's sentence splitter."""

from pathlib import Path

# The scorers stage writes it: the checkpoint of each metric, or why there is none.
RECORD = "scorers.json"
PUNKT_FILES = ("abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab")
# A user may name punkt_tab/english itself, or a folder above it: punkt_tab, tokenizers, nltk_data.
PUNKT_FOLDERS = ("", "english", "punkt_tab/english", "tokenizers/punkt_tab/english")


def checkpoint_path(folder: Path, name: str) -> Path:
    """The path of a checkpoint: beside the record in `folder`, or else wherever `name` points to."""
    beside_record = folder / name
    return beside_record if beside_record.exists() else Path(name).expanduser()


def find_punkt(folder: Path) -> Path:
    """The folder of Punkt's English data in or below `folder`; `folder` itself if no such data is there."""
    candidates = (folder / name for name in PUNKT_FOLDERS)
    return next((path for path in candidates if (path / PUNKT_FILES[0]).is_file()), folder)
