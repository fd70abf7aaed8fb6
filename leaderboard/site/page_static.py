"""Pages that say the same whatever the records, and the list of boards that scripts read."""

from __future__ import annotations

import json

from ..trust import TRACK_MEANING, WORDS, Mark
from .catalogue import Catalogue
from .render import Site
from .tasks import task_text


def write_static(site: Site, catalogue: Catalogue) -> None:
    """Write about, submit and compare, and `data/boards.js`."""
    marks = [Mark(word) for word in WORDS]
    site.page("about.html", "about.html", marks=marks, tracks=TRACK_MEANING)
    site.page("submit.html", "submit.html")
    site.page("compare.html", "compare.html", boards=catalogue.boards)
    boards = {
        board.name: {
            "title": f"{task_text(board.task).title} on {board.subject}",
            "task": board.task,
            "images": board.facts.n,
            "tables": {
                table.id: {"track": table.track, "rows": [row.name for row in table.rows]}
                for table in board.tables
            },
        }
        for board in catalogue.boards
    }
    text = json.dumps(boards, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    site.write("data/boards.js", f"window.medbenchBoards = {text};\n".encode())
