"""A Compose account into one PostgreSQL, spread over Dagster's partitions.

Deployments are split into shards by their id, the audit log into years. Each partition is a
process ``tap-compose`` piped into a process ``target-postgres``, with a separate state.
Both read their settings from the environment, so that no secret is in a run's config or log.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import dagster as dg

STATES = Path(os.environ.get("COMPOSE_STATES", "compose-states"))
"""The folder of the states; every machine that runs a partition must see the same one."""

PARTS = 4
"""Which deployments a part has depends on this number: see README.md before you change it."""

SHARDS = dg.StaticPartitionsDefinition([f"{part}/{PARTS}" for part in range(1, PARTS + 1)])
YEARS = dg.TimeWindowPartitionsDefinition(
    start="2015", fmt="%Y", cron_schedule="0 0 1 1 *", end_offset=1
)
"""The slices of the audit log; the present year is one of them."""


@dg.asset(group_name="compose")
def compose_tables(context: dg.AssetExecutionContext) -> None:
    """All tables, empty: partitions that begin at the same moment would race to make them."""
    _load(context, ["--test=schema"])


@dg.asset(group_name="compose", pool="compose_api", partitions_def=SHARDS, deps=[compose_tables])
def compose_deployments(context: dg.AssetExecutionContext) -> None:
    """Everything but the audit log; part 1 takes what belongs to the account as a whole."""
    shard = context.partition_key
    _sync(
        context,
        f"deployments-{shard.replace('/', '-of-')}",
        {"TAP_COMPOSE_DEPLOYMENT_SHARD": shard},
        audit_log=False,
    )


@dg.asset(group_name="compose", pool="compose_api", partitions_def=YEARS, deps=[compose_tables])
def compose_audit_log(context: dg.AssetExecutionContext) -> None:
    """The audit log of a year, or what was added to it since this partition's last run."""
    year = context.partition_time_window
    _sync(
        context,
        f"audit-log-{context.partition_key}",
        {
            "TAP_COMPOSE_START_DATE": year.start.isoformat(),
            "TAP_COMPOSE_END_DATE": year.end.isoformat(),
        },
        audit_log=True,
    )


@dg.schedule(cron_schedule="0 3 * * *", target=compose_deployments)
def every_night(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """Read all shards again."""
    return _requests(context, SHARDS.get_partition_keys())


@dg.schedule(cron_schedule="*/15 * * * *", target=compose_audit_log)
def every_quarter_of_an_hour(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """Bring the newest events; last year's too, for those of its end: that costs one request."""
    years = YEARS.get_partition_keys(context.scheduled_execution_time)
    return _requests(context, years[-2:])


definitions = dg.Definitions(
    assets=[compose_tables, compose_deployments, compose_audit_log],
    executor=dg.in_process_executor,  # a run is one step, which starts processes anyway
    schedules=[every_night, every_quarter_of_an_hour],
)


def _requests(
    context: dg.ScheduleEvaluationContext, partitions: Sequence[str]
) -> list[dg.RunRequest]:
    moment = context.scheduled_execution_time.isoformat()
    return [dg.RunRequest(f"{moment} {each}", partition_key=each) for each in partitions]


def _sync(
    context: dg.AssetExecutionContext, name: str, settings: Mapping[str, str], *, audit_log: bool
) -> None:
    """Load the audit log, or all but it, from where the state of this name ends."""
    STATES.mkdir(parents=True, exist_ok=True)
    state = STATES / f"{name}.json"
    discovered = subprocess.run(["tap-compose", "--discover"], stdout=subprocess.PIPE, check=True)
    streams = [
        each
        for each in json.loads(discovered.stdout)["streams"]
        if (each["tap_stream_id"] == "audit_events") is audit_log
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as catalog:
        json.dump({"streams": streams}, catalog)
        catalog.flush()
        arguments = ["--catalog", catalog.name]
        if state.exists():
            arguments += ["--state", str(state)]
        _load(context, arguments, state, settings)


def _load(
    context: dg.AssetExecutionContext,
    arguments: list[str],
    state: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> None:
    """Pipe the tap into the target, and fail unless both end well."""
    with (
        subprocess.Popen(
            ["tap-compose", "--config", "ENV", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(settings or {})},
        ) as tap,
        subprocess.Popen(
            ["target-postgres", "--config", "ENV"],
            stdin=tap.stdout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as target,
        ThreadPoolExecutor() as threads,
    ):
        assert tap.stdout is not None
        assert tap.stderr is not None
        assert target.stdout is not None
        assert target.stderr is not None
        tap.stdout.close()  # the target alone holds it now: if that goes away, the tap notices
        readers = [
            threads.submit(_log, context, tap.stderr),
            threads.submit(_log, context, target.stderr),
            threads.submit(_keep, target.stdout, state),
        ]
        try:
            statuses = {"tap-compose": tap.wait(), "target-postgres": target.wait()}
        finally:
            tap.terminate()  # if the run was cancelled; the target stores what it has
    for reader in readers:
        reader.result()
    failed = [f"{name} ended with {status}" for name, status in statuses.items() if status]
    if failed:
        raise dg.Failure(f"{' and '.join(failed)}; the log says why")


def _log(context: dg.AssetExecutionContext, lines: IO[bytes]) -> None:
    with lines:
        for line in lines:
            context.log.info(line.decode(errors="replace").rstrip())


def _keep(lines: IO[bytes], state: Path | None) -> None:
    """Keep each state that the target prints: what came before it is stored."""
    with lines:
        for line in lines:
            if state is not None and line.endswith(b"\n"):
                draft = state.with_suffix(f".{os.getpid()}")
                draft.write_bytes(line)
                draft.replace(state)
