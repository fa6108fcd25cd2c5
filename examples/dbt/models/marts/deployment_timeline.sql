with events as (
    select
        created_at as happened_at,
        deployment_id,
        case
            when event like 'deployment.provision%' then 'provisioned'
            when event like 'deployment.scale%' then 'scaled'
            when event in ('deployment.add.nodes', 'deployment.remove.node') then 'scaled'
            when event like 'deployment.version%' then 'upgraded'
            when event like 'deployment.deprovision%' then 'deprovisioned'
        end as what,
        event as detail,
        cast(null as text) as status,
        user_id,
        'audit_events' as source,
        event_id as source_id
    from {{ ref('stg_compose__audit_events') }}
    where deployment_id is not null
),

recipes as (
    select
        recipes.created_at as happened_at,
        recipes.deployment_id,
        case
            when recipes.recipe_id = deployments.provision_recipe_id then 'provisioned'
            when lower(recipes.recipe_name) like 'deprovision%' then 'deprovisioned'
            when lower(recipes.recipe_name) like 'provision%' then 'provisioned'
            when lower(recipes.recipe_name) like 'scal%' then 'scaled'
            when lower(recipes.recipe_name) like '%upgrad%' then 'upgraded'
        end as what,
        recipes.recipe_name as detail,
        recipes.status,
        recipes.source_user as user_id,
        'deployment_recipes' as source,
        recipes.recipe_id as source_id
    from {{ ref('stg_compose__deployment_recipes') }} as recipes
    left join {{ ref('int_deployments_ever') }} as deployments
        on recipes.deployment_id = deployments.deployment_id
    where recipes.parent_id is null
),

-- The API's alerts have no time: what is known is when a load first saw them.
alerts as (
    select
        dbt_valid_from as happened_at,
        deployment_id,
        'alert' as what,
        cast(alert_count as text) || case when alert_count = 1 then ' alert' else ' alerts' end
            as detail,
        summary as status,
        cast(null as text) as user_id,
        'health_history' as source,
        dbt_scd_id as source_id
    from {{ ref('health_history') }}
    where summary <> 'healthy'
),

timeline as (
    select * from events
    union all
    select * from recipes
    union all
    select * from alerts
)

select
    timeline.happened_at,
    timeline.deployment_id,
    deployments.deployment_name,
    timeline.what,
    timeline.detail,
    timeline.status,
    timeline.user_id,
    timeline.source,
    timeline.source_id
from timeline
left join {{ ref('int_deployments_ever') }} as deployments
    on timeline.deployment_id = deployments.deployment_id
where timeline.what is not null
