"""A run's progress on a terminal: a line a stage, a bar for the images.

Knows nothing of how work is done; draws the news it is told.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import TimeRemainingColumn as Eta
from rich.text import Text

from pressrun.progress import News

_LINE_EVERY_S = 10.0


class _Rate(ProgressColumn):
    """Images a second so far."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text(f"{rate:.1f} images/s" if rate else "", style="cyan")


class LiveProgress:
    """Shows news as they come; a listener for `pressrun.progress.listening`.

    Parameters
    ----------
    console : rich.console.Console
        Where to draw; without a terminal, plain lines every ten seconds are written instead of a bar.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            Eta(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._stage = ""
        self._stage_began = time.monotonic()
        self._last_line = 0.0
        self._is_broken = False

    def __enter__(self) -> LiveProgress:
        """Start drawing."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing; the last stage's line is written if it ended well."""
        self._bar.stop()
        if error is None:
            self._close_stage()

    def say(self, stage: str, message: str) -> None:
        """Announce something that is no stage of the flow."""
        self(News(stage, message))

    def __call__(self, news: News) -> None:
        """Take news."""
        with self._lock:
            if news.stage != self._stage:
                self._close_stage()
                self._stage, self._stage_began = news.stage, time.monotonic()
                self._bar.update(self._task, total=None, completed=0)
            self._is_broken = news.is_broken
            if news.message:
                self._bar.update(self._task, description=f"[bold]{news.stage}[/] [dim]{news.message}[/]")
            if news.note:
                self._console.print(Text.assemble("  ", news.note), soft_wrap=True)
            if news.share is not None:
                self._write_now_and_then(news.message)
            if news.total:
                self._count(news)

    def _count(self, news: News) -> None:
        failed = f" [red]{news.failed} failed[/]" if news.failed else ""
        text = f"[bold]{news.stage}[/]{failed}"
        self._bar.update(self._task, description=text, total=news.total, completed=news.done + news.failed)
        self._write_now_and_then(f"{news.done} of {news.total} images, {news.failed} failed")

    def _write_now_and_then(self, line: str) -> None:
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line > _LINE_EVERY_S:
            self._last_line = now
            self._console.print(f"  {line}", highlight=False, soft_wrap=True)

    def _close_stage(self) -> None:
        if self._stage:
            spent_s = time.monotonic() - self._stage_began
            sign = "[red]✗[/]" if self._is_broken else "[green]✓[/]"
            self._console.print(f"{sign} {self._stage} [dim]{spent_s:.1f} s[/]", highlight=False)
        self._stage = ""
