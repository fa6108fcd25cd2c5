-- Each rule below finds, for each resource, what its rows say as if all of them had been read (null: there
-- is nothing to look at). The end replaces a finding whose streams were not read, unless it is sure:
-- true whatever else there is.
with needs (control, severity, stream, whose) as (
    -- The streams of a rule: to find the items of a deployment (all), to judge one item (item), or both.
    values
    ('healthy', 'critical', 'deployment_health', 'all'),
    ('whitelist_closed', 'critical', 'deployment_whitelist', 'all'),
    ('whitelist_closed', 'critical', 'deployment_portals', 'all'),
    ('backup_recent', 'high', 'deployment_backups', 'all'),
    ('backup_usable', 'high', 'deployment_backups', 'all'),
    ('portal_tls', 'high', 'deployment_portals', 'both'),
    ('version_supported', 'high', 'deployment_details', 'all'),
    ('version_supported', 'high', 'database_versions', 'all'),
    ('grantee_in_account', 'high', 'deployment_roles', 'all'),
    ('grantee_in_account', 'high', 'deployment_team_roles', 'all'),
    ('grantee_in_account', 'high', 'teams', 'all'),
    ('grantee_in_account', 'high', 'account_users', 'item'),
    ('backup_schedule', 'medium', 'deployment_backups', 'all'),
    ('backup_not_failing', 'medium', 'deployment_backups', 'all'),
    ('whitelist_entry_narrow', 'medium', 'deployment_whitelist', 'both'),
    ('grantee_active', 'medium', 'deployment_roles', 'all'),
    ('grantee_active', 'medium', 'deployment_team_roles', 'all'),
    ('grantee_active', 'medium', 'teams', 'all'),
    ('grantee_active', 'medium', 'audit_events', 'item'),
    ('billed_and_listed', 'medium', 'billables', 'both'),
    ('billed_and_listed', 'medium', 'deployments', 'item'),
    ('two_admins', 'low', 'deployment_roles', 'all'),
    ('two_admins', 'low', 'deployment_team_roles', 'all'),
    ('two_admins', 'low', 'teams', 'all'),
    ('size_fits', 'low', 'deployment_scalings', 'all'),
    ('billing_code', 'low', 'deployments', 'all')
),

-- Each deployment, whether the streams of other rules' facts were read, and the time that ages count to.
deployments as (
    select
        deployments.*,
        coalesce(whitelist.outcome = 'read', false) as is_whitelist_read,
        coalesce(portals.outcome = 'read', false) as is_portals_read,
        coalesce(roles.outcome = 'read', false) as is_roles_read,
        coalesce(team_roles.outcome = 'read', false) as is_team_roles_read,
        coalesce(users.outcome = 'read', false)
        and deployments.account_id in (select account_id from {{ ref('stg_compose__account_users') }}) as is_users_read,
        least(backups.read_at, {{ now() }}) as backups_as_of,
        least(events.read_at, {{ now() }}) as events_as_of
    from {{ ref('stg_compose__deployments') }} as deployments
    {%- for name in ['whitelist', 'portals', 'roles', 'team_roles', 'backups'] %}
    left join {{ ref('int_reads') }} as {{ name }}
        on {{ name }}.stream = 'deployment_{{ name }}' and {{ name }}.deployment_id = deployments.deployment_id
    {%- endfor %}
    left join {{ ref('int_reads') }} as users on users.stream = 'account_users'
    left join {{ ref('int_reads') }} as events on events.stream = 'audit_events'
),

-- Addresses that entries cover, each counted once: an entry adds what lies above all before it.
networks as (
    select
        *,
        max(last_ip) over (
            partition by deployment_id order by first_ip, last_ip, whitelist_id
            rows between unbounded preceding and 1 preceding
        ) as last_before
    from {{ ref('int_whitelist_networks') }}
),

whitelists as (
    select
        deployment_id,
        count(*) as entries,
        max(case when prefix_length = 0 then ip end) as open_entry,
        sum(greatest(last_ip - greatest(first_ip, coalesce(last_before + 1, 0)) + 1, 0)) as addresses,
        sum(case when family is null and ip is not null then 1 else 0 end) as unparsable,
        sum(case when ip is null then 1 else 0 end) as unknown
    from networks
    group by deployment_id
),

-- A whitelist does not govern SSH portals.
governed_portals as (
    select
        deployment_id,
        count(*) as portals
    from {{ ref('stg_compose__deployment_portals') }}
    where coalesce(lower(type), '') not like '%ssh%'
    group by deployment_id
),

