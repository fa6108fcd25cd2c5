{#
    The items of a JSON list, one row each, for `cross join lateral`: value, and text if it is a text.
    target-postgres makes a list jsonb[] or text[], and a list within one is jsonb.
#}
{% macro json_items(list) %}{{ adapter.dispatch('json_items')(list) }}{% endmacro %}

{% macro default__json_items(list) -%}
    (
        select value, value ->> '$' as text
        from json_each({{ list }})
        where json_type({{ list }}) = 'ARRAY'
    )
{%- endmacro %}

{% macro postgres__json_items(list) -%}
    (
        select items.value, items.value #>> '{}' as text
        from jsonb_array_elements(nullif(to_jsonb({{ list }}), 'null')) as items (value)
    )
{%- endmacro %}
