"""The audit log, oldest events first, although the API returns the newest first.

A plain pass cannot be resumed: the bookmark of a descending stream may move only when all of
it has arrived. So the time range is cut into windows [start, end), each is paged from its
newest event to its oldest and written in ascending order, and after each the bookmark moves
(docs/compose-api.md, Paging; docs/architecture.md, The audit log).
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_compose.api.client import Request
from tap_compose.api.errors import ApiError
from tap_compose.report import missing_rows, now
from tap_compose.streams.audit_pages import PAGE, TOLERANCE, Page
from tap_compose.streams.audit_windows import Plan, WindowTuning
from tap_compose.streams.base import AccountStream
from tap_compose.streams.bookmarks import Bookmark
from tap_compose.streams.columns import free_form, key, schema, text, time
from tap_compose.times import moved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk import Tap
    from singer_sdk.helpers.types import Context

    from tap_compose.api.client import CompletedRequests
    from tap_compose.rows import Row
    from tap_compose.run import Run
    from tap_compose.streams.audit_windows import Batch, Window

_ROWS_AT_ONCE = 500
"""Rows to be written before the responses are looked at again."""

FIRST_EVENT = "2010-01-01T00:00:00.000Z"
"""No event is older: the service began in 2010."""


class AuditEvents(AccountStream):
    """Audit log: each action, with its user and source address."""

    name = "audit_events"
    path = "/audit_events"
    envelope = ("audit_events",)
    params: ClassVar = {"limit": str(PAGE)}
    primary_keys = ("id",)
    replication_key = "created_at"
    can_prefetch = False
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

    window_tuning = WindowTuning()

    def __init__(self, tap: Tap, run: Run) -> None:
        super().__init__(tap, run)
        self._dropped: list[str] = []

    @override
    def row_batches(self, context: Context | None) -> Iterator[list[Row]]:
        read_at = now()
        at_once = self.run.client.max_concurrency
        start, end, since = self._time_range()
        plan = Plan(start, end, since=since, at_once=at_once, tuning=self.window_tuning)
        responses: CompletedRequests[Page] = self.run.client.as_completed()
        while True:
            self._exchange(plan, responses)
            batch = plan.take()
            if batch is None:
                if not len(responses):
                    break
                self._receive(plan, responses)
            elif batch.error is not None:
                responses.close()
                self.note_response(None, read_at, batch.error, self.report.rows)
                return
            else:
                for first in range(0, len(batch.events), _ROWS_AT_ONCE):
                    yield batch.events[first : first + _ROWS_AT_ONCE]
                    self._exchange(plan, responses)
                self._move_bookmark(batch)
        self._bookmark.finish()
        self.note(None, read_at, missing_rows(self._dropped), self.report.rows)

    def _exchange(self, plan: Plan, responses: CompletedRequests[Page]) -> None:
        """Receive the pages that are there, and request further ones."""
        while responses.is_ready:
            self._receive(plan, responses)
        while responses.has_room and (window := plan.next_window()) is not None:
            responses.add(self._page_request(plan, window))

    def _receive(self, plan: Plan, responses: CompletedRequests[Page]) -> None:
        """Wait for a page."""
        request, result = responses.take()
        self.report.requests, self.report.retries = responses.requests, responses.retries
        error = result if isinstance(result, ApiError) else None
        plan.end_request(request.context, error)

    def _time_range(self) -> tuple[str, str, str]:
        """Return the time of the events that are wanted, and where reading begins."""
        settings = self.run.settings
        bookmark = None
        if self.replication_method == REPLICATION_INCREMENTAL:
            bookmark = self._bookmark.read(self.name, self.run.started, self.logger)
        start = settings.start_date or FIRST_EVENT
        end = min(settings.end_date or self.run.started, self.run.started)
        if bookmark is not None and settings.end_date and settings.end_date < bookmark:
            self.logger.warning(
                "end_date %s is before the bookmark %s of %s: nothing is fetched",
                settings.end_date,
                bookmark,
                self.name,
            )
            return end, end, end
        if bookmark is not None:
            resumed = self._bookmark.resume_time(settings.lookback_seconds) or start
            if resumed > start:
                return resumed, end, resumed
        # An event may come later in the order than its time says.
        return start, end, moved(start, -TOLERANCE)

    @property
    def _bookmark(self) -> Bookmark:
        return Bookmark(self.stream_state, self.replication_key)

    def _move_bookmark(self, batch: Batch) -> None:
        """Note in the state that everything up to a time is written."""
        self.report.reached = batch.reached
        if self.replication_method != REPLICATION_INCREMENTAL:
            return
        # What happened just now may still arrive late.
        latest = moved(self.run.started, -timedelta(seconds=self.run.settings.lookback_seconds))
        has_moved = self._bookmark.move(batch.bookmark)
        if self._bookmark.note_progress(min(batch.reached, latest)) or has_moved:
            self._tap.state_writer.write_state(self.tap_state)

    def _page_request(self, plan: Plan, window: Window) -> Request[Page]:
        """Return the request for the next page of a window."""
        params = {**self.params, **window.paginator.next_query()}
        return Request(self.path, partial(self._read_into, plan, window), params, context=window)

    def _read_into(self, plan: Plan, window: Window, body: bytes) -> Page:
        """Read a page and add it to its window."""
        batch = self.read(body, {})
        events = list(zip(_times_of(batch.rows), batch.rows, strict=True))
        page = Page(events, batch.entries, len(body))
        plan.add(window, page)
        self._dropped += batch.dropped
        return page


def _times_of(events: list[Row]) -> list[str]:
    """The time of each event; one without takes that of the newer event next to it."""
    times: list[str] = [event["created_at"] for event in events]
    if None not in times:
        return times
    for number, at in enumerate(times):
        times[number] = at or (times[number - 1] if number else "")
    first = next((at for at in times if at), FIRST_EVENT)
    return [at or first for at in times]