whitelist_closed as (
    select
        deployments.deployment_id,
        deployments.is_whitelist_read and (whitelists.open_entry is not null or coalesce(whitelists.addresses, 0) >= 2147483648) as is_open,
        deployments.is_portals_read and governed_portals.portals is null as is_without_portal,
        whitelists.open_entry,
        whitelists.entries,
        whitelists.unparsable,
        whitelists.unknown
    from deployments
    left join whitelists on deployments.deployment_id = whitelists.deployment_id
    left join governed_portals on deployments.deployment_id = governed_portals.deployment_id
),

-- Backups that are dated, and not in the future.
backups as (
    select
        backups.*,
        row_number() over (
            partition by backups.deployment_id, backups.status
            order by backups.created_at desc, backups.backup_id
        ) as place
    from {{ ref('stg_compose__deployment_backups') }} as backups
    inner join deployments on backups.deployment_id = deployments.deployment_id
    where backups.created_at <= deployments.backups_as_of
),

newest_backups as (
    select * from backups where status = 'complete' and place = 1
),

undated_backups as (
    select distinct deployment_id
    from {{ ref('stg_compose__deployment_backups') }}
    where status = 'complete' and created_at is null
),

newest_by_type as (
    select
        deployment_id,
        type,
        max(case when status = 'complete' then created_at end) as complete_at,
        max(case when status = 'failed' then created_at end) as failed_at
    from backups
    group by deployment_id, type
),

failing_backups as (
    select
        deployment_id,
        {{ dbt.listagg('type', "', '", 'order by type') }} as types
    from newest_by_type
    where failed_at > coalesce(complete_at, timestamp '0001-01-01')
    group by deployment_id
),

schedules as (
    select
        deployments.deployment_id,
        {{ dbt.listagg('case when is_overdue then type end', "', '", 'order by days') }} as overdue,
        max(case when is_overdue is null then 1 else 0 end) as has_undated
    from (
        select
            deployments.deployment_id,
            schedule.type,
            schedule.days,
            {{ dbt.dateadd('day', 'schedule.days + ' ~ var('backup_grace_days'), 'coalesce(newest.complete_at, deployments.created_at)') }}
            < deployments.backups_as_of as is_overdue
        from deployments
        cross join (values ('weekly', 7), ('monthly', 31)) as schedule (type, days)
        left join newest_by_type as newest
            on deployments.deployment_id = newest.deployment_id and schedule.type = newest.type
    ) as deployments
    group by deployments.deployment_id
),

backup_rules as (
    select
        deployments.deployment_id,
        newest.created_at as newest_at,
        newest.is_restorable,
        newest.is_downloadable,
        newest.created_at < {{ dbt.dateadd('day', -1 - var('backup_grace_days'), 'deployments.backups_as_of') }} as is_old,
        deployments.created_at >= {{ dbt.dateadd('day', -1 - var('backup_grace_days'), 'deployments.backups_as_of') }} as is_new,
        undated.deployment_id is not null as has_undated,
        failing.types as failing_types,
        schedules.overdue,
        schedules.has_undated = 1 as is_undated
    from deployments
    inner join schedules on deployments.deployment_id = schedules.deployment_id
    left join newest_backups as newest on deployments.deployment_id = newest.deployment_id
    left join undated_backups as undated on deployments.deployment_id = undated.deployment_id
    left join failing_backups as failing on deployments.deployment_id = failing.deployment_id
),

portals as (
    select portals.*
    from {{ ref('stg_compose__deployment_portals') }} as portals
    inner join deployments on portals.deployment_id = deployments.deployment_id
    where deployments.is_portals_read
),

entries as (
    select networks.*
    from networks
    inner join deployments on networks.deployment_id = deployments.deployment_id
    where deployments.is_whitelist_read
),

upgrades as (
    select
        deployment_id,
        {{ dbt.listagg('to_version', "', '", 'order by to_version') }} as versions
    from (select distinct deployment_id, to_version from {{ ref('stg_compose__deployment_versions') }}) as offered
    group by deployment_id
),

version_supported as (
    select
        deployments.deployment_id,
        deployments.version,
        offered.version is not null as is_offered,
        offered.status,
        coalesce('; upgrades: ' || upgrades.versions, '; no upgrade known') as ways
    from deployments
    left join {{ ref('stg_compose__database_versions') }} as offered
        on deployments.type = offered.application and deployments.version = offered.version
    left join upgrades on deployments.deployment_id = upgrades.deployment_id
),

