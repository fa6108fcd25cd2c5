"""The input catalog: it selects streams and columns, and changes nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.singerlib import Metadata, Schema

if TYPE_CHECKING:
    from singer_sdk import Stream
    from singer_sdk.singerlib import CatalogEntry

_TYPES = {"type", "anyOf", "oneOf", "allOf"}


def correct(entry: CatalogEntry, stream: Stream) -> None:
    """Restore what a catalog must not change, and add what it leaves out.

    Args:
        entry: The stream in the catalog.
        stream: The stream of the tap, before the catalog is applied.
    """
    if entry.stream not in {None, stream.name}:
        stream.logger.warning(
            "the catalog renames %s to %s, which is ignored: use __alias__ in stream_maps",
            stream.name,
            entry.stream,
        )
    entry.stream = stream.name
    entry.key_properties = list(stream.primary_keys)
    keys = [*stream.primary_keys, *([stream.replication_key] if stream.replication_key else [])]
    for key in keys if entry.metadata else []:  # without any metadata all columns are selected
        entry.metadata["properties", key].inclusion = Metadata.InclusionType.AUTOMATIC
    own = Schema.from_dict(stream.schema)
    columns, own_columns = entry.schema.properties, own.properties or {}
    if not columns:
        entry.schema = own
        return
    for key in keys:
        if key not in columns:
            stream.logger.warning(
                "the catalog leaves out the key column %s of %s, which is written anyway",
                key,
                stream.name,
            )
            columns[key] = own_columns[key]
    for name, column in columns.items():
        if not column.to_dict().keys() & _TYPES:  # such as a $ref, which the SDK drops
            columns[name] = own_columns.get(name, column)
