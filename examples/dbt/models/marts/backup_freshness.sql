with schedule (type, every_days) as (
    values ('daily', 1), ('weekly', 7), ('monthly', 31)
),

complete as (
    select
        *,
        row_number() over (partition by deployment_id order by created_at desc, backup_id) as place
    from {{ ref('stg_compose__deployment_backups') }}
    where status = 'complete' and created_at is not null
),

newest_by_type as (
    select
        deployment_id,
        type,
        max(created_at) as created_at
    from complete
    group by deployment_id, type
),

missing as (
    select
        deployments.deployment_id,
        string_agg(schedule.type, ', ' order by schedule.every_days) as types
    from {{ ref('stg_compose__deployments') }} as deployments
    cross join schedule
    left join newest_by_type as newest
        on deployments.deployment_id = newest.deployment_id and schedule.type = newest.type
    where
        {{ now() }} > coalesce(newest.created_at, deployments.created_at)
        + (schedule.every_days + {{ var('backup_grace_days') }}) * interval '1 day'
    group by deployments.deployment_id
),

counts as (
    select
        deployment_id,
        count(*) as backups,
        sum(case when status = 'complete' then 1 else 0 end) as complete_backups,
        sum(case when status = 'failed' then 1 else 0 end) as failed_backups
    from {{ ref('stg_compose__deployment_backups') }}
    group by deployment_id
)

select
    deployments.deployment_id,
    deployments.deployment_name,
    deployments.type,
    newest.created_at as newest_backup_at,
    newest.type as newest_backup_type,
    cast(floor(extract(epoch from {{ now() }} - newest.created_at) / 3600) as bigint) as age_hours,
    missing.types as missing_types,
    cast(coalesce(counts.complete_backups, 0) as bigint) as complete_backups,
    cast(coalesce(counts.failed_backups, 0) as bigint) as failed_backups
from {{ ref('stg_compose__deployments') }} as deployments
left join complete as newest
    on deployments.deployment_id = newest.deployment_id and newest.place = 1
left join missing on deployments.deployment_id = missing.deployment_id
left join counts on deployments.deployment_id = counts.deployment_id