grantees as (
    select
        grants.deployment_id,
        deployments.account_id,
        deployments.is_users_read,
        deployments.events_as_of,
        grants.user_id,
        coalesce(max(grants.user_name), nullif(grants.user_id, ''), 'a user without id') as who,
        max(case when grants.role_name = 'admin' then 1 else 0 end) as is_admin
    from {{ ref('stg_compose__grants') }} as grants
    inner join deployments on grants.deployment_id = deployments.deployment_id
    where case when grants.team_id = '' then deployments.is_roles_read else deployments.is_team_roles_read end
    group by 1, 2, 3, 4, 5
),

account_users as (
    select distinct account_id, user_id from {{ ref('stg_compose__account_users') }}
),

last_events as (
    select
        user_id,
        max(created_at) as last_at
    from {{ ref('stg_compose__audit_events') }}
    group by user_id
),

logs as (
    select
        account_id,
        min(created_at) as first_at
    from {{ ref('stg_compose__audit_events') }}
    group by account_id
),

admins as (
    select
        deployment_id,
        sum(is_admin) as admins,
        max(case when is_admin = 1 then who end) as who
    from grantees
    where user_id <> ''
    group by deployment_id
),

known_deployments as (
    select deployment_id from {{ ref('int_deployments_ever') }}
    union
    select deployment_id from {{ ref('stg_compose__audit_events') }} where deployment_id is not null
    union
    select deployment_id from {{ ref('stg_compose__deployment_recipes') }} where deployment_id is not null
),

current_billables as (
    select
        billables.billable_id,
        billables.account_id,
        billables.identifier,
        coalesce(known.deployment_id, capsules.deployment_id) as deployment_id
    from {{ ref('stg_compose__billables') }} as billables
    inner join {{ ref('int_billable_periods') }} as periods
        on billables.billable_id = periods.billable_id and periods.state = 'current'
    left join known_deployments as known on billables.identifier = known.deployment_id
    left join {{ ref('stg_compose__capsules') }} as capsules on billables.identifier = capsules.capsule_id
),

