{#
    A loaded table with all columns that the catalog names, in one type on every warehouse, and extracted_at.
    A column that was not loaded is null. With the variable using_STREAM false there are no rows.
    target-duckdb has loaded_at, the second in which a row was extracted, instead of _sdc_extracted_at.
#}
{% macro loaded_rows(stream) %}
    {%- set table = source('compose', stream) %}
    {%- set is_used = var('using_' ~ stream, true) %}
    {%- set source_node = graph.sources.values() | selectattr('source_name', 'equalto', 'compose') | selectattr('name', 'equalto', stream) | first if execute %}
    {%- set existing = adapter.get_columns_in_relation(table) | map(attribute='name') | list if execute and is_used else [] %}
    {%- if execute and is_used and not existing %}
        {{ exceptions.raise_compiler_error(
            "no table " ~ table ~ ": load the stream, or set the variable using_" ~ stream ~ ": false"
        ) }}
    {%- endif %}
(
    select
    {%- for column in (source_node.columns.values() if execute else []) %}
        {%- set is_list = column.data_type == 'json' %}
        {%- set value = column.name if column.name in existing else 'null' %}
        {{ value if is_list and value != 'null' else 'cast(' ~ value ~ ' as ' ~ column.data_type ~ ')' }} as {{ column.name }},
    {%- endfor %}
    {%- if '_sdc_extracted_at' in existing %}
        cast(_sdc_extracted_at as timestamp) as extracted_at
    {%- elif 'loaded_at' in existing %}
        {{ dbt.dateadd('second', 'cast(loaded_at as bigint) + 1', "timestamp '1970-01-01'") }} as extracted_at
    {%- else %}
        cast(null as timestamp) as extracted_at
    {%- endif %}
    {{ 'from ' ~ table if is_used else 'where false' }}
)
{%- endmacro %}

{% macro is_loaded(stream, column) %}
    {%- set existing = adapter.get_columns_in_relation(source('compose', stream)) if execute else [] %}
    {{- return(not execute or column in existing | map(attribute='name')) }}
{%- endmacro %}

{#
    The rows of a full table that the last reading found: no older than the stream's row in coverage, which
    may say that the resource is gone. Where the last try was refused or failed, or there is none, the rows
    from before stay.
    Of a resource of a deployment (scope is the column with its id), only if the deployment is listed.
#}
{% macro current_rows(stream, scope=none) %}
(
    select loaded.*
    from {{ loaded_rows(stream) }} as loaded
    left join {{ ref('stg_compose__coverage') }} as coverage
        on
            coverage.stream = '{{ stream }}'
            and coverage.deployment_id = {{ 'loaded.' ~ scope if scope else "''" }}
            and (coverage.outcome = 'read'{{ ' or coverage.http_status in (404, 410)' if scope }})
    where
        coalesce(loaded.extracted_at >= coverage.read_at, true)
        {%- if scope == 'deployment_id' %}
        and loaded.deployment_id in (select deployment_id from {{ ref('stg_compose__deployments') }})
        {%- endif %}
)
{%- endmacro %}

{#
    On DuckDB with COMPOSE_FILES, make each source a view of the JSONL files in that folder, as a database
    target would hold it: one row per key, the latest.

    target-jsonl writes no times. A load is the time in a file's name (do_timestamp_file), and its rows
    count as extracted when the load read its last response. Without that setting all files are one load.
#}
{% macro read_files() %}
    {%- set folder = env_var('COMPOSE_FILES', '') %}
    {%- if execute and folder and target.type == 'duckdb' %}
        {%- set names = run_query("select parse_filename(file) as name from glob(" ~ quoted(folder ~ '/*.jsonl') ~ ")").columns[0].values() %}
        {%- set sources = graph.sources.values() | selectattr('source_name', 'equalto', 'compose') | list %}
        {%- set files = {} %}
        {%- for name in names %}
            {%- do files.setdefault(modules.re.split('[-.]', name)[0], []).append(quoted(folder ~ '/' ~ name)) %}
        {%- endfor %}
        {%- if 'deployments' not in files %}
            {{ exceptions.raise_compiler_error("no JSONL files of tap-compose in " ~ folder ~ ": load first, or change COMPOSE_FILES") }}
        {%- endif %}
        {%- set coverage = sources | selectattr('name', 'equalto', 'coverage') | first %}
        {%- for source in sources %}
            {%- do run_query("create schema if not exists " ~ source.database ~ "." ~ source.schema) %}
            {%- do run_query("create or replace view " ~ source.relation_name ~ " as " ~ view_of_files(source, files, coverage)) %}
        {%- endfor %}
    {%- endif %}
{% endmacro %}

{% macro view_of_files(source, files, coverage) %}
    select loaded.* exclude (filename, line, load), coalesce(loads.read_at, timestamp '1970-01-01') as _sdc_extracted_at
    from {{ lines_of_files(source, files) }} as loaded
    left join (
        select load, max(read_at) as read_at from {{ lines_of_files(coverage, files) }} group by load
    ) as loads using (load)
    qualify row_number() over (partition by {{ source.config.meta.key | join(', ') }} order by load desc, line desc) = 1
{% endmacro %}

{% macro lines_of_files(source, files) -%}
    (
        select *, row_number() over () as line, regexp_extract(filename, '-(\d{8}T\d{6})[.]jsonl$', 1) as load
        {%- if source.name in files %}
        from read_json(
            [{{ files[source.name] | join(', ') }}],
            format = 'newline_delimited',
            filename = true,
            columns = { {%- for each in source.columns.values() %}{{ each.name }}: '{{ each.data_type }}'{{ ', ' if not loop.last }}{% endfor -%} }
        )
        {%- else %}
        from (
            select {% for each in source.columns.values() %}cast(null as {{ each.data_type }}) as {{ each.name }}, {% endfor %}'' as filename
            where false
        )
        {%- endif %}
    )
{%- endmacro %}
