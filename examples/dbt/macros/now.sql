{# The time that ages are counted to, in UTC: the variable now, or the start of the run. #}
{% macro now() -%}
    cast('{{ var('now') or run_started_at.strftime('%Y-%m-%d %H:%M:%S.%f') }}' as timestamp)
{%- endmacro %}

{# Snapshots count from the same time, and in UTC whatever the time zone of the session. #}
{% macro duckdb__snapshot_get_time() %}{{ now() }}{% endmacro %}

{% macro postgres__snapshot_get_time() %}{{ now() }}{% endmacro %}