findings as (
    select
        'healthy' as control,
        deployments.deployment_id as resource,
        deployments.deployment_id,
        false as is_item,
        case
            when health.summary in ('warning', 'critical') then 'alarm'
            when health.summary = 'healthy' then 'ok'
            when health.deployment_id is not null then 'info'
        end as finding,
        false as is_sure,
        coalesce(health.summary, 'no summary') as reason
    from deployments
    left join {{ ref('stg_compose__deployment_health') }} as health
        on deployments.deployment_id = health.deployment_id
    union all
    select
        'whitelist_closed', deployment_id, deployment_id, false,
        case
            when is_open then 'alarm'
            when is_without_portal then 'skip'
            when entries is null then 'alarm'
            when unparsable > 0 then 'error'
            when unknown > 0 then 'skip'
            else 'ok'
        end,
        is_open or is_without_portal,
        case
            when is_open and open_entry is not null then open_entry || ' lets in every address'
            when is_open then 'its entries let in half of IPv4 or more'
            when is_without_portal then 'no portal that a whitelist governs'
            when entries is null then 'no entry: every address is let in'
            when unparsable > 0 then unparsable || ' not an address or network'
            when unknown > 0 then 'ip not loaded'
        end
    from whitelist_closed
    union all
    select
        'backup_recent', deployment_id, deployment_id, false,
        case
            when not is_old then 'ok'
            when is_old then 'alarm'
            when has_undated then 'info'
            when is_new then 'skip'
            else 'alarm'
        end,
        false,
        case
            when newest_at is not null then 'newest complete backup: ' || {{ as_text('newest_at') }}
            when has_undated then 'the complete backup has no date'
            when is_new then 'the deployment is too new'
            else 'no complete backup'
        end
    from backup_rules
    union all
    select
        'backup_usable', deployment_id, deployment_id, false,
        case
            when newest_at is null then null
            when is_restorable or is_downloadable then 'ok'
            when not is_restorable and not is_downloadable then 'alarm'
            else 'info'
        end,
        false,
        case
            when newest_at is null then 'no complete backup'
            when is_restorable or is_downloadable then null
            when not is_restorable and not is_downloadable then 'can be neither restored nor downloaded'
            else 'is_restorable or is_downloadable is null'
        end
    from backup_rules
    union all
    select
        'backup_schedule', deployment_id, deployment_id, false,
        case when overdue is not null then 'alarm' when is_undated then 'info' else 'ok' end,
        false,
        case when overdue is not null then 'overdue: ' || overdue when is_undated then 'the deployment has no date' end
    from backup_rules
    union all
    select
        'backup_not_failing', deployment_id, deployment_id, false,
        case when failing_types is null then 'ok' else 'alarm' end,
        false,
        'failing: ' || failing_types
    from backup_rules
    union all
    select
        'portal_tls', portal_id, deployment_id, true,
        case when ssl_enabled then 'ok' when not ssl_enabled then 'alarm' else 'skip' end,
        false,
        coalesce(portal_name, portal_id) || case when ssl_enabled then ': TLS' when not ssl_enabled then ': no TLS' else ': does not apply' end
    from portals
    union all
    select
        'whitelist_entry_narrow', whitelist_id, deployment_id, true,
        case
            when ip is null then 'skip'
            when family is null then 'error'
            when is_private then 'info'
            when prefix_length < case when family = 4 then {{ var('widest_allowed_ipv4') }} else {{ var('widest_allowed_ipv6') }} end then 'alarm'
            else 'ok'
        end,
        false,
        case
            when ip is null then 'ip not loaded'
            when family is null then 'not an address or network: ' || ip
            when is_private then ip || ' is private'
            else ip
        end
    from entries
    union all
    select
        'version_supported', deployment_id, deployment_id, false,
        case
            when version is null then 'info'
            when not is_offered or status in ('deprecated', 'alpha', 'beta') then 'alarm'
            when status is null then 'info'
            else 'ok'
        end,
        false,
        case
            when version is null then 'version is null'
            else version || ' is ' || case when is_offered then coalesce(status, 'of unknown status') else 'no longer offered' end
        end
        || case when version is not null and (not is_offered or status in ('deprecated', 'alpha', 'beta')) then ways else '' end
    from version_supported
    union all
    select
        'grantee_in_account', grantees.user_id, grantees.deployment_id, true,
        case
            when grantees.account_id is null or not grantees.is_users_read then 'skip'
            when grantees.user_id = '' then 'error'
            when account_users.user_id is null then 'alarm'
            else 'ok'
        end,
        grantees.account_id is null or not grantees.is_users_read,
        case
            when grantees.account_id is null then 'the account is unknown'
            when not grantees.is_users_read then 'account_users not read'
            else grantees.who || case
                when account_users.user_id is null and grantees.user_id <> '' then ' is not a user of the account'
                else ''
            end
        end
    from grantees
    left join account_users
        on grantees.account_id = account_users.account_id and grantees.user_id = account_users.user_id
    union all
    select
        'grantee_active', grantees.user_id, grantees.deployment_id, true,
        case
            when grantees.user_id = '' then 'error'
            when last_events.last_at >= {{ dbt.dateadd('day', '-' ~ var('inactive_days'), 'grantees.events_as_of') }} then 'ok'
            when logs.first_at <= {{ dbt.dateadd('day', '-' ~ var('inactive_days'), 'grantees.events_as_of') }} then 'alarm'
            else 'skip'
        end,
        false,
        grantees.who || case
            when last_events.last_at is not null then ': last event ' || {{ as_text('last_events.last_at') }}
            when logs.first_at <= {{ dbt.dateadd('day', '-' ~ var('inactive_days'), 'grantees.events_as_of') }} then ': no event'
            else ': no event in a log that is shorter'
        end
    from grantees
    left join last_events on grantees.user_id = last_events.user_id
    left join logs on grantees.account_id = logs.account_id
    union all
    select
        'billed_and_listed', billables.billable_id, billables.deployment_id, true,
        case when deployments.deployment_id is not null then 'ok' when billables.deployment_id is not null then 'alarm' else 'info' end,
        false,
        case
            when deployments.deployment_id is not null then null
            when billables.deployment_id is not null then 'the deployment is gone'
            else 'unknown identifier: ' || coalesce(billables.identifier, 'null')
        end
    from current_billables as billables
    left join deployments on billables.deployment_id = deployments.deployment_id
    union all
    select
        'two_admins', deployments.deployment_id, deployments.deployment_id, false,
        case when coalesce(admins.admins, 0) >= 2 then 'ok' when admins.admins = 1 then 'alarm' else 'info' end,
        coalesce(admins.admins, 0) >= 2,
        case
            when coalesce(admins.admins, 0) = 0 then 'no admin is named; the API does not list owners'
            when admins.admins = 1 then 'only ' || admins.who
            else admins.admins || ' admins'
        end
    from deployments
    left join admins on deployments.deployment_id = admins.deployment_id
    union all
    select
        'size_fits', deployments.deployment_id, deployments.deployment_id, false,
        case
            when used_units >= allocated_units then 'alarm'
            when used_units * 2 < allocated_units and allocated_units > minimum_units then 'alarm'
            when used_units * 2 < allocated_units and minimum_units is null then 'info'
            when used_units is null or allocated_units is null then 'info'
            else 'ok'
        end,
        false,
        coalesce(cast(used_units as {{ dbt.type_string() }}), '?') || ' of '
        || coalesce(cast(allocated_units as {{ dbt.type_string() }}), '?') || ' units used, minimum '
        || coalesce(cast(minimum_units as {{ dbt.type_string() }}), '?')
    from deployments
    left join {{ ref('stg_compose__deployment_scalings') }} as scalings
        on deployments.deployment_id = scalings.deployment_id
    union all
    select
        'billing_code', deployment_id, deployment_id, false,
        {%- if is_loaded('deployments', 'customer_billing_code') %}
        case when billing_code is null then 'alarm' else 'ok' end,
        false,
        coalesce(billing_code, 'no billing code')
        {%- else %}
        'skip', true, 'customer_billing_code not loaded'
        {%- endif %}
    from deployments
    -- A deployment without items, or whose items could not all be read, has a row too.
    {%- for control, items, what in [
        ('portal_tls', 'portals', 'no portal'),
        ('whitelist_entry_narrow', 'entries', 'no entry'),
        ('grantee_in_account', 'grantees', 'no role'),
        ('grantee_active', 'grantees', 'no role'),
    ] %}
    union all
    select
        '{{ control }}', deployment_id, deployment_id, false, null, false,
        case when deployment_id not in (select deployment_id from {{ items }}) then '{{ what }}' end
    from deployments
    {%- endfor %}
    union all
    select
        'billed_and_listed', account_id, null, false, null, false,
        case when account_id not in (select account_id from current_billables where account_id is not null) then 'no current billable' end
    from {{ ref('stg_compose__accounts') }}
),

