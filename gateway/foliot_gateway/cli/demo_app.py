"""The worker program of the demonstration: functions that list, count, join and report.

They hand results on through files in a folder of the demonstration. A task may run twice (execution is at least once), so each
writes its file aside and then renames it into place. A word is a run of ASCII letters, in lower case.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foliot_worker import Context, Worker

TOP_WORDS = 10
"""How many of the most frequent words the report names."""

_WORD = re.compile(rb"[a-z]+")

worker = Worker()


class DeliberateError(Exception):
    """The failure that the demonstration recovers from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListInput:
    """What the list is made of, and the file it is written to."""

    paths: list[str]
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CountInput:
    """A text and the file its counts are written to."""

    path: str
    output: str
    fails_after_line: int = 0
    """After this line the first attempt saves a checkpoint and fails; 0: it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinInput:
    """The file that holds the counts of each text, by the text's path, and the file for their sum."""

    counts: dict[str, str]
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInput:
    """The joined counts, and the file for the report."""

    joined: str
    output: str


@worker.task("demo.list")
def list_files(_: Context, given: ListInput) -> dict[str, int]:
    """Write the list of the texts with their sizes; raises OSError when one is not there."""
    files = [{"path": path, "bytes": Path(path).stat().st_size} for path in given.paths]
    write_aside(Path(given.output), json.dumps(files, indent=1))
    return {"files": len(files), "bytes": sum(Path(path).stat().st_size for path in given.paths)}


@worker.task("demo.count")
def count_words(context: Context, given: CountInput) -> dict[str, int]:
    """Count the words of a text line by line, in the form of `uniq -c`; a later attempt goes on behind the checkpoint."""
    counts: Counter[str] = Counter()
    resumed_after_line = 0
    saved = context.last_checkpoint
    if saved is not None:
        resumed_after_line = saved["line"]
        counts.update(saved["counts"])
        context.logger.info("attempt %d goes on after line %d", context.attempt, resumed_after_line)
    with Path(given.path).open("rb") as text:
        for number, line in enumerate(text, start=1):
            if number <= resumed_after_line:
                continue
            counts.update(word.decode("ascii") for word in _WORD.findall(line.lower()))
            if number == given.fails_after_line and context.attempt == 1:
                context.checkpoint_sync({"line": number, "counts": dict(counts)})
                raise DeliberateError(f"failing once on purpose after line {number}, whose checkpoint is saved")
    write_aside(Path(given.output), "".join(f"{count:7} {word}\n" for word, count in sorted(counts.items())))
    return {"words": counts.total(), "resumed_after_line": resumed_after_line}


@worker.task("demo.join")
def join_counts(_: Context, given: JoinInput) -> dict[str, int]:
    """Add up the counts of all texts."""
    words_by_file: dict[str, int] = {}
    total: Counter[str] = Counter()
    for path, counted in given.counts.items():
        counts = read_counts(Path(counted))
        words_by_file[path] = counts.total()
        total.update(counts)
    write_aside(Path(given.output), json.dumps({"files": words_by_file, "words": total}))
    return {"words": total.total(), "distinct_words": len(total)}


@worker.task("demo.report")
def write_report(_: Context, given: ReportInput) -> dict[str, Any]:
    """Write the report for people; answer its summary."""
    joined = json.loads(Path(given.joined).read_text(encoding="utf-8"))
    words: Counter[str] = Counter(joined["words"])
    top = top_words(words)
    by_words = sorted(joined["files"].items(), key=lambda item: (-item[1], item[0]))
    lines = [
        f"{words.total():,} words, {len(words):,} different ones, in {len(by_words):,} files",
        "",
        "The most frequent words:",
        *(f"{count:10,}  {word}" for word, count in top),
        "",
        "The files:",
        *(f"{count:10,}  {path}" for path, count in by_words),
    ]
    write_aside(Path(given.output), "\n".join(lines) + "\n")
    return {"words": words.total(), "distinct_words": len(words), "files": joined["files"], "top": top}


def read_counts(path: Path) -> Counter[str]:
    """Read counts in the form of `uniq -c`; its line for what stands before the first word has no word and is left out."""
    counts: Counter[str] = Counter()
    for line in path.read_text(encoding="ascii").splitlines():
        count, _, word = line.strip().partition(" ")
        if word:
            counts[word] += int(count)
    return counts


def top_words(words: Counter[str]) -> list[tuple[str, int]]:
    """Answer the most frequent words, ties in the order of the alphabet."""
    return sorted(words.items(), key=lambda item: (-item[1], item[0]))[:TOP_WORDS]


def write_aside(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees a part of it."""
    aside = path.with_name(path.name + ".part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
