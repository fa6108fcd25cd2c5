with users as (
    select
        user_id,
        max(user_name) as user_name
    from (
        select user_id, user_name from {{ ref('stg_compose__account_users') }}
        union all
        select user_id, user_name from {{ ref('stg_compose__grants') }}
    ) as named
    where user_id <> ''
    group by user_id
),

-- An account always has a user. One without any was not read.
read_accounts as (
    select distinct account_id from {{ ref('stg_compose__account_users') }}
),

last_events as (
    select
        user_id,
        email,
        event,
        created_at,
        row_number() over (partition by user_id order by created_at desc, event_id desc) as place
    from {{ ref('stg_compose__audit_events') }}
    where user_id is not null and created_at is not null
)

select
    deployments.account_id,
    nullif(access.user_id, '') as user_id,
    coalesce(users.user_name, access.user_name) as user_name,
    last_events.email,
    access.deployment_id,
    deployments.deployment_name,
    access.role_name,
    case when access.role_name in ('admin', 'developer', 'manager') then access.role_name <> 'manager' end
        as can_read_data,
    case when access.role_name in ('admin', 'developer', 'manager') then access.role_name <> 'developer' end
        as can_configure,
    nullif(access.team_id, '') as team_id,
    access.team_name,
    case
        when access.user_id <> '' and read_accounts.account_id is not null
            then members.user_id is not null
    end as is_account_user,
    last_events.event as last_event,
    last_events.created_at as last_event_at,
    cast(floor(extract(epoch from {{ now() }} - last_events.created_at) / 86400) as bigint)
        as days_since_last_event
from {{ ref('stg_compose__grants') }} as access
inner join {{ ref('stg_compose__deployments') }} as deployments
    on access.deployment_id = deployments.deployment_id
left join users on access.user_id = users.user_id
left join read_accounts on deployments.account_id = read_accounts.account_id
left join {{ ref('stg_compose__account_users') }} as members
    on deployments.account_id = members.account_id and access.user_id = members.user_id
left join last_events on access.user_id = last_events.user_id and last_events.place = 1
