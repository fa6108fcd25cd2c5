{#
    On DuckDB, make each source a view of its JSONL files, as target-postgres would hold them: one row
    per key, the latest. A full table takes rows of the latest load only, so that what is gone goes.

    target-jsonl writes no times, so a load is the time in a file's name (do_timestamp_file). Without
    it all files are of one load, and lines further down are later.
#}
{% macro read_files() %}
    {% if execute and target.type == 'duckdb' %}
        {% set folder = env_var('COMPOSE_FILES', 'output') %}
        {% set found = run_query(
            "select parse_filename(filename) as name, "
            ~ load_of_file() ~ " as load,"
            ~ " cast(last_modified at time zone 'UTC' as text) as modified"
            ~ " from read_blob(" ~ quoted(folder ~ '/*.jsonl') ~ ") order by load"
        ).rows %}
        {% set sources = graph.sources.values() | selectattr('source_name', 'equalto', 'compose') | list %}
        {% set files = {} %}
        {% set loads = [] %}
        {% for source in sources %}
            {% do files.update({source.name: []}) %}
            {% for file in found if modules.re.split('[-.]', file['name'])[0] == source.name %}
                {% do files[source.name].append(file) %}
                {% if not source.config.meta.is_incremental %}{% do loads.append(file['load']) %}{% endif %}
            {% endfor %}
        {% endfor %}
        {% if not loads %}
            {{ exceptions.raise_compiler_error(
                "no JSONL files of tap-compose in " ~ folder ~ ": load first, or set COMPOSE_FILES"
            ) }}
        {% endif %}
        {% for source in sources %}
            {% do run_query(view_of_files(source, folder, files[source.name], loads | max)) %}
        {% endfor %}
    {% endif %}
{% endmacro %}

{% macro load_of_file() %}regexp_extract(filename, '-(\d{8}T\d{6})[.]jsonl$', 1){% endmacro %}

{% macro view_of_files(source, folder, files, latest_load) %}
    {% set meta = source.config.meta %}
    {% set columns = source.columns.values() %}
    {% set paths = [] %}
    {% for file in files if meta.is_incremental or file['load'] == latest_load %}
        {% do paths.append(quoted(folder ~ '/' ~ file['name'])) %}
    {% endfor %}
    create schema if not exists {{ source.database }}.{{ source.schema }};
    create or replace view {{ source.relation_name }} as
    {% if paths %}
    select * exclude (filename, line), timestamp '{{ files[-1]['modified'] }}' as _sdc_batched_at
    from (
        select *, row_number() over () as line
        from read_json(
            [{{ paths | join(', ') }}],
            format = 'newline_delimited',
            filename = true,
            columns = { {%- for each in columns %}{{ each.name }}: '{{ each.data_type }}'{{ ', ' if not loop.last }}{% endfor -%} }
        )
    )
    qualify row_number() over (partition by {{ meta.key | join(', ') }} order by {{ load_of_file() }} desc, line desc) = 1
    {% else %}
    select {% for each in columns %}cast(null as {{ each.data_type }}) as {{ each.name }}, {% endfor %}cast(null as timestamp) as _sdc_batched_at
    where false
    {% endif %}
{% endmacro %}
