"""The miniature MedCAT pack has the same bytes in every process."""

import os
import subprocess
import sys
from pathlib import Path

from radcap import files

PROGRAM = """
import sys
from pathlib import Path
from radcap.metrics.miniatures.medcat_pack import build_medcat_pack
from radcap.metrics.umls_f1 import ConceptTagger

tagger = ConceptTagger(build_medcat_pack(Path(sys.argv[1])))
print(tagger.hash, tagger.concepts([sys.argv[2]], semantic_types="medcon66"))
"""
TEXT = "CT of the chest with a nodule in the left lung"


def test_two_processes_make_the_same_bytes(tmp_path: Path, root: Path) -> None:
    """The processes hash strings differently, which changes the order of Python's sets."""
    outputs = []
    for seed in ("1", "2"):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / seed), TEXT]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
        outputs.append(done.stdout.strip().splitlines()[-1])
    assert outputs[0] == outputs[1]
    assert outputs[0].endswith("[('C0028259', 'C0817096')]")
    first, second = (files.folder_hashes(tmp_path / seed) for seed in ("1", "2"))
    assert first == second
    assert {"medcat.zip", "medcat/model_card.json", "medcat/cdb/raw_dict.dat"} <= first.keys()
