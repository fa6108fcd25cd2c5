"""The audit log, oldest events first, although the API returns the newest first.

A plain pass cannot be resumed: the bookmark of a descending stream may move only when all of
it has arrived. So the time range is cut into windows, several are fetched at once and written in
ascending order, and after each the bookmark moves (``audit_windows.py`` has the rules).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_compose.api.client import Request
from tap_compose.api.errors import ApiError
from tap_compose.report import now
from tap_compose.rows import RowBatch
from tap_compose.streams.audit_windows import PAGE, Plan, Window
from tap_compose.streams.base import AccountStream
from tap_compose.streams.bookmarks import Bookmark
from tap_compose.streams.columns import free_form, key, schema, text, time
from tap_compose.times import FIRST_TIME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context

    from tap_compose.api.client import CompletedRequests
    from tap_compose.rows import Row

_ROWS_AT_ONCE = 500
"""Rows to be written before the responses are looked at again."""


class AuditEvents(AccountStream):
    """Audit log: each action, with its user and source address."""

    name = "audit_events"
    params: ClassVar = {"limit": str(PAGE)}
    replication_key = "created_at"
    schema = schema(
        key("id", "Event id."),
        text("account_id", "Account that it concerns."),
        text("deployment_id", "Deployment that it concerns, if any."),
        text("cluster_id", "Cluster that it concerns, if any."),
        text("user_id", "User who acted, if any. Personal."),
        text("email", "Email address of that user. Personal."),
        time("created_at", "Time of the action."),
        text("event", "Event code, such as deployment.scale.members; an open list."),
        text("ip", "Source IP address of the request. Personal."),
        text("user_agent", "User agent of the request. Personal."),
        free_form("data", "Details, which differ by event. May be personal."),
    )

    @override
    def row_batches(self, context: Context | None) -> Iterator[list[Row]]:
        read_at, self._dropped = now(), list[str]()
        bookmark = Bookmark(self.stream_state, self.replication_key)
        is_incremental = self.replication_method == REPLICATION_INCREMENTAL
        plan = Plan(*self._time_range(bookmark if is_incremental else None))
        responses: CompletedRequests[int] = self.run.client.as_completed()
        while plan.windows:
            self._exchange(plan, responses)
            if (rows := plan.take()) is None:
                self._receive(plan, responses)
                continue
            for first in range(0, len(rows), _ROWS_AT_ONCE):
                yield rows[first : first + _ROWS_AT_ONCE]
                self._exchange(plan, responses)
            self.report.reached = plan.written_until
            if is_incremental and bookmark.move(plan.bookmark):
                self._tap.state_writer.write_state(self.tap_state)
        responses.close()
        result = plan.error or RowBatch([], 0, self._dropped)
        self.note_response(None, read_at, result, self.report.rows)

    def _exchange(self, plan: Plan, responses: CompletedRequests[int]) -> None:
        """Receive the pages that are there, and request further ones."""
        while responses.is_ready:
            self._receive(plan, responses)
        while responses.has_room and (window := plan.next_window()) is not None:
            params = {**self.params, **window.query(plan.longest)}
            read = partial(self._read_into, plan, window)
            responses.add(Request(self.path, read, params, context=window))

    def _receive(self, plan: Plan, responses: CompletedRequests[int]) -> None:
        """Wait for a page."""
        request, result = responses.take()
        self.report.requests, self.report.retries = responses.requests, responses.retries
        if isinstance(result, ApiError):
            plan.fail(request.context, result)

    def _read_into(self, plan: Plan, window: Window, body: bytes) -> int:
        """Read a page and add it to its window; return how many entries it has."""
        batch = self.read(body, {})
        plan.add(window, batch.rows, batch.entries, len(body))
        self._dropped += batch.dropped
        return batch.entries

    def _time_range(self, bookmark: Bookmark | None) -> tuple[str, str]:
        """Return the time of the events that are wanted: the first instant, and that after it."""
        settings, started = self.run.settings, self.run.started
        start, end = settings.start_date or FIRST_TIME, min(settings.end_date or started, started)
        time = bookmark.read(self.name, started, self.logger) if bookmark else None
        if time and settings.end_date and settings.end_date < time:
            ending = f"is before the bookmark {time} of {self.name}: nothing is fetched"
            self.logger.warning("end_date %s %s", end, ending)
            return end, end
        resumed = bookmark.resume_time(settings.lookback_seconds) if bookmark else None
        return max(start, resumed or start), end
