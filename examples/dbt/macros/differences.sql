{#
    The items of a JSON list, one row each, for `cross join lateral`: value. target-postgres makes a list
    jsonb[], and a list within one is jsonb.
#}
{% macro json_items(list) %}{{ adapter.dispatch('json_items', 'compose_answers')(list) }}{% endmacro %}

{% macro default__json_items(list) -%}
    (
        select value
        from json_each({{ list }})
        where json_type({{ list }}) = 'ARRAY'
    )
{%- endmacro %}

{% macro postgres__json_items(list) -%}
    (
        select items.value
        from jsonb_array_elements(nullif(to_jsonb({{ list }}), 'null')) as items (value)
    )
{%- endmacro %}

{# The time that ages are counted to, in UTC: the variable now, or the start of the run. #}
{% macro now() -%}
    cast('{{ var('now') or run_started_at.strftime('%Y-%m-%d %H:%M:%S.%f') }}' as timestamp)
{%- endmacro %}

{# Snapshots count from the same time, and in UTC whatever the time zone of the session. #}
{% macro duckdb__snapshot_get_time() %}{{ now() }}{% endmacro %}

{% macro postgres__snapshot_get_time() %}{{ now() }}{% endmacro %}

{#
    If COMPOSE_HASH_SALT is set, personal columns are hashes: the same value is the same hash everywhere,
    so joins still work.
#}
{% macro hashed(column) -%}
    {%- set salt = env_var('COMPOSE_HASH_SALT', '') -%}
    {{ adapter.dispatch('sha256_of', 'compose_answers')(quoted(salt) ~ ' || (' ~ column ~ ')') if salt else column }}
{%- endmacro %}

{% macro default__sha256_of(text) %}sha256({{ text }}){% endmacro %}

{% macro postgres__sha256_of(text) %}encode(sha256(convert_to({{ text }}, 'UTF8')), 'hex'){% endmacro %}

{% macro quoted(text) %}'{{ dbt.escape_single_quotes(text) }}'{% endmacro %}

{#
    A part of an amount, to 8 decimals. Sums of it are exact: DuckDB divides decimals as floats, so there
    the quotient is of whole numbers.
#}
{% macro prorated(amount, part, whole) %}{{ adapter.dispatch('prorated', 'compose_answers')(amount, part, whole) }}{% endmacro %}

{% macro default__prorated(amount, part, whole) -%}
    round({{ amount }} * {{ part }} / {{ whole }}, 8)
{%- endmacro %}

{% macro duckdb__prorated(amount, part, whole) -%}
    {%- set units = '(cast(' ~ amount ~ ' * 100000000 as hugeint) * ' ~ part ~ ')' -%}
    cast(
        {{ units }} // {{ whole }} + cast(round({{ units }} % {{ whole }} / {{ whole }}) as hugeint)
        as decimal(30, 0)
    ) * 0.00000001
{%- endmacro %}

{# Note on a mart which build it is of, so that the report can refuse tables of different ones. #}
{% macro note_build() %}
    {%- set kind = 'view' if model.config.materialized == 'view' else 'table' -%}
    comment on {{ kind }} {{ this }} is
    '{{ tojson({"build": invocation_id, "now": var('now') or run_started_at.strftime('%Y-%m-%d %H:%M:%S.%f')}) }}'
{% endmacro %}

{% test unique_together(model, columns) %}
    select {{ columns | join(', ') }}, count(*) as times
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1
{% endtest %}

{% test not_blank(model, column_name) %}
    select * from {{ model }} where coalesce({{ column_name }}, '') = ''
{% endtest %}

{# A time to the minute, in UTC. #}
{% macro as_text(time) %}{{ adapter.dispatch('as_text', 'compose_answers')(time) }}{% endmacro %}

{% macro default__as_text(time) %}strftime({{ time }}, '%Y-%m-%d %H:%M'){% endmacro %}

{% macro postgres__as_text(time) %}to_char({{ time }}, 'YYYY-MM-DD HH24:MI'){% endmacro %}
