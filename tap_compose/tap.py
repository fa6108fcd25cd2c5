"""The tap: settings in, Singer messages out, and an exit status for the outcome."""

from __future__ import annotations

import _thread
import logging
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import Tap
from singer_sdk.exceptions import ConfigurationError, MappingError
from singer_sdk.helpers.capabilities import CapabilitiesEnum, PluginCapabilities, TapCapabilities
from singer_sdk.plugin_base import _ConfigInput
from singer_sdk.singerlib import Catalog, StateMessage
from singer_sdk.tap_base import CliTestOptionValue
from typing_extensions import override

from tap_compose import progress
from tap_compose.api.errors import unexpected
from tap_compose.check import table, try_streams
from tap_compose.logs import mask_always, print_lines, safe_record
from tap_compose.messages import MessageWriter, StopRun
from tap_compose.run import Run
from tap_compose.settings import (
    SETTINGS_SCHEMA,
    SettingsError,
    check_stream_maps,
    checked_state,
    environment_config,
    problems_of,
    read_input,
    unknown_settings,
)
from tap_compose.streams import STREAMS
from tap_compose.streams.base import ComposeStream
from tap_compose.streams.coverage import Coverage

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import TextIO

    import click

    from tap_compose.streams.singer import SingerStream


logger = logging.getLogger("tap-compose")

_LONGEST_STOP = 5.0
"""Seconds from a signal to the exit, whatever the target does."""


