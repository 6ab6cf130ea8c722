"""Measured figures, as a table for people and as JSON for programs.

Knows nothing of how they were taken.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.machine import describe_machine, package_versions

Figure = str | int | float | bool | None
Row = Mapping[str, Figure]


@dataclass(slots=True)
class Findings:
    """The figures of one run of the benchmarks.

    Parameters
    ----------
    console : rich.console.Console
        Where tables are shown as they become known.
    path : Path or None
        JSON file, written anew after every table, so that a broken run leaves what it found.
    """

    console: Console = field(default_factory=lambda: Console(width=150))
    path: Path | None = None
    _sections: dict[str, list[dict[str, Figure]]] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _started: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))

    def say(self, text: str) -> None:
        """Show a line about what is going on."""
        self.console.print(Text(f"[{time.strftime('%H:%M:%S')}] {text}", style="dim"))

    def note(self, text: str) -> None:
        """Show a line that belongs to the figures, and keep it with them."""
        self.console.print(Text(text))
        self._notes.append(text)
        self._write()

    def show(self, title: str, rows: Sequence[Row]) -> None:
        """Show and keep the rows of one section; their keys are the columns."""
        if not rows:
            return
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = Table(title=title, title_justify="left")
        for name in columns:
            is_text = any(isinstance(row.get(name), str) for row in rows)
            table.add_column(name.replace("_", " "), justify="left" if is_text else "right")
        for row in rows:
            table.add_row(*(Text(_shown(row.get(name))) for name in columns))
        self.console.print(table)
        self._sections[title] = [dict(row) for row in rows]
        self._write()

    def _write(self) -> None:
        if self.path is None:
            return
        record = {
            "machine": describe_machine(),
            "versions": package_versions(),
            "started": self._started,
            "notes": self._notes,
            "sections": self._sections,
        }
        self.path.write_text(json.dumps(record, indent=1))


def _shown(value: Figure) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
