with team_members as (
    -- The list of teams has the members; one who is only named next to a role counts too.
    select
        grants.deployment_id,
        grants.role_name,
        grants.team_id,
        members.user_id
    from {{ ref('stg_compose__deployment_role_teams') }} as grants
    inner join {{ ref('stg_compose__team_users') }} as members on grants.team_id = members.team_id
    union
    select
        deployment_id,
        role_name,
        team_id,
        user_id
    from {{ ref('stg_compose__deployment_role_team_users') }}
),

access as (
    select
        deployment_id,
        role_name,
        user_id,
        cast(null as text) as team_id
    from {{ ref('stg_compose__deployment_role_users') }}
    union
    select
        deployment_id,
        role_name,
        user_id,
        team_id
    from team_members
),

named as (
    select user_id, user_name from {{ ref('stg_compose__account_users') }}
    union all
    select user_id, user_name from {{ ref('stg_compose__team_users') }}
    union all
    select user_id, user_name from {{ ref('stg_compose__deployment_role_users') }}
    union all
    select user_id, user_name from {{ ref('stg_compose__deployment_role_team_users') }}
),

users as (
    select
        user_id,
        max(user_name) as user_name
    from named
    group by user_id
),

members as (
    select distinct user_id from {{ ref('stg_compose__account_users') }}
),

last_events as (
    select
        user_id,
        email,
        event,
        created_at,
        row_number() over (partition by user_id order by created_at desc, event_id desc) as place
    from {{ ref('stg_compose__audit_events') }}
    where user_id is not null
)

select
    access.user_id,
    users.user_name,
    last_events.email,
    access.deployment_id,
    deployments.deployment_name,
    access.role_name,
    access.team_id,
    teams.team_name,
    members.user_id is not null as is_account_user,
    last_events.event as last_event,
    last_events.created_at as last_event_at,
    cast(floor(extract(epoch from {{ now() }} - last_events.created_at) / 86400) as bigint)
        as days_since_last_event
from access
inner join {{ ref('int_deployments_listed') }} as deployments
    on access.deployment_id = deployments.deployment_id
left join users on access.user_id = users.user_id
left join members on access.user_id = members.user_id
left join {{ ref('stg_compose__teams') }} as teams on access.team_id = teams.team_id
left join last_events on access.user_id = last_events.user_id and last_events.place = 1
