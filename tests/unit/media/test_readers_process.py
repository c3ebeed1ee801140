"""The reading process: a file that breaks it is refused by itself, and the next one is read."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from skerry.errors import DocumentUnreadable, PayloadTooLarge, ServiceUnavailable
from skerry.media.readers import reader as reader_module
from skerry.media.readers.base import ReadLimits
from skerry.media.readers.charsets import CODECS
from skerry.media.readers.reader import DocumentReader
from skerry.workers.process import WorkerSpec

from . import document_making as make

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS of Linux")


@pytest.fixture
async def reader() -> AsyncIterator[DocumentReader]:
    reader = DocumentReader()
    yield reader
    await reader.close()


async def read_good(reader: DocumentReader) -> None:
    document = await reader.read(b"# Good\n\nText.", filename="good.md")
    assert (document.text, document.title) == ("# Good\n\nText.", "Good")


def limits_of(pid: int | None) -> dict[str, list[str]]:
    """Soft and hard value of each limit of a process."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return {line[:26].strip(): line[26:].split()[:2] for line in lines}


def word_bomb(paragraphs: int) -> bytes:
    """A small file whose XML takes far more memory as a tree than it is long."""
    return make.word_body("<w:p><w:r><w:t>a</w:t></w:r></w:p>" * paragraphs)


async def test_every_format_is_read_in_the_confined_process(reader: DocumentReader) -> None:
    files = {
        "a.txt": b"Plain text.",
        "a.md": b"# Markdown",
        "a.html": b"<p>Page</p>",
        "a.pdf": make.pdf([["A page."]]),
        "a.docx": make.word(),
    }
    titles = {name: (await reader.read(data, filename=name)).text for name, data in files.items()}
    assert titles["a.pdf"] == "A page."
    assert titles["a.docx"].startswith("# Guide")
    assert titles["a.html"] == "Page"


async def test_every_charset_works_although_no_file_can_be_opened(reader: DocumentReader) -> None:
    for label in CODECS:
        page = f'<meta charset="{label}"><p>Text</p>'.encode()
        assert (await reader.read(page, filename="a.html")).text == "Text"
    for codec in ("utf-8-sig", "utf-16", "utf-32", "cp1252"):
        assert (
            await reader.read("Die große Straße".encode(codec), filename="a.txt")
        ).text == "Die große Straße"


async def test_a_damaged_file_costs_the_process_nothing(reader: DocumentReader) -> None:
    await read_good(reader)
    pid = reader.pid
    with pytest.raises(DocumentUnreadable):
        await reader.read(b"%PDF-1.7 damaged", filename="a.pdf")
    with pytest.raises(PayloadTooLarge):
        await reader.read(make.word_with_part("x", bytes(257 << 20)), filename="a.docx")
    await read_good(reader)
    assert reader.pid == pid


async def test_no_damage_makes_a_parser_ask_for_what_the_process_may_not_do(
    reader: DocumentReader,
) -> None:
    whole = {
        "a.docx": make.word(),
        "a.pdf": make.pdf([["# One", "Two."]], title="T"),
        "b.pdf": make.pdf([["Secret."]], password="secret"),
        "a.html": b"<h1>a</h1><table><tr><td>b</table><ol><li>c<pre>d</pre>&#xD800;\0",
    }
    for name, data in whole.items():
        for kept in range(8, len(data), max(1, len(data) // 40)):
            for damaged in (data[:kept], data[:kept] + b"\xff" + data[kept + 1 :]):
                try:
                    await reader.read(damaged, filename=name)
                except DocumentUnreadable as error:
                    assert "may not do" not in error.message


@linux
@pytest.mark.parametrize(
    ("filename", "made"),
    [
        ("bomb.docx", lambda: word_bomb(600_000)),
        ("bomb.html", lambda: b"<p><i><b>a</b></i></p>" * 600_000),
        ("bomb.pdf", lambda: make.pdf_bomb(1 << 28)),
    ],
    ids=["word", "html", "pdf"],
)
async def test_a_bomb_of_memory_is_refused_alone_and_the_next_file_is_read(
    filename: str, made: Callable[[], bytes]
) -> None:
    bomb = made()
    reader = DocumentReader(ReadLimits(memory_bytes=200 << 20, time_s=30))
    outcomes = await asyncio.gather(
        reader.read(bomb, filename=filename),
        *(read_good(reader) for _ in range(3)),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], DocumentUnreadable)
    # PDFium gives up by itself, the others are stopped.
    assert "200 MiB" in outcomes[0].message or filename == "bomb.pdf"
    assert outcomes[1:] == [None] * 3
    await reader.close()


async def test_a_file_that_takes_too_long_is_refused_alone_and_the_next_one_is_read() -> None:
    reader = DocumentReader(ReadLimits(time_s=1.0))
    await read_good(reader)
    slow = make.pdf([["word " * 200] * 200] * 3_000)
    with pytest.raises(DocumentUnreadable, match="within 1 s") as caught:
        await reader.read(slow, filename="slow.pdf")
    assert "Split" in caught.value.remedy
    await read_good(reader)
    await reader.close()


@linux
async def test_a_process_killed_between_two_files_is_replaced(reader: DocumentReader) -> None:
    await read_good(reader)
    pid = reader.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert reader._gone is not None
    await asyncio.wait_for(asyncio.shield(reader._gone), 10)
    await read_good(reader)
    assert reader.pid != pid


async def test_a_caller_that_goes_leaves_nothing_behind(reader: DocumentReader) -> None:
    await read_good(reader)
    slow = make.pdf([["word " * 200] * 200] * 500)
    task = asyncio.create_task(reader.read(slow, filename="slow.pdf"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await read_good(reader)


@linux
async def test_the_process_can_open_nothing_and_has_bounds(reader: DocumentReader) -> None:
    await read_good(reader)
    rows = limits_of(reader.pid)
    for name in ("Max open files", "Max file size", "Max core file size", "Max processes"):
        assert rows[name] == ["0", "0"]
    assert rows["Max address space"][0] == str(1 << 30)
    assert rows["Max cpu time"][0] != "unlimited"


async def test_a_process_that_cannot_start_is_no_fault_of_the_file(
    reader: DocumentReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = WorkerSpec(name="documents", module="skerry.media.readers.absent")
    monkeypatch.setattr(reader_module, "WORKER", broken)
    with pytest.raises(ServiceUnavailable):
        await reader.read(b"text", filename="a.txt")


async def test_readers_native_code_stays_out_of_the_node() -> None:
    check = (
        "import sys, skerry.media.readers.reader;"
        "print({'lxml', 'docx', 'pypdfium2'} & set(sys.modules))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", check, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().strip() == "set()"
