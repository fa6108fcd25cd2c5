"""The base classes of the streams: a report of the account, or of each deployment.

A report is requested once per account (``AccountStream``) or once per deployment
(``DeploymentStream``). The deployments are the partitions of a stream, not parents of child
streams: it syncs once, with one SCHEMA and one STATE, however many deployments there are
(docs/architecture.md, Partitions instead of child streams).
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from tap_compose.api import hal
from tap_compose.api.client import Request, Responses
from tap_compose.api.errors import ApiError
from tap_compose.failures import Scope, gap_of, gap_of_list
from tap_compose.report import Gap, Outcome
from tap_compose.rows import Report, RowBatch, unique_rows
from tap_compose.streams.singer import SingerStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_sdk.helpers.types import Context

    from tap_compose.rows import Row


class ComposeStream(Report, SingerStream):
    """A report of the Compose API.

    Attributes:
        path: The path below the API's base URL; ``{}`` stands for the id of an account or
            deployment.
        params: The query parameters of every request.
        list_path: The path of the list that has the ids for ``path``.
        scope: What a response concerns, which decides what a failure means.
        can_prefetch: Whether the stream's requests are known before it begins.
        next_stream: The next stream, if its first requests may be sent while the last rows of
            this one are written.
    """

    path: ClassVar[str]
    params: ClassVar[Mapping[str, str]] = {}
    list_path: ClassVar[str | None] = None
    scope: ClassVar[Scope]
    can_prefetch: ClassVar[bool] = True
    next_stream: ComposeStream | None = None

    _responses: Responses[RowBatch] | None = None

    @abstractmethod
    def requests(self) -> Iterator[Request[RowBatch]]:
        """Return the requests for the report.

        Yields:
            The requests, each when there is room for its response.
        """

    def open_responses(self) -> Responses[RowBatch]:
        """Return the responses of the report; the first call starts the requests."""
        if self._responses is None:
            self._responses = self.run.client.get_many(self.requests())
            if self.next_stream is not None:
                self._responses.prefetch_next(self.next_stream.open_responses)
        return self._responses

    def request(self, item_id: str | None = None, **injected: Any) -> Request[RowBatch]:
        """Return the request for the report.

        Args:
            item_id: The account or deployment whose report it is, if there is one for each.
            injected: Columns whose value the tap sets, whatever the body has.
        """
        return Request(
            self.path if item_id is None else hal.url_path(self.path, item_id),
            partial(self.read, injected=injected),
            self.params,
            readers=self.run.expected_reads(self.path),
            context=item_id,
        )

    def accept(self, batch: RowBatch, deployment_id: str | None = None) -> list[Row]:
        """Return the rows of a response, each key once; report the entries that are not rows.

        Args:
            batch: What was read from the response.
            deployment_id: The deployment, if it concerns one.
        """
        self.report_dropped(batch.dropped, deployment_id)
        return self.merge_copies(batch.rows)

    def report_dropped(self, reasons: Sequence[str], deployment_id: str | None = None) -> None:
        """Report the entries of a response that are not rows.

        Args:
            reasons: Why, for each of them.
            deployment_id: The deployment, if it concerns one.
        """
        for reason in reasons:
            self.run.report.add(Gap(Outcome.DROPPED, self.name, reason, deployment_id))

    def merge_copies(self, rows: list[Row]) -> list[Row]:
        """Keep one row per key.

        Args:
            rows: The rows of a response.
        """
        return unique_rows(rows, self.primary_keys)

    def record_failure(self, error: ApiError, deployment_id: str | None = None) -> None:
        """Report that something could not be read.

        Args:
            error: Why.
            deployment_id: The deployment, if it concerns one.
        """
        self.run.report.add(gap_of(error, self.scope, self.name, deployment_id))

    @override
    def finish(self) -> None:
        self.log_field_counts()
        if self._responses is not None:
            self._responses.close()

    def record_missing_list(self, error: ApiError) -> None:
        """Report that the list with the ids for this stream could not be read.

        Args:
            error: Why.
        """
        gap = gap_of_list(error, self.scope, self.list_path or self.path, self.name)
        self.run.report.add(gap)

    def _count_requests(self) -> None:
        if self._responses is not None:
            self.stats.requests = self._responses.requests
            self.stats.retries = self._responses.retries


class AccountStream(ComposeStream):
    """A report that is requested once per account."""

    scope = Scope.ACCOUNT

    @property
    @override
    def selected(self) -> bool:
        return self.is_selected_by_catalog and self.run.includes_account_level

    @selected.setter
    def selected(self, value: bool | None) -> None:
        ComposeStream.selected.fset(self, value)  # type: ignore[attr-defined]

    @property
    @override
    def partitions(self) -> None:
        # The SDK would take them from the state.
        return None

    @override
    def prepare(self) -> None:
        pass

    @override
    def requests(self) -> Iterator[Request[RowBatch]]:
        yield self.request()

    @override
    def fetch(self, context: Context | None) -> Iterator[list[Row]]:
        for _, result in self.open_responses():
            self._count_requests()
            if isinstance(result, ApiError):
                self.record_failure(result)
            else:
                yield self.accept(result)


class ListStream(AccountStream):
    """A list that has the ids for other streams; the id may be in ``id`` or ``_id``."""

    aliases: ClassVar[Mapping[str, Sequence[str]]] = {"id": ("_id",)}

    @override
    def report_dropped(self, reasons: Sequence[str], deployment_id: str | None = None) -> None:
        self.run.report_dropped(self.name, reasons)


class DeploymentStream(ComposeStream):
    """A report that is requested once per deployment."""

    list_path = "/deployments"
    scope = Scope.DEPLOYMENT
    injected_columns = ("deployment_id",)

    _deployment_ids: Sequence[str] = ()

    @override
    def prepare(self) -> None:
        ids = self.run.deployment_ids()
        if isinstance(ids, ApiError):
            self.record_missing_list(ids)
        else:
            self._deployment_ids = ids

    @cached_property
    def partitions(self) -> list[dict[str, Any]]:
        """The deployments that this run takes; ``prepare`` loads them."""
        return [{"deployment_id": each} for each in self._deployment_ids]

    @override
    def requests(self) -> Iterator[Request[RowBatch]]:
        ids = self.run.deployment_ids()
        for each in [] if isinstance(ids, ApiError) else ids:
            yield self.request(each, **self.columns_of(each))

    def columns_of(self, deployment_id: str) -> dict[str, Any]:
        """Return the columns of a deployment's rows that the tap sets.

        Args:
            deployment_id: The deployment.
        """
        return {"deployment_id": deployment_id}

    @override
    def fetch(self, context: Context | None) -> Iterator[list[Row]]:
        if not context:  # there are no deployments
            return
        deployment_id = context["deployment_id"]
        request, result = next(self.open_responses(), (None, None))
        self._count_requests()
        if request is None or result is None or request.context != deployment_id:
            raise RuntimeError(f"no response came for deployment {deployment_id}")
        if isinstance(result, ApiError):
            self.record_failure(result, deployment_id)
        else:
            yield from self.batches_of(result, deployment_id)

    def batches_of(self, batch: RowBatch, deployment_id: str) -> Iterator[list[Row]]:
        """Return the rows of one deployment's response.

        Args:
            batch: What was read from it.
            deployment_id: The deployment.

        Yields:
            The rows.
        """
        yield self.accept(batch, deployment_id)
