"""Decide when a segment is finished for good, from Cassandra's own sources.

Cassandra 4.0 to 5.0 (4.0.18, 4.1.10, 5.0.6: the same in all).

Birth. `AbstractCommitLogSegmentManager` prepares the next segment ahead of its use (`availableSegment`), so
the segment in use is always followed by an empty one. `CommitLogSegmentManagerCDC.createSegment` links it into
`cdc_raw` after its header is written, unless the CDC space is used up (state FORBIDDEN): then it is linked
later, when space is free (`permitSegmentMaybe`), so a link may appear with a *lower* id than one already there.
Ids of one run of Cassandra are consecutive; a new run begins at the wall clock's milliseconds, or above the
highest id still in its commit-log folder (`CommitLogSegment.idBase`). Names are never used again.

Growth. `CommitLogSegment.sync` writes a marker over entries only after all of them are wholly written
(`waitForModifications`). Marker and CRC are two stores, so for a moment the CRC can be missing.
`_cdc.idx` is written after an fsync of a segment that holds a CDC mutation, by truncating it first.

Two segments at once. A writer that saw the old segment in `allocatingFrom` may still place an entry in it after
`advanceAllocatingFrom` has made the new one current and before it calls `discardUnusedTail` on the old one.
In that window both may even get a marker. So markers in a newer segment do **not** prove that the older one is
finished. But the pass that closes the segment syncs all entries from that window, and it writes `_cdc.idx` if any of
them is CDC. A segment without `_cdc.idx`, followed by one that has begun, needs no more reading until an index file
appears.

End. Once `discardUnusedTail` has succeeded, no allocation can (`allocatePosition` is past the buffer's end, "Can
only succeed once"). The next `sync` of that segment, whether it was asked to flush or not, writes the last
marker, zeroes the one after it if there is room, forces the file, writes `_cdc.idx` with COMPLETED when there
are CDC mutations, and unmaps the file (`internalClose`). A later `close` finds nothing to do, so neither the
segment nor its index file is written again. The file keeps its full size; the end is a zero marker, or a place
with no room for one. The last section may be empty.

Therefore a segment is finished for good when one of these holds:

- its index file says COMPLETED: it was closed, or replayed by a later process, which never appends to it
  (`CommitLogReplayer.handleCDCReplayCompletion`; the offset is then the file's length, not the end of the data);
- its link in `cdc_raw` is the last one: Cassandra removes a segment from its commit-log folder only after
  closing it (`CommitLogSegmentManagerCDC.discard`, `CommitLogSegment.discard`) or, after a restart, after the
  replay (`handleReplayedSegment`). This is the only evidence for two kinds that never become COMPLETED: the
  prepared, empty segment of a clean shutdown (`discardAvailableSegment` deletes the segment but not its link in
  `cdc_raw`, and nothing else ever does), and a segment with an index file whose process was killed and
  whose data had all been flushed, so that the replay passed over it (`CommitLogReader.shouldSkipSegmentId`).

Death. A segment is discarded when no memtable needs it. Its link goes too if it holds no CDC data; otherwise the
link stays until the consumer deletes it, or, with `cdc_block_writes: false`, until Cassandra prunes the folder:
oldest ids first, never the segment in use (`deleteOldLinkedCDCCommitLogSegment`, since 4.1). It deletes
the log first and the index file second, so a pruning during the closing leaves an index file without its log.

Rebirth. After a crash every segment still in the commit-log folder is replayed. If it has a CDC mutation and no
link, it is linked again, even if it was consumed long ago, and its index file is written COMPLETED.

Cassandra 3.11 (3.11.13; segment version 6) makes no links and no index files. It moves segments.

Birth. `AbstractCommitLogSegmentManager` creates segments ahead of their use, as above, but only in the commit-log
folder (`CommitLogSegment`). Ids of one run are consecutive. `CommitLogSegment.idBase` is the wall clock's milliseconds,
or above the highest id still in the commit-log folder.

Growth. As above: the marker comes after the entries (`CommitLogSegment.sync`), a late writer may still place an entry
in the old segment, and nothing shows when a segment is closed. So an old segment in the commit-log folder is looked at
once a second until it moves, and what stays open is only its file.

End. `CommitLogSegmentManagerCDC.discard` closes a segment that no memtable needs (`close`: the last marker, then
`internalClose`), and only then moves it to `cdc_raw` if it holds CDC data, or deletes it if not. A rename does not
change the file: who has it open reads on. `discardAvailableSegment` deletes the prepared segment at a shutdown.
At a start, `CommitLog.recoverSegmentsOnDisk` replays every segment of earlier runs in the commit-log folder, in full or
not, with CDC data or not, and `handleReplayedSegment` moves *all* of them to `cdc_raw`. So a segment in `cdc_raw` is
finished for good, and one that was never there held no CDC data when it disappeared. Segments may reach `cdc_raw` in
any order of their ids.

After a crash. A segment that was moved by a replay cannot be told from one that was discarded. But the replay belongs
to a new run, whose first segments exist before it. So every segment in `cdc_raw` that is older than the newest run
counts as replayed (`SegmentFile.replayed`). If the clock was set back at the restart, this is not noticed.

Death. Only the consumer deletes a segment in `cdc_raw`. `CDCSizeTracker` counts `cdc_raw` and every segment in the
commit-log folder that may get CDC data, at its full size, and rejects writes above `cdc_total_space`; it never prunes.
A name that was consumed does not come back, unless the clock was set back while the commit-log folder was empty.
"""

from __future__ import annotations

from typing import NamedTuple, Self

from cdc_daemon.sources.log.folder import SegmentFile


class Evidence(NamedTuple):
    """The known state of a segment before it is read.

    `durable` is the logical offset up to which Cassandra has forced it to disk. `closed` means that nothing will ever
    be appended to it. Collect it *before* reading the markers: only then is the end of the markers in a closed segment
    its final end.
    """

    durable: int = 0
    closed: bool = False

    @classmethod
    def of(cls, file: SegmentFile, *, newer_begun: bool) -> Self:
        """Return the evidence from the folders. `newer_begun` means that a segment with a higher id has a marker."""
        durable = 0 if file.index is None else file.index.offset
        return cls(durable, is_closed(file, newer_begun=newer_begun))

    def covers(self, offset: int) -> bool:
        """Return whether everything before this logical offset is final."""
        return self.closed or offset <= self.durable


def is_closed(file: SegmentFile, *, newer_begun: bool) -> bool:
    """Return whether nothing will ever be appended to this segment (see the module's text for the proof).

    A link count of one counts only if a newer segment has begun. So on a file system that does not count links, the
    segment in use is not taken for finished. A segment of 3.11 is closed before it is moved to `cdc_raw`.
    """
    if file.is_moved:
        return not file.active
    if file.index is not None and file.index.completed:
        return True
    return file.links <= 1 and newer_begun


def is_resting(file: SegmentFile, *, at_end: bool, newer_begun: bool) -> bool:
    """Return whether this segment needs no more reading until its entry in the folder changes.

    True for a segment that was read to its last marker and holds no durable CDC data, while a newer one has begun:
    most segments of a node on which only some tables have CDC.
    """
    return at_end and newer_begun and not file.has_index


def holds_cdc_surely(file: SegmentFile) -> bool:
    """Return whether the folder alone shows that a segment holds CDC data, so that only its consumer deletes it.

    3.11 moves a segment to `cdc_raw` because it holds CDC data, or because it was replayed. The latter may hold none;
    but it is not deleted by Cassandra either, so it counts here too.
    """
    return file.has_index or (file.is_moved and not file.active)
