with events as (
    select
        created_at as happened_at,
        account_id,
        deployment_id,
        case
            when event like 'deployment.provision%' then 'provisioned'
            when event like 'deployment.deprovision%' then 'deprovisioned'
            when event like 'deployment.scale%' then 'scaled'
            when event in ('deployment.add.nodes', 'deployment.remove.node') then 'scaled'
            when event like 'deployment.version%' then 'upgraded'
            when event like 'deployment.backup%' then 'backed up'
            when event in (
                'deployment.apply_configuration', 'deployment.reconfig', 'deployment.capsule.destroy',
                'deployment.install_lets_encrypt_certs', 'deployment.add.haproxy',
                'deployment.add.kibana', 'deployment.remove.kibana'
            ) then 'changed'
            else 'other'
        end as what,
        event as detail,
        cast(null as {{ dbt.type_string() }}) as status,
        user_id,
        'audit_events' as source,
        event_id as source_id
    from {{ ref('stg_compose__audit_events') }}
    where deployment_id is not null
),

recipes as (
    select
        recipes.created_at as happened_at,
        recipes.account_id,
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

-- The API's alerts have no time: what is known is when a load first saw a change. A time that was not
-- read, or whose health is unknown, is none.
health as (
    select
        *,
        lag(summary) over (partition by deployment_id order by dbt_valid_from) as summary_before,
        lag(alert_count) over (partition by deployment_id order by dbt_valid_from) as alerts_before
    from {{ ref('health_history') }}
    where summary in ('healthy', 'warning', 'critical')
),

changes as (
    select
        dbt_valid_from as happened_at,
        cast(null as {{ dbt.type_string() }}) as account_id,
        deployment_id,
        case when summary = 'healthy' then 'recovered' else 'alert' end as what,
        cast(alert_count as {{ dbt.type_string() }})
        || case when alert_count = 1 then ' alert' else ' alerts' end as detail,
        summary as status,
        cast(null as {{ dbt.type_string() }}) as user_id,
        'health_history' as source,
        dbt_scd_id as source_id
    from health
    where case
        when summary = 'healthy' then summary_before <> 'healthy'
        else
            summary is distinct from summary_before
            or alert_count is distinct from alerts_before
    end
),

timeline as (
    select * from events
    union all
    select * from recipes
    where what is not null
    union all
    select * from changes
)

select
    timeline.happened_at,
    coalesce(timeline.account_id, deployments.account_id) as account_id,
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
