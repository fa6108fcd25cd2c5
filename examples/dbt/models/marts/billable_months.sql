-- The amount of a billable is its price per month, of which a part of a month costs a part.
with recursive

months (month) as (
    select cast(date_trunc('month', min(starts_at)) as timestamp)
    from {{ ref('int_billable_periods') }}
    union all
    select month + interval '1 month'
    from months
    where month + interval '1 month' <= {{ now() }}
),

bounds as (
    select
        month,
        month + interval '1 month' as month_end,
        least(month + interval '1 month', {{ now() }}) as counted_to
    from months
    where month <= {{ now() }}
),

billed as (
    select
        bounds.*,
        periods.*,
        greatest(periods.starts_at, bounds.month) as billed_from,
        least(periods.ends_at, bounds.counted_to) as billed_to
    from bounds
    inner join {{ ref('int_billable_periods') }} as periods
        on
            periods.starts_at < bounds.counted_to
            and periods.ends_at > bounds.month
            and periods.ends_at > periods.starts_at
),

timed as (
    select
        *,
        cast({{ dbt.datediff('billed_from', 'billed_to', 'millisecond') }} as bigint) as billed_ms,
        cast({{ dbt.datediff('month', 'month_end', 'millisecond') }} as bigint) as month_ms
    from billed
),

-- The history has a billing code from the load that first had it; the first one counts for all time before.
codes as (
    select
        deployment_id,
        billing_code,
        lag(dbt_valid_from) over (partition by deployment_id order by dbt_valid_from) is null
            as is_first,
        dbt_valid_from as valid_from,
        lead(dbt_valid_from) over (partition by deployment_id order by dbt_valid_from) as valid_to
    from {{ ref('deployments_history') }}
)

select
    cast(billed.month as date) as month,
    billed.account_id,
    billed.billable_id,
    coalesce(billed.deployment_id, billed.identifier) as resource_id,
    billed.identifier,
    billed.deployment_id,
    deployments.deployment_name,
    deployments.type,
    coalesce(codes.billing_code, 'none') as billing_code,
    billed.sku,
    billed.description,
    billed.units,
    billed.billed_from,
    billed.billed_to,
    billed.ends_at > billed.counted_to as is_active,
    billed.ends_at <= billed.counted_to and billed.state = 'replaced' as is_replaced,
    billed.amount,
    cast({{ prorated('cast(1 as numeric)', 'billed_ms', 'month_ms') }} as numeric(38, 8)) as share,
    cast({{ prorated('billed.amount', 'billed_ms', 'month_ms') }} as numeric(38, 8)) as cost,
    cast('{{ var("currency") }}' as {{ dbt.type_string() }}) as currency
from timed as billed
left join {{ ref('int_deployments_ever') }} as deployments
    on billed.deployment_id = deployments.deployment_id
left join codes
    on
        billed.deployment_id = codes.deployment_id
        and (codes.is_first or billed.billed_to >= codes.valid_from)
        and (codes.valid_to is null or billed.billed_to < codes.valid_to)
