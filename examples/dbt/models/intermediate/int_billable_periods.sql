-- When each billable was billed, and the deployment that it belongs to: its identifier is the id of a
-- deployment or of a capsule.
with billables as (
    select * from {{ ref('stg_compose__billables') }}
),

resources as (
    select deployment_id as identifier, deployment_id from {{ ref('int_deployments_ever') }}
    union all
    select capsule_id as identifier, max(deployment_id) as deployment_id
    from {{ ref('stg_compose__capsules') }}
    group by capsule_id
),

-- replaces_id is the identifier of a resource, not the id of a billable. A resource that replaces itself,
-- as one that is scaled does, ends the earlier billables of the same sku.
replacements as (
    select
        replaced.billable_id,
        min(replacing.start_at) as replaced_at
    from billables as replaced
    inner join billables as replacing on replaced.identifier = replacing.replaces_id
    where
        (replaced.start_at is null or replaced.start_at < replacing.start_at)
        and (
            replaced.identifier is distinct from replacing.identifier
            or replaced.sku is not distinct from replacing.sku
        )
    group by replaced.billable_id
),

ended as (
    select
        billables.*,
        resources.deployment_id,
        replacements.replaced_at,
        least(
            coalesce(billables.end_at, timestamp '9999-12-31'),
            coalesce(replacements.replaced_at, timestamp '9999-12-31')
        ) as ends_at
    from billables
    left join resources on billables.identifier = resources.identifier
    left join replacements on billables.billable_id = replacements.billable_id
)

select
    billable_id,
    account_id,
    identifier,
    deployment_id,
    sku,
    description,
    amount,
    units,
    -- Without a start, only the last month is certain.
    coalesce(
        start_at, date_trunc('month', least(ends_at, {{ now() }}) - interval '1 second')
    ) as starts_at,
    ends_at,
    case
        when start_at > {{ now() }} then 'upcoming'
        when replaced_at <= {{ now() }} then 'replaced'
        when ends_at <= {{ now() }} then 'ended'
        else 'current'
    end as state
from ended
