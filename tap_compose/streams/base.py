"""What streams have in common: two shapes, and the way from a body to rows.

A stream class says what its report is: name, path, key, columns. How it is fetched follows
from its shape: once per account (``AccountStream``), or once per deployment
(``DeploymentStream``), whose partitions are the deployments: it syncs once, with one SCHEMA
and one STATE, however many deployments there are (design, section 4).
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime, timezone
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, cast

from msgspec import UNSET
from singer_sdk import Stream
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_compose.api import hal
from tap_compose.api.client import Answers, Call
from tap_compose.api.errors import (
    ApiError,
    DeniedError,
    GoneError,
    TokenRejectedError,
    UnreachableError,
)
from tap_compose.messages import record_lines
from tap_compose.records import OddError, Record, RecordReader
from tap_compose.report import Gap, Kind, StopRun
from tap_compose.rows import MissingKeyError, Row, RowMaker
from tap_compose.times import canonical_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from singer_sdk.helpers.types import Context
    from singer_sdk.metrics import Counter
    from singer_sdk.singerlib import Catalog

    from tap_compose.run import Run
    from tap_compose.tap import TapCompose


_TOP_LEVEL = 2


class ComposeStream(Stream):
    """A report of the Compose API.

    Attributes:
        path: Where the report is, below the API's base URL; ``{}`` stands for the id of the
            account or deployment that it belongs to.
        envelope: The names of the list in ``_embedded``, the usual one first; empty if the
            body is one bare object.
        also_bare: Whether the list may stand outside ``_embedded`` too.
        also: Other names under which the API writes a field, by column.
        shared: Whether another stream asks for the same bodies.
        given_columns: The key columns that the tap adds to the objects of the API.
        nested: Whether objects hold further ones of their kind.

    Args:
        tap: The tap.
        run: What all streams of the run share.
    """

    path: ClassVar[str]
    envelope: ClassVar[tuple[str, ...]] = ()
    also_bare: ClassVar[bool] = False
    also: ClassVar[Mapping[str, Sequence[str]]] = {}
    shared: ClassVar[bool] = False
    given_columns: ClassVar[tuple[str, ...]] = ()
    nested: ClassVar[bool] = False

    # Streams with a bookmark keep it themselves: the SDK's own way costs a search through all
    # partitions per record, and may move a bookmark backwards.
    state_partitioning_keys = ()

    asks_ahead: ClassVar[bool] = True
    """Whether the stream's calls are known before it begins."""

    next_stream: ComposeStream | None = None
    """The stream whose first calls may be under way while this one's last rows are written."""

    _counter: Counter
    _version: int | None = None
    _line: Callable[[Any], bytes]
    _tap: TapCompose

    def __init__(self, tap: TapCompose, run: Run) -> None:
        super().__init__(tap)
        self.run = run

    @cached_property
    def maker(self) -> RowMaker:
        """What makes this stream's rows."""
        return RowMaker(self.schema, self.primary_keys, also=self.also, logger=self.logger)

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        # Keys and replication are the tap's, whatever an old or edited catalog says.
        keys, replication_key = self.primary_keys, self.replication_key
        super().apply_catalog(catalog)
        self.primary_keys, self.replication_key = keys, replication_key
        method = self.forced_replication_method
        if method and method not in self._possible_methods:
            self.logger.warning(
                "the catalog asks for %s replication of %s, which is only replicated in full",
                method,
                self.name,
            )
            self.forced_replication_method = None
        if "properties" not in self.effective_schema:
            self._input_schema = None

    @property
    def _possible_methods(self) -> set[str]:
        return {"FULL_TABLE", REPLICATION_INCREMENTAL} if self.replication_key else {"FULL_TABLE"}

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        return None

    # The SDK's names that start with an underscore and are overridden: only here and below, at
    # ``_write_activate_version_message``; the same in 0.54.9 and 0.55.

    @override
    def _write_starting_replication_value(self, context: Context | None) -> None:
        pass

    @override
    def _increment_stream_state(
        self, latest_record: Any, *, context: Context | None = None
    ) -> None:
        pass

    @cached_property
    def reader(self) -> RecordReader | None:
        """What reads bodies that are as they should be; None if every one is read slowly."""
        shapes_its_rows = type(self).row is not ComposeStream.row
        if not self.is_plain or shapes_its_rows:
            return None
        keys = [name for name in self.primary_keys if name not in self.given_columns]
        try:
            envelope = next(iter(self.envelope), None)
            return RecordReader(self.schema, keys, envelope, nested=self.nested)
        except OddError:
            return None

    @cached_property
    def is_plain(self) -> bool:
        """Whether rows go out as they are, but for columns that are not selected.

        Stream maps, flattening, a schema or a selection within columns that the catalog
        brings, and the limit of ``--test`` are left to the SDK.
        """
        (first, *others) = self.stream_maps
        return (
            type(first) is SameRecordTransform
            and not others
            and not first.flattening_enabled
            and self.ABORT_AT_RECORD_COUNT is None
            and self.effective_schema["properties"] == self.schema["properties"]
            and all(is_in for place, is_in in self.mask.items() if len(place) > _TOP_LEVEL)
        )

    @cached_property
    def _deselected(self) -> list[str]:
        return [name for name in self.schema["properties"] if not self.mask["properties", name]]

    @override
    def get_records(self, context: Context | None) -> Iterator[Row]:
        tally = self.run.report.tally(self.name)
        if tally.began is None:
            tally.began = monotonic()
            tally.parts = len(self.partitions or [{}])
        write = self._written if self.is_plain else self._counted
        try:
            yield from write(self.fetched_rows(context))
        finally:  # the summary tells of a run that stops early too
            if "answers" in self.__dict__:
                tally.requests, tally.retries = self.answers.requests, self.answers.retries
            tally.ended = monotonic()
        tally.parts_done += 1
        if self._version is not None and context == self.last_context:
            self._activate_version(self._version)

    def _counted(self, rows: Iterator[Row | Record]) -> Iterator[Row]:
        """Count rows on their way to the SDK; without a reader there are no records."""
        tally = self.run.report.tally(self.name)
        unfolded = self._unfolded
        for row in cast("Iterator[Row]", rows):
            tally.rows += 1
            for name in unfolded:
                if row[name] is None:
                    row[name] = {}
            yield row

    @property
    def _unfolded(self) -> list[str]:
        """The objects that flattening makes columns of; null would stay beside them as one more."""
        if not self.stream_maps[0].flattening_enabled:
            return []
        return [name for name, each in self.schema["properties"].items() if each.get("properties")]

    def _written(self, rows: Iterator[Row | Record]) -> Iterator[Row]:
        """Write rows past the SDK; yields nothing."""
        write_line, deselected = self._tap.message_writer.write_line, self._deselected
        tally = self.run.report.tally(self.name)
        before = tally.rows
        for row in rows:
            for name in deselected:
                if isinstance(row, Record):
                    row[name] = UNSET
                else:
                    del row[name]
            write_line(self._line(row))
            tally.rows += 1
        self._counter.increment(tally.rows - before)
        yield from ()

    @property
    def last_context(self) -> Context | None:
        """The context of the last call of ``get_records``."""
        return None

    @property
    @override
    def emit_activate_version_messages(self) -> bool:
        # An incremental stream that is read in full still begins at its start_date.
        return super().emit_activate_version_messages and self.replication_key is None

    @override
    def _write_activate_version_message(self, full_table_version: int) -> None:
        # The SDK sends it before the first record: a run that died half-way would have told the
        # target to drop rows that it never brought again. So it waits.
        self._version = full_table_version

    def _activate_version(self, version: int) -> None:
        """Tell the target to drop older rows, if everything that exists was read."""
        settings = self.run.settings
        gaps = self.run.report.gaps_of(self.name)
        is_all_gone = bool(gaps) and len(gaps) >= len(self.partitions or [{}])
        if (
            all(gap.kind is Kind.SKIPPED and gap.is_gone for gap in gaps)
            and not is_all_gone
            and self.run.lists_are_whole
            and settings.deployment_ids is None
            and settings.deployment_shard is None
            and self.ABORT_AT_RECORD_COUNT is None
        ):
            super()._write_activate_version_message(version)

    @override
    def get_record_counter(self, **tags: Any) -> Counter:
        self._counter = super().get_record_counter(**tags)
        return self._counter

    @cached_property
    def answers(self) -> Answers[list[Any] | ApiError]:
        """The answers that hold the report, in the order of ``calls``."""
        answers = self.run.client.get_many(self.calls())
        following = self.next_stream
        if following is not None:
            answers.then(lambda: following.answers)
        return answers

    @abstractmethod
    def calls(self) -> Iterator[Call[list[Any]]]:
        """Name the calls that bring the report.

        Yields:
            The calls, each when there is room for its answer.
        """

    def _next_answer(self) -> list[Any] | ApiError | None:
        try:
            return next(self.answers, None)
        except (TokenRejectedError, UnreachableError) as error:
            raise StopRun(str(error)) from error

    @abstractmethod
    def fetched_rows(self, context: Context | None) -> Iterator[Row | Record]:
        """Fetch the rows of a partition, or of the whole stream if it has none.

        Args:
            context: The partition.

        Yields:
            The rows. What stands between them, such as moving a bookmark, happens when the
            ones before are written.
        """

    def bookmark_in(self, state: Mapping[str, Any], what: str) -> str | None:
        """Read a bookmark; one in the future, or on another key, is reported.

        Args:
            state: Where it stands.
            what: Whose bookmark it is, in words.

        Returns:
            The canonical time of the newest row that was written, None if nothing is known.
        """
        value = state.get("replication_key_value")
        if not value:
            return None
        if not self._is_on_our_key(state):
            self.logger.warning(
                "the bookmark of %s is on %s instead of %s and is not used",
                what,
                state["replication_key"],
                self.replication_key,
            )
            return None
        bookmark = canonical_time(value)
        if bookmark > self.run.started:
            self.logger.warning(
                "the bookmark of %s, %s, lies in the future: nothing older comes until that time; "
                "start without this state to fetch again",
                what,
                bookmark,
            )
        return bookmark

    def move_bookmark(self, state: dict[str, Any], newest: str) -> bool:
        """Move a bookmark to the newest row that was written; never back.

        Args:
            state: Where it stands.
            newest: The canonical time, or an empty text if there was no row.

        Returns:
            Whether it moved.
        """
        value = state.get("replication_key_value")
        known = canonical_time(value) if value and self._is_on_our_key(state) else ""
        if newest <= known:
            return False
        state["replication_key"] = self.replication_key
        state["replication_key_value"] = newest
        return True

    def _is_on_our_key(self, state: Mapping[str, Any]) -> bool:
        return bool(state.get("replication_key", self.replication_key) == self.replication_key)

    def items(self, body: bytes) -> list[Any]:
        """Read a body.

        Args:
            body: The bytes of an answer.

        Returns:
            Records, or the objects that become rows.

        Raises:
            UnreadableBodyError: If the body is not what the endpoint promises.
        """
        if self.reader is not None:
            try:
                return list(self.reader.read(body))
            except OddError:
                pass
        return self.objects(body)

    def objects(self, body: bytes) -> list[Any]:
        """Read a body whatever is odd about it.

        Args:
            body: The bytes of an answer.

        Returns:
            The objects that become rows.

        Raises:
            UnreadableBodyError: If the body is not what the endpoint promises.
        """
        content = hal.decode(body)
        if not self.envelope:
            return [hal.single(content)]
        return hal.embedded(content, *self.envelope, bare=self.also_bare)

    def rows(self, items: Iterable[Any], given: Mapping[str, Any]) -> Iterator[Row | Record]:
        """Make the rows of one answer, each key once.

        Args:
            items: Records, or objects of the API.
            given: Columns that the items lack.

        Yields:
            The rows; an object without its id is reported instead.
        """
        keys = self.primary_keys
        seen: set[Any] = set()
        for row in self.made_rows(items, given):
            key = row[keys[0]] if len(keys) == 1 else tuple([row[name] for name in keys])
            if key not in seen:
                seen.add(key)
                yield row

    def made_rows(self, items: Iterable[Any], given: Mapping[str, Any]) -> Iterator[Row | Record]:
        """Make the rows of one answer, a row for each item.

        Args:
            items: Records, or objects of the API.
            given: Columns that the items lack.

        Yields:
            The rows; an object without its id is reported instead.
        """
        self._line = record_lines(self.name, self._stream_version, datetime.now(timezone.utc))
        for item in items:
            if isinstance(item, Record):
                for name, value in given.items():
                    item[name] = value
                yield item
                continue
            try:
                yield self.row(item, given)
            except MissingKeyError as error:
                place = given.get("deployment_id")
                self.run.report.add(Gap(Kind.DROPPED, self.name, str(error), place))

    def row(self, item: Any, given: Mapping[str, Any]) -> Row:
        """Make one row; a stream with a column of its own making adds it here.

        Args:
            item: An object of the API.
            given: Columns that the object lacks.

        Returns:
            The row.

        Raises:
            MissingKeyError: If the object has no id.
        """
        return self.maker.row(item, given)

    def cannot(self, error: ApiError, deployment_id: str | None = None) -> None:
        """Report that something could not be read.

        Args:
            error: Why.
            deployment_id: The deployment, if it concerns one.

        Raises:
            StopRun: If nothing else can be read either.
        """
        if isinstance(error, (TokenRejectedError, UnreachableError)):
            raise StopRun(str(error)) from error
        self.run.report.add(self.gap(error, deployment_id))

    def gap(self, error: ApiError, deployment_id: str | None = None) -> Gap:
        """Tell what an error makes of something that was to be read.

        Args:
            error: Why it could not be read.
            deployment_id: The deployment, if it concerns one.

        Returns:
            What is missing, and whether that is a skip or a failure.
        """
        kind = Kind.SKIPPED if self.may_skip(error) else Kind.FAILED
        is_gone = isinstance(error, GoneError)
        return Gap(kind, self.name, self.reason(error), deployment_id, is_gone)

    @abstractmethod
    def may_skip(self, error: ApiError) -> bool:
        """Tell whether an error is no fault of the run.

        Args:
            error: Why something could not be read.

        Returns:
            True if the resource is not for this token or is no more.
        """

    def reason(self, error: ApiError) -> str:
        """Say why something could not be read.

        Args:
            error: The error.

        Returns:
            One line for a person.
        """
        return str(error)


