"""The pipeline of the demonstration: which texts it reads, the job it is, and what its result must be.

`list` comes first; then one `count-…` for each text, functions and shell commands by turns; then `join`, `report`, and `cleanup`
in any case. `health`, an HTTP request to the gateway, runs beside them, and `report` waits for it too.
"""

from __future__ import annotations

import sysconfig
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from foliot_gateway.cli.demo_app import top_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Where a Python environment keeps texts: under the standard library, then under each folder of installed packages. Some
# distributions leave out the first; the metadata of what Foliot itself needs is always there.
_LIBRARY_TEXTS: Final = ("LICENSE.txt", "idlelib/*.txt", "lib2to3/*.txt", "pydoc_data/*.txt")
_PACKAGE_TEXTS: Final = ("*.dist-info/METADATA", "*.dist-info/LICENSE*", "*.dist-info/licenses/**/*")

# The words of a text with how often each occurs, by coreutils alone; `test` because a pipeline's status is that of its end.
_COUNT_LINE: Final = """\
set -e
export LC_ALL=C
test -r "$TEXT"
tr -cs A-Za-z '\\n' <"$TEXT" | tr A-Z a-z | sort | uniq -c >"$COUNTS.part"
mv "$COUNTS.part" "$COUNTS"
echo "$(wc -l <"$COUNTS") different words"
"""

_RETRY_BACKOFF_S: Final = 0.5
"""The longest wait before the second attempt: long enough to be seen."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The pipeline over some texts, in a folder for what its tasks write."""

    texts: Sequence[Path]
    folder: Path

    @property
    def report_path(self) -> Path:
        """The file that the report is written to."""
        return self.folder / "report.txt"

    @property
    def count_tasks(self) -> Sequence[str]:
        """The ids of the tasks that count, in the order of the texts."""
        return [f"count-{number:02}" for number in range(1, len(self.texts) + 1)]

    @property
    def failing_task(self) -> str:
        """The id of the one that fails once: the first, which has the largest text."""
        return self.count_tasks[0]

    @property
    def fails_after_line(self) -> int:
        """The line of the largest text after which its task fails: the one in the middle."""
        with self.texts[0].open("rb") as text:
            return max(1, sum(1 for _ in text) // 2)

    def prepare(self) -> None:
        """Make the folders that tasks write to."""
        self._counts_folder.mkdir(parents=True, exist_ok=True)

    def job(self, health_url: str) -> dict[str, Any]:
        """Answer the body of `POST /jobs`."""
        return {
            "name": "demo",
            "description": "Counts the words of the texts of this Python environment.",
            "retryPolicy": {"type": "ON_FAILURE", "maxRetries": 2, "backoffSeconds": _RETRY_BACKOFF_S},
            "tasks": list(self._tasks(health_url)),
            "metadata": {"texts": len(self.texts)},
        }

    @property
    def _counts_folder(self) -> Path:
        return self.folder / "counts"

    def _counted(self, task: str) -> str:
        return str(self._counts_folder / f"{task}.txt")

    def _tasks(self, health_url: str) -> Iterator[dict[str, Any]]:
        listed = {"paths": [str(text) for text in self.texts], "output": str(self.folder / "files.json")}
        yield {"id": "list", "function": {"name": "demo.list", "input": listed}}
        for number, (task, text) in enumerate(zip(self.count_tasks, self.texts, strict=True)):
            yield {"id": task, "dependencies": ["list"], "timeoutSeconds": 60, **self._count_work(task, text, number)}
        counts = {str(text): self._counted(task) for task, text in zip(self.count_tasks, self.texts, strict=True)}
        joined = str(self.folder / "joined.json")
        yield {
            "id": "join",
            "dependencies": list(self.count_tasks),
            "triggerRule": "ALL_SUCCESS",
            "function": {"name": "demo.join", "input": {"counts": counts, "output": joined}},
        }
        yield {"id": "health", "http": {"url": health_url, "timeoutSeconds": 10}}
        yield {
            "id": "report",
            "dependencies": ["join", "health"],
            "function": {"name": "demo.report", "input": {"joined": joined, "output": str(self.report_path)}},
        }
        yield {
            "id": "cleanup",
            "dependencies": ["report"],
            "triggerRule": "ALL_DONE",
            "command": {"line": 'rm -rf -- "$COUNTS"', "environment": {"COUNTS": str(self._counts_folder)}},
        }

    def _count_work(self, task: str, text: Path, number: int) -> dict[str, Any]:
        if number % 2:
            return {"command": {"line": _COUNT_LINE, "environment": {"TEXT": str(text), "COUNTS": self._counted(task)}}}
        given: dict[str, Any] = {"path": str(text), "output": self._counted(task)}
        if task == self.failing_task:
            given["fails_after_line"] = self.fails_after_line
        return {"function": {"name": "demo.count", "input": given}}


@dataclass(frozen=True, slots=True)
class DirectCount:
    """The same words counted by this process, another way than the tasks do: with a table of bytes, not with an expression."""

    words_by_file: dict[str, int]
    words: Counter[str]

    @classmethod
    def of(cls, texts: Sequence[Path]) -> DirectCount:
        """Count; raises OSError."""
        letters = bytes(byte | 0x20 if chr(byte).isalpha() and byte < 0x80 else 0x20 for byte in range(0x100))  # noqa: PLR2004 - ASCII
        words_by_file: dict[str, int] = {}
        words: Counter[str] = Counter()
        for text in texts:
            found = text.read_bytes().translate(letters).decode("ascii").split()
            words_by_file[str(text)] = len(found)
            words.update(found)
        return cls(words_by_file, words)

    def differences(self, summary: dict[str, Any]) -> list[str]:
        """Say where the summary of the report differs; empty when it agrees."""
        expected = {
            "words": self.words.total(),
            "distinct_words": len(self.words),
            "top": [list(pair) for pair in top_words(self.words)],
        }
        found = [
            f"the report has {name} = {summary.get(name)!r}, counted directly it is {value!r}"
            for name, value in expected.items()
            if summary.get(name) != value
        ]
        reported = summary.get("files", {})
        for path in sorted(self.words_by_file.keys() | reported.keys()):
            if reported.get(path) != self.words_by_file.get(path):
                words = self.words_by_file.get(path)
                found.append(f"the report has {reported.get(path)} words for {path}, counted directly it is {words}")
        return found


def choose_texts(count: int) -> list[Path]:
    """Answer the largest different texts of this Python environment, at most `count`, the largest first; at least one.

    The choice depends on what is installed alone. Raises OSError when a text cannot be read.
    """
    by_content = {text.read_bytes(): text for text in sorted(_texts(), reverse=True)}  # many packages share a licence
    largest = sorted(by_content.items(), key=lambda item: (-len(item[0]), item[1]))
    return [text for content, text in largest if content][:count]


def _texts() -> set[Path]:
    paths = sysconfig.get_paths()
    folders = [(paths["stdlib"], _LIBRARY_TEXTS), (paths["purelib"], _PACKAGE_TEXTS), (paths["platlib"], _PACKAGE_TEXTS)]
    found = (text for folder, patterns in folders for pattern in patterns for text in Path(folder).glob(pattern))
    return {text.resolve() for text in found if text.is_file()}
