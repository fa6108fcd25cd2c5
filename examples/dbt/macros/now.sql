{# The time that ages are counted to, in UTC: the variable now, or the start of the run. #}
{% macro now() -%}
    cast('{{ var('now') or run_started_at.strftime('%Y-%m-%d %H:%M:%S') }}' as timestamp)
{%- endmacro %}