assessed as (
    select
        findings.control,
        findings.resource,
        findings.deployment_id,
        findings.finding,
        findings.is_sure,
        findings.reason,
        min(case when reads.outcome in ('skipped', 'failed') then 'error' when needs.stream is not null and coalesce(reads.outcome, '') <> 'read' then 'skip' end) as unread,
        {{ dbt.listagg("case when coalesce(reads.outcome, '') <> 'read' then needs.stream || coalesce(' not read: ' || coalesce(reads.reason, reads.outcome), ' not loaded') end", "', '", 'order by needs.stream') }} as unread_why,
        min(reads.read_at) as checked_at
    from findings
    left join needs
        on
            findings.control = needs.control
            and needs.whose in ('both', case when findings.is_item then 'item' else 'all' end)
    left join {{ ref('int_reads') }} as reads
        on needs.stream = reads.stream and reads.deployment_id in (findings.deployment_id, '')
    group by 1, 2, 3, 4, 5, 6
)

select
    assessed.control,
    rules.severity,
    assessed.resource,
    assessed.deployment_id,
    coalesce(deployments.deployment_name, ever.deployment_name) as deployment_name,
    coalesce(deployments.account_id, ever.account_id, billables.account_id, accounts.account_id) as account_id,
    case
        when assessed.is_sure then assessed.finding
        when assessed.unread is not null then assessed.unread
        else coalesce(assessed.finding, 'skip')
    end as status,
    case when assessed.unread is not null and not assessed.is_sure then assessed.unread_why else assessed.reason end as reason,
    assessed.checked_at
from assessed
inner join (select distinct control, severity from needs) as rules on assessed.control = rules.control
left join deployments on assessed.deployment_id = deployments.deployment_id
left join {{ ref('int_deployments_ever') }} as ever on assessed.deployment_id = ever.deployment_id
left join {{ ref('stg_compose__billables') }} as billables
    on assessed.control = 'billed_and_listed' and assessed.resource = billables.billable_id
left join {{ ref('stg_compose__accounts') }} as accounts
    on assessed.control = 'billed_and_listed' and assessed.resource = accounts.account_id
where assessed.unread is not null or assessed.finding is not null or assessed.reason is not null
