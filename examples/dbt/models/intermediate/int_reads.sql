-- What became of each stream, of each deployment and of the account (''): read, gone (404 or 410 of a
-- deployment), skipped or failed. Where coverage was never loaded, a stream with rows has been read.
select
    stream,
    deployment_id,
    case when http_status in (404, 410) and deployment_id <> '' then 'gone' else outcome end as outcome,
    reason,
    read_at
from {{ ref('stg_compose__coverage') }}
union all
select
    stream,
    deployment_id,
    'read' as outcome,
    cast(null as {{ dbt.type_string() }}) as reason,
    cast(null as timestamp) as read_at
from (
    {%- for stream in ['backups', 'health', 'portals', 'scalings', 'versions', 'whitelist'] %}
    select distinct 'deployment_{{ stream }}' as stream, deployment_id from {{ ref('stg_compose__deployment_' ~ stream) }}
    union all
    {%- endfor %}
    select 'deployment_details', deployment_id from {{ ref('stg_compose__deployments') }} where version is not null
    union all
    select distinct 'deployment_roles', deployment_id from {{ ref('stg_compose__grants') }} where team_id = ''
    union all
    select distinct 'deployment_team_roles', deployment_id from {{ ref('stg_compose__grants') }} where team_id <> ''
    {%- for stream in ['account_users', 'audit_events', 'billables', 'database_versions', 'deployments'] %}
    union all
    select distinct '{{ stream }}', '' from {{ ref('stg_compose__' ~ stream) }}
    {%- endfor %}
) as loaded
where not exists (select 1 from {{ ref('stg_compose__coverage') }})
