{#
    If COMPOSE_HASH_SALT is set, personal columns are hashes: the same value is the same hash everywhere,
    so joins still work. Free-form ones are null.
#}
{% macro hashed(column) -%}
    {%- set salt = env_var('COMPOSE_HASH_SALT', '') -%}
    {{ adapter.dispatch('sha256_of')(quoted(salt) ~ ' || (' ~ column ~ ')') if salt else column }}
{%- endmacro %}

{% macro dropped(column) -%}
    {{ 'case when false then ' ~ column ~ ' end' if env_var('COMPOSE_HASH_SALT', '') else column }}
{%- endmacro %}

{% macro default__sha256_of(text) %}sha256({{ text }}){% endmacro %}

{% macro postgres__sha256_of(text) %}encode(sha256(convert_to({{ text }}, 'UTF8')), 'hex'){% endmacro %}

{% macro quoted(text) %}'{{ dbt.escape_single_quotes(text) }}'{% endmacro %}