class AccountStream(ComposeStream):
    """A report on the account as a whole, in one answer."""

    @property
    @override
    def selected(self) -> bool:
        return bool(super().selected) and self.run.includes_account_level

    @selected.setter
    def selected(self, value: bool | None) -> None:
        ComposeStream.selected.fset(self, value)  # type: ignore[attr-defined]

    @property
    @override
    def partitions(self) -> None:
        # The SDK would take them from the state, and a foreign one may have some.
        return None

    @override
    def calls(self) -> Iterator[Call[list[Any]]]:
        yield Call(self.path, self.items, shared=self.shared)

    @override
    def fetched_rows(self, context: Context | None) -> Iterator[Row | Record]:
        for number, items in enumerate(iter(self._next_answer, None)):
            if isinstance(items, ApiError):
                self.cannot(items)
            else:
                yield from self.rows(items, self.given(number))

    def given(self, number: int) -> Mapping[str, Any]:
        """Tell which columns an answer lacks.

        Args:
            number: Its place among the calls.

        Returns:
            The columns.
        """
        del number
        return {}

    @override
    def may_skip(self, error: ApiError) -> bool:
        return isinstance(error, DeniedError)

    @override
    def reason(self, error: ApiError) -> str:
        if isinstance(error, GoneError) and not self.may_skip(error):
            return f"{error}; every account has this, so api_url looks wrong"
        return str(error)


