-- When each billable was billed. One that another has replaced ends when that starts, at the latest.
with replacements as (
    select
        replaces_id,
        min(start_at) as replaced_at
    from {{ ref('stg_compose__billables') }}
    where replaces_id is not null
    group by replaces_id
),

ended as (
    select
        billables.*,
        replacements.replaced_at,
        least(
            coalesce(billables.end_at, timestamp '9999-12-31'),
            coalesce(replacements.replaced_at, timestamp '9999-12-31')
        ) as ends_at
    from {{ ref('stg_compose__billables') }} as billables
    left join replacements on billables.billable_id = replacements.replaces_id
)

select
    billable_id,
    identifier,
    sku,
    amount,
    units,
    start_at,
    ends_at,
    case
        when start_at > {{ now() }} then 'upcoming'
        when replaced_at <= {{ now() }} then 'replaced'
        when ends_at <= {{ now() }} then 'ended'
        else 'current'
    end as state
from ended
