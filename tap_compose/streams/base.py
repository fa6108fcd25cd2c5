"""The base classes of the streams: a report of the account, or of each deployment.

A report is requested once (``AccountStream``) or once for each id of a list, such as that of the
deployments (``DeploymentStream``). The deployments are the partitions of a stream, not parents of
child streams: it syncs once, with one SCHEMA and one STATE, however many there are
(docs/architecture.md, A run).
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from tap_compose.api import hal
from tap_compose.api.client import Request, Responses
from tap_compose.api.errors import ApiError
from tap_compose.report import Outcome, Scope, missing_list, missing_of, missing_rows, now
from tap_compose.rows import Report, RowBatch, unique_rows
from tap_compose.run import DEPLOYMENTS
from tap_compose.streams.singer import SingerStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_sdk.helpers.types import Context

    from tap_compose.report import Missing
    from tap_compose.rows import Row


class ComposeStream(Report, SingerStream):
    """A report of the Compose API: one request, or one for each id of a list.

    Attributes:
        path: The path below the API's base URL; ``{}`` stands for an id of the list. By default
            it is the name: that of ``deployment_roles`` is ``/deployments/{}/roles``.
        params: The query parameters of every request.
        list_path: The path of the list that has the ids of ``id_column``; None if there is one
            request.
        scope: What a response concerns, which decides what a failure means.
    """

    primary_keys: Any = ("id",)  # a property of the SDK
    path: ClassVar[str]
    params: ClassVar[Mapping[str, str]] = {}
    list_path: ClassVar[str | None] = None
    scope: ClassVar[Scope]

    @override
    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = vars(cls)
        if "name" in own:
            cls.path = own.get("path", f"/{own['name'].replace('deployment_', 'deployments/{}/')}")
            cls.envelope = own.get("envelope", (cls.path.rpartition("/")[2],))

    @cached_property
    def partitions(self) -> list[dict[str, Any]] | None:
        """One for each id of the list, which is loaded when this is first asked for."""
        if self.list_path is None:  # the SDK would take them from the state
            return None
        ids = self.run.ids_of(self.list_path)
        if isinstance(ids, ApiError):
            self.note(None, now(), missing_list(ids, self.scope, self.list_path))
            return []
        return [{self.id_column: each} for each in ids]

    def requests(self) -> Iterator[Request[RowBatch]]:
        """Return the requests for the report.

        Yields:
            The requests, each when there is room for its response.
        """
        for each in [None] if self.partitions is None else self.partitions:
            item_id = each[self.id_column] if each else None
            yield Request(
                hal.url_path(self.path, item_id) if item_id else self.path,
                partial(self.read, injected=self.columns_of(item_id) if item_id else {}),
                self.params,
                readers=self.run.expected_reads[self.path] or 1,
                context=item_id,
            )

    def columns_of(self, item_id: str) -> dict[str, Any]:
        """Return the columns of the rows for an id of the list that the tap sets.

        Args:
            item_id: The id.
        """
        return {self.id_column: item_id}

    @cached_property
    def _responses(self) -> Responses[RowBatch]:
        return self.run.client.get_many(self.requests())

    @override
    def row_batches(self, context: Context | None) -> Iterator[list[Row]]:
        report, responses = self.report, self._responses
        for each in [context] if context or self.partitions is None else self.partitions:
            request, result = next(responses)
            read_at, rows_before, item_id = now(), report.rows, request.context
            report.requests, report.retries = responses.requests, responses.retries
            if each and each[self.id_column] != item_id:
                raise RuntimeError(f"the next response is that of {self.kind} {item_id}")
            if isinstance(result, RowBatch):
                yield from self.rows_of(result, item_id)
            self.note_response(item_id, read_at, result, report.rows - rows_before)

    @property
    def kind(self) -> str:
        """What the ids of the list stand for, in one word."""
        return (self.list_path or "").rpartition("/")[2].removesuffix("s")

    def rows_of(self, batch: RowBatch, item_id: str | None) -> Iterator[list[Row]]:  # noqa: ARG002
        """Return the rows of a response, each key once.

        Args:
            batch: What was read from it.
            item_id: The id of the list, if there is one.

        Yields:
            The rows.
        """
        yield unique_rows(batch.rows, self.primary_keys)

    def note_response(
        self, item_id: str | None, read_at: int, result: RowBatch | ApiError, rows: int = 0
    ) -> None:
        """Note what became of the stream, or of one id of the list.

        Args:
            item_id: The id of the list, if there is one.
            read_at: When the response came, by ``now``.
            result: What was read from it, or why nothing was.
            rows: How many rows were written.
        """
        if isinstance(result, ApiError):
            self.note(item_id, read_at, missing_of(result, self.scope), rows)
        else:
            self.note(item_id, read_at, missing_rows(result.dropped), rows)

    def note(
        self, item_id: str | None, read_at: int, missing: Missing | None, rows: int = 0
    ) -> None:
        """Note what is missing, if anything is; as ``note_response`` does.

        Args:
            item_id: The id of the list, if there is one.
            read_at: When the response came, by ``now``.
            missing: What is missing.
            rows: How many rows were written.
        """
        deployment_id = item_id if self.has_deployments else None
        if missing is not None and item_id != deployment_id:
            missing = missing._replace(reason=f"{self.kind} {item_id}: {missing.reason}")
        self.run.report.note(self.name, deployment_id or "", read_at, rows, missing)

    @override
    def fail_rest(self, missing: Missing) -> None:
        # Not self.partitions, which may be what failed.
        partitions: Sequence[dict[str, str]] = vars(self).get("partitions") or [{}]
        rows = self.report.rows - sum(self.report.row_counts)
        for each in partitions[self.report.parts_done :] or partitions[-1:]:
            self.note(each.get(self.id_column), now(), missing, rows)
            rows = 0

    @override
    def has_read_everything(self) -> bool:
        missing = self.report.missing.values()
        return (
            all(each.outcome is Outcome.SKIPPED and each.is_gone for each in missing)
            and (not missing or self.report.is_any_read)
            and (self.list_path is None or self.run.lists_are_complete)
            and super().has_read_everything()
        )

    @override
    def finish(self) -> None:
        self._responses.close()


class AccountStream(ComposeStream):
    """A report of the account, which only the first shard of the deployments reads."""

    scope = Scope.ACCOUNT


class ListStream(AccountStream):
    """A list that has the ids for other streams; the id may be in ``id`` or ``_id``."""

    extracted: ClassVar = {"id": lambda item: item.get("_id")}


class DeploymentStream(ComposeStream):
    """A report that is requested once per deployment."""

    list_path = DEPLOYMENTS
    has_deployments = True
    id_column = "deployment_id"
    scope = Scope.DEPLOYMENT