class DeploymentStream(ComposeStream):
    """A report that is asked for once per deployment."""

    given_columns = ("deployment_id",)

    @property
    @override
    def last_context(self) -> Context | None:
        return self.partitions[-1] if self.partitions else None

    @cached_property
    def partitions(self) -> list[dict[str, Any]]:
        """The deployments that this run takes; empty, and reported, if they are unknown."""
        ids = self.run.deployment_ids
        if isinstance(ids, ApiError):
            if isinstance(ids, (TokenRejectedError, UnreachableError)):
                raise StopRun(str(ids)) from ids
            reason = f"the list of deployments cannot be read: {ids}"
            self.run.report.add(Gap(Kind.FAILED, self.name, reason))
            return []
        return [{"deployment_id": each} for each in ids]

    @override
    def calls(self) -> Iterator[Call[list[Any]]]:
        for partition in self.partitions:
            path = hal.url_path(self.path, partition["deployment_id"])
            yield Call(path, self.items, shared=self.shared)

    @override
    def fetched_rows(self, context: Context | None) -> Iterator[Row | Record]:
        if not context:  # there are no deployments
            return
        deployment_id = context["deployment_id"]
        items = self._next_answer()
        if isinstance(items, ApiError):
            self.cannot(items, deployment_id)
        elif items is not None:
            yield from self.deployment_rows(items, deployment_id)

    def deployment_rows(self, items: list[Any], deployment_id: str) -> Iterator[Row | Record]:
        """Make the rows of one deployment.

        Args:
            items: The objects of its answer.
            deployment_id: The deployment.

        Yields:
            The rows.
        """
        yield from self.rows(items, {"deployment_id": deployment_id})

    @override
    def may_skip(self, error: ApiError) -> bool:
        return isinstance(error, (DeniedError, GoneError))
