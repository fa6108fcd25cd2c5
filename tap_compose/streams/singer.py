"""The link to the Singer SDK: what of it is overridden, and how rows are written.

The SDK's private names stand here, in ``Stream`` subclasses, and in ``tap.py``; they are the same
in singer-sdk 0.54.9 and 0.55 (docs/architecture.md, Traps of the SDK).
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime, timezone
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, cast

from singer_sdk import Stream
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.singerlib import Metadata
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE, REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_compose.api.errors import RunEndingError, unexpected
from tap_compose.messages import StopRun
from tap_compose.report import Missing, Outcome

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from singer_sdk import Tap
    from singer_sdk.helpers.types import Context
    from singer_sdk.singerlib import Catalog

    from tap_compose.messages import MessageWriter
    from tap_compose.report import StreamReport
    from tap_compose.rows import Row
    from tap_compose.run import Run

_ROWS_AT_ONCE = 50
"""Rows that are serialized in one step; with more of them that is no faster."""

_TOP_LEVEL = 2
"""The length of a column's breadcrumb; that of a part of a column is longer."""


class SingerStream(Stream):
    """A stream that writes its rows itself if the SDK has nothing to do with them.

    Args:
        tap: The tap.
        run: What all streams of the run share.
    """

    has_deployments: ClassVar[bool] = False
    """Whether its partitions are the deployments."""

    # Streams with a bookmark keep it themselves: the SDK's own way costs a search through all
    # partitions per record, and may move a bookmark backwards.
    state_partitioning_keys = ()

    _deferred_version: int | None = None

    def __init__(self, tap: Tap, run: Run) -> None:
        super().__init__(tap)
        self.run = run

    def begin(self) -> None:
        """Do what has to be done before the first row of a sync."""

    @abstractmethod
    def row_batches(self, context: Context | None) -> Iterator[list[Row]]:
        """Fetch the rows of a partition, or of the stream if it has none.

        Args:
            context: The partition.

        Yields:
            The rows of one or more responses. Code after a ``yield``, such as moving a bookmark,
            runs when those rows are written.
        """

    def finish(self) -> None:
        """Report what is known only after the last row."""

    @abstractmethod
    def fail_rest(self, missing: Missing) -> None:
        """Note that the stream failed, with all that it has not read yet.

        Args:
            missing: Why.
        """

    @property
    def report(self) -> StreamReport:
        """What this run did in the stream so far."""
        return self.run.report.of(self.name)

    # -- catalog and selection

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        # A catalog selects. Keys, columns and bookmarks stay, whatever an old or edited one says.
        self._tap_input_catalog = catalog
        entry = catalog.get_stream(self.name)
        if entry is None:
            return
        root = entry.metadata.get(())
        method = entry.replication_method or getattr(root, "forced_replication_method", None)
        if method == REPLICATION_FULL_TABLE:
            self.forced_replication_method = method
        elif method and not (method == REPLICATION_INCREMENTAL and self.replication_key):
            self.logger.warning("%s cannot replicate by %s, as the catalog says", self.name, method)
        keys = {*self.primary_keys, *filter(None, [self.replication_key])}
        listed = entry.schema.properties or self.schema["properties"]
        for name in self.schema["properties"]:
            if name not in keys and name not in listed:
                entry.metadata["properties", name].selected = False
            elif name in keys and entry.metadata:  # without any, all columns are selected
                entry.metadata["properties", name].inclusion = Metadata.InclusionType.AUTOMATIC
        if left_out := ", ".join(sorted(keys - listed.keys())):
            self.logger.warning("%s: the catalog leaves out the key %s", self.name, left_out)

    @cached_property
    def is_plain(self) -> bool:
        """Whether rows are written unchanged, except that deselected columns are left out.

        If not, the SDK writes them: stream maps, flattening, a selection within columns.
        """
        (first, *others) = self.stream_maps
        return (
            type(first) is SameRecordTransform
            and not others
            and not first.flattening_enabled
            and all(is_in for path, is_in in self.mask.items() if len(path) > _TOP_LEVEL)
        )

    # -- reading and writing

    @override
    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        report, flattened = self.report, self._flattened_objects()
        for rows in self.row_batches(context):
            for record in rows:
                for name in flattened:
                    if record[name] is None:
                        record[name] = {}
                report.rows += 1
                yield record
        self._end_partition()

    def _flattened_objects(self) -> list[str]:
        """The objects that flattening turns into columns; a null would become one more column."""
        if not self.stream_maps[0].flattening_enabled:
            return []
        return [name for name, each in self.schema["properties"].items() if each.get("properties")]

    @override
    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[dict[str, Any], Any, Any]:
        report = self.report
        report.began = monotonic()
        try:
            self.begin()
            report.parts = len(self.partitions or [{}])
            if self.is_plain and write_messages:
                self._write_rows()
            else:
                yield from super()._sync_records(context, write_messages=write_messages)
        except RunEndingError as error:
            raise StopRun(str(error)) from error
        except Exception as error:  # a stream map, or a bug: other streams still run
            self.logger.debug("an exception in %s", self.name, exc_info=True)
            self.fail_rest(Missing(Outcome.FAILED, unexpected(error)))
            report.parts_done = report.parts
        finally:  # the summary includes a stream that stops early
            report.ended = monotonic()
            self.finish()

    def _write_rows(self) -> None:
        """Write all rows without the SDK, which is slower (docs/architecture.md, Writing rows)."""
        writer = cast("MessageWriter", self._tap.message_writer)
        deselected = [
            each for each in self.schema["properties"] if not self.mask["properties", each]
        ]
        report = self.report
        with self.get_record_counter() as counter, self.get_sync_timer():
            for partition in self.partitions or [{}]:
                for rows in self.row_batches(partition):
                    now = datetime.now(timezone.utc)
                    for start in range(0, len(rows), _ROWS_AT_ONCE):
                        some = rows[start : start + _ROWS_AT_ONCE]
                        for name in deselected:
                            for row in some:
                                del row[name]
                        report.rows += len(some)
                        writer.write_records(self.name, some, now, self._deferred_version)
                    counter.increment(len(rows))
                self._end_partition()
        self._finalize_state(self.stream_state)
        self._write_state_message()

    # -- state: each stream with a bookmark moves it itself

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        return None

    @override
    def _write_starting_replication_value(self, context: Context | None) -> None:
        pass

    @override
    def _increment_stream_state(
        self, latest_record: Any, *, context: Context | None = None
    ) -> None:
        pass

    # -- ACTIVATE_VERSION

    @property
    @override
    def emit_activate_version_messages(self) -> bool:
        # An incremental stream that is read in full still begins at its start_date.
        return super().emit_activate_version_messages and self.replication_key is None

    @override
    def _write_activate_version_message(self, full_table_version: int) -> None:
        # The SDK writes it before the first record: if the run then died, the target would drop
        # rows that were never written again. So it is deferred.
        self._deferred_version = full_table_version

    def _end_partition(self) -> None:
        """Count a partition; after the last one, let the target drop the rows that are gone."""
        self.report.parts_done += 1
        is_last = self.report.parts_done == self.report.parts
        if is_last and self._deferred_version is not None and self.has_read_everything():
            super()._write_activate_version_message(self._deferred_version)

    def has_read_everything(self) -> bool:
        """Whether every row that exists was read, so that all others can be dropped."""
        settings = self.run.settings
        return settings.deployment_ids is None and settings.deployment_shard is None
