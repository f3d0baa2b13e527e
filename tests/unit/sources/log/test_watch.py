from __future__ import annotations

import asyncio
from pathlib import Path

from cdc_daemon.sources.log.watch import FolderWatch


async def test_a_change_in_the_folder_is_told(tmp_path: Path) -> None:
    told = asyncio.Event()
    watching = asyncio.create_task(FolderWatch(tmp_path, told.set).run())
    try:
        async with asyncio.timeout(10):
            while not told.is_set():
                # The watch is set up in a thread of its own, so the first changes may come before it.
                (tmp_path / "CommitLog-7-1_cdc.idx").write_text("1")
                await asyncio.sleep(0.02)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_a_folder_that_cannot_be_watched_yet_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "cdc_raw"
    told = asyncio.Event()
    watching = asyncio.create_task(FolderWatch(folder, told.set, retry=0.01).run())
    try:
        await asyncio.sleep(0.05)
        assert not told.is_set()
        folder.mkdir()
        async with asyncio.timeout(10):
            while not told.is_set():
                (folder / "CommitLog-7-1.log").write_text("1")
                await asyncio.sleep(0.02)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
