"""What this run read and what not, so that a warehouse can tell empty, deleted and unread apart."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from typing_extensions import override

from tap_compose.report import Missing, Outcome, now
from tap_compose.streams.columns import integer, key, schema, text, time
from tap_compose.streams.singer import SingerStream
from tap_compose.times import time_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context

    from tap_compose.rows import Row

_NOTHING = Missing(Outcome.READ, "", 200)


class Coverage(SingerStream):
    """What this run read, skipped and failed to read, by stream and deployment.

    Attributes:
        is_whole: Whether the run reads every stream to its end.
    """

    name = "coverage"
    primary_keys = ("stream", "deployment_id")
    schema = schema(
        key("stream", "Stream."),
        key("deployment_id", "Deployment; empty for the account, or if none could be listed."),
        text("outcome", "read, skipped or failed."),
        integer("http_status", "HTTP status of the response, if one came."),
        text("reason", "Why it was skipped or failed."),
        integer("row_count", "Rows written, before any stream map."),
        time("read_at", "When the first response came. No row of it was extracted before."),
    )
    is_whole = True

    @override
    def row_batches(self, context: Context | None) -> Iterator[list[Row]]:
        for name, report in self.run.report.synced.items():
            if report.deployment_ids == [""] and report.parts_done < report.parts:
                continue  # the run stopped before it had the users of all accounts
            done = zip(report.deployment_ids, report.row_counts, report.read_at, strict=True)
            yield [
                {
                    "stream": name,
                    "deployment_id": deployment_id,
                    "outcome": missing.outcome.value,
                    "http_status": missing.http_status,
                    "reason": missing.reason or None,
                    "row_count": count,
                    "read_at": time_text(datetime.fromtimestamp(read_at / 1000, timezone.utc)),
                }
                for deployment_id, count, read_at in done
                for missing in [report.missing.get(deployment_id, _NOTHING)]
            ]

    @override
    def fail_rest(self, missing: Missing) -> None:
        self.run.report.note(self.name, "", now(), missing=missing)

    @override
    def has_read_everything(self) -> bool:
        is_whole = self.is_whole and self.run.lists_are_complete
        return is_whole and super().has_read_everything()
