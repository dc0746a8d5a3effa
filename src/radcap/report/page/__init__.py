"""reports/index.html: tables, plots and every caption of the test split on one page that needs no network.

`write` takes content (`content.py`), `collect.py` finds it in the pipeline's own files, `markdown.py` in its reports.
"""

from radcap.report.page.content import Gallery, Picture, Run, Section, Table
from radcap.report.page.write import Written, write

__all__ = ["Gallery", "Picture", "Run", "Section", "Table", "Written", "write"]