class TapCompose(Tap):
    """Singer tap for the Compose API."""

    name = "tap-compose"
    package_name = "tap-compose"
    config_jsonschema = deepcopy(SETTINGS_SCHEMA)
    message_writer_class = MessageWriter
    message_writer: MessageWriter
    _is_stopping = False

    # No BATCH: in singer-sdk 0.54.9 a batch file holds deselected columns too.
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        TapCapabilities.CATALOG,
        TapCapabilities.STATE,
        TapCapabilities.DISCOVER,
        PluginCapabilities.ACTIVATE_VERSION,
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
        TapCapabilities.TEST,
    ]

    streams: dict[str, SingerStream]  # type: ignore[assignment]

    @cached_property
    def run(self) -> Run:
        """What all streams of this run share."""
        return Run(self.config)

    @override
    def discover_streams(self) -> list[SingerStream]:
        streams = [stream(self, self.run) for stream in STREAMS]
        for each in streams:
            if isinstance(each, ComposeStream):
                self.run.readers[each.path] = each.read
        unknown = set(self.input_catalog or ()) - {each.name for each in streams}
        for name in sorted(unknown):
            self.logger.warning("unknown stream %s in the catalog is ignored", name)
        return streams

    @classmethod
    @override
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        super().append_builtin_config(config_jsonschema)
        # In singer-sdk 0.54.9 the choices for __else__ hold a "null" that is no schema.
        other_streams = config_jsonschema["properties"]["stream_maps"]["properties"]["__else__"]
        other_streams["anyOf"] = [each for each in other_streams["anyOf"] if isinstance(each, dict)]

    @classmethod
    def all_settings(cls) -> dict[str, Any]:
        """Return the JSON Schema of all settings, those of the SDK included."""
        cls.append_builtin_config(cls.config_jsonschema)
        return cls.config_jsonschema

    @property
    def _env_var_config(self) -> dict[str, Any]:
        # The SDK ends in a traceback for an invalid number, reads any unknown word as false, and
        # looks for .env in the folder of its code.
        return environment_config(self.all_settings())

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        mask_always(self._config.get("api_token"))
        problems = problems_of(self._config, self.all_settings())
        if raise_errors:
            if problems:  # for a ConfigValidationError the SDK would log a line more
                raise SettingsError(*problems)
            _ = self.run.settings  # raises a SettingsError for what JSON Schema does not check
            for problem in unknown_settings(self._config, self.config_jsonschema):
                self.logger.warning(problem)
        return problems

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(checked_state(state))

    @override
    def setup_mapper(self) -> None:
        columns = {name: stream.schema["properties"] for name, stream in self.streams.items()}
        check_stream_maps(self.config.get("stream_maps") or {}, columns)
        super(Tap, self).setup_mapper()
        # Our own entries: a catalog's may lack columns, and the SDK refuses a map for a stream that
        # is not selected.
        selected = {
            name: stream._singer_catalog_entry  # noqa: SLF001
            for name, stream in self.streams.items()
            if stream.selected
        }
        self.mapper.register_raw_streams_from_catalog(Catalog(selected))

    def sync_and_report(self) -> int:
        """Sync everything that is selected.

        Returns:
            The exit status: 0 if everything that should be readable was written.
        """
        if not any(stream.selected for stream in self.streams.values()):
            self.logger.error(
                "the catalog selects no stream: nothing to sync; "
                'set "selected": true in the metadata of the streams that you want'
            )
            return 1
        requested = self._requested_streams()
        coverage = next(each for each in self.streams.values() if isinstance(each, Coverage))
        coverage.is_whole = len(requested) == len(self.streams) - 1
        selected = [*requested, *([coverage] if coverage.selected else [])]
        self._streams = {stream.name: stream for stream in selected}  # each other one is a log line

        def sync() -> None:
            _ = self.run.client  # the display takes its counts, in another thread
            with progress.show(self.run, selected, self.message_writer):
                self.sync_all()

        return self._reported(sync, coverage if coverage.selected else None)

    def test_and_report(self) -> int:
        """Print on stderr whether the token works and which streams it may read.

        Returns:
            The exit status: 0 if a sync could read everything that should be readable.
        """
        streams = self._requested_streams()
        try_streams(self.run, streams)
        print_lines(table(self.run.report, streams))
        return self.run.report.exit_status(fail_on_skip=self.run.settings.fail_on_skip)

    def _requested_streams(self) -> list[ComposeStream]:
        """Return the streams that send requests; tell the client which bodies they share."""
        shard = self.run.settings.deployment_shard
        is_first = shard is None or shard.part == 1  # it alone reads the account-level streams
        selected = [
            each
            for each in self.streams.values()
            if isinstance(each, ComposeStream) and each.selected
            if each.has_deployments or is_first
        ]
        paths = self.run.expected_reads = Counter(stream.path for stream in selected)
        paths.update({stream.list_path for stream in selected if stream.list_path})
        return selected

    def _reported(self, work: Callable[[], object], coverage: Coverage | None = None) -> int:
        """Do something, flush what it wrote, and print the summary."""
        super()._setup_signal_handlers()
        stopped: str | None = None
        status = 0
        try:
            try:
                work()
            finally:
                self.run.close()
            self.message_writer.flush()
        except StopRun as stop:
            stopped, status = str(stop), stop.status
        except Exception as bug:
            self.logger.debug("an exception", exc_info=True)
            stopped, status = unexpected(bug), 1
        if stopped is not None:
            self.message_writer.resume()
            with suppress(StopRun):  # the target may be what is gone
                self.write_message(StateMessage(value=self.state))
                if coverage is not None and coverage.report.began is None:
                    coverage.is_whole = False
                    coverage.sync()
        report, fail_on_skip = self.run.report, self.run.settings.fail_on_skip
        report.show(stopped, fail_on_skip=fail_on_skip)
        return status or report.exit_status(fail_on_skip=fail_on_skip)

    @override
    def _setup_signal_handlers(self) -> None:
        pass  # before there is anything to flush, a signal ends the process at once

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        status = 128 + signum
        # A target that no longer reads would keep us for ever. No threading.Thread: a signal
        # that comes while another is started would wait for a lock that is never released.
        _thread.start_new_thread(_exit_later, (status,))
        self.message_writer.stop(StopRun(f"received {signal.Signals(signum).name}", status))

    @classmethod
    @override
    def invoke(  # type: ignore[override]
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: _ConfigInput | None = None,
        state: TextIO | None = None,
        catalog: TextIO | None = None,
    ) -> None:
        if about:
            cls.print_about(about_format)
            sys.stdout.flush()  # here click forgives a pipe that nobody reads
            return
        cls.print_version(print_fn=cls.logger.info)
        tap = cls._from_inputs(
            config,
            state=read_input("state", state.name, state.buffer.read) if state else None,
            catalog=read_input("catalog", catalog.name, catalog.buffer.read) if catalog else None,
        )
        sys.exit(tap.sync_and_report())

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        if value != CliTestOptionValue.Disabled.value:
            tap = cls._from_inputs(ctx.params.get("config"))
            is_schema = value == CliTestOptionValue.Schema.value
            ctx.exit(tap._reported(tap.write_schemas) if is_schema else tap.test_and_report())  # noqa: SLF001

    @classmethod
    @override
    def cb_discover(cls, ctx: click.Context, param: click.Option, value: bool) -> None:
        if value:
            config = ctx.params.get("config")
            cls._from_inputs(config, validate_config=False, setup_mapper=False).run_discovery()
            sys.stdout.flush()
            ctx.exit()

    @classmethod
    @override
    def cb_config(
        cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]
    ) -> _ConfigInput:
        inputs = super().cb_config(ctx, param, tuple(path for path in value if path == "ENV"))
        for path in value:
            if path != "ENV":
                inputs.config |= read_input("config", path, Path(path).read_bytes)
        return inputs

    @classmethod
    def _from_inputs(cls, config: _ConfigInput | None, **inputs: Any) -> TapCompose:
        given = config or _ConfigInput()
        return cls(config=given.config, parse_env_config=given.parse_env, **inputs)


def _exit_later(status: int) -> None:
    sleep(_LONGEST_STOP)
    os._exit(status)


def main() -> None:
    """Run the tap as a command; if something ends it early, log that in one line."""
    logging.setLogRecordFactory(safe_record)
    try:
        _command()()
    except (ConfigurationError, MappingError, SettingsError) as error:
        problems, status = list(error.args), 1  # a traceback helps nobody here
    except StopRun as stop:
        problems, status = [f"stopped early: {stop}"], stop.status
    except Exception as bug:
        logger.debug("an exception", exc_info=True)
        problems, status = [f"stopped early: {unexpected(bug)}"], 1
    for problem in problems:
        logger.error("%s", problem)
    sys.exit(status)


def _command() -> click.Command:
    if sys.stdout is None:
        raise StopRun("stdout is closed")
    if sys.platform != "win32":  # whoever starts us may have left it otherwise
        os.set_blocking(sys.stdout.fileno(), True)
    try:
        command = TapCompose.cli  # sets the log up
    except ValueError as error:
        problem = f"the log cannot be set up: {error}; check LOGLEVEL and SINGER_SDK_LOG_CONFIG"
        raise StopRun(problem) from None
    # singer-sdk 0.54.9 begins each log with whether it parses "env var settings".
    logger.addFilter(lambda record: "env var" not in str(record.msg))
    return command
