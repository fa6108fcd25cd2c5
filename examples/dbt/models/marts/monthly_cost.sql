-- The amount of a billable is taken as its price per month, of which a part of a month costs a part.
with recursive

months (month) as (
    select cast(date_trunc('month', min(start_at)) as timestamp)
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

in_month as (
    select
        bounds.month,
        periods.*,
        extract(
            epoch from least(periods.ends_at, bounds.counted_to)
            - greatest(periods.start_at, bounds.month)
        ) / extract(epoch from bounds.month_end - bounds.month) as share,
        periods.ends_at <= bounds.counted_to as has_ended
    from bounds
    inner join {{ ref('int_billable_periods') }} as periods
        on
            periods.start_at < bounds.counted_to
            and periods.ends_at > bounds.month
            and periods.ends_at > periods.start_at
)

select
    cast(in_month.month as date) as month,
    coalesce(deployments.billing_code, 'none') as billing_code,
    deployments.deployment_id,
    deployments.deployment_name,
    in_month.sku,
    cast(round(cast(sum(in_month.amount * in_month.share) as numeric(28, 8)), 2) as numeric(28, 2))
        as cost,
    cast(sum(case when has_ended then 0 else in_month.amount end) as numeric(28, 2))
        as monthly_rate,
    cast(sum(case when has_ended then 0 else 1 end) as bigint) as current_billables,
    cast(sum(case when has_ended and state = 'ended' then 1 else 0 end) as bigint)
        as ended_billables,
    cast(sum(case when has_ended and state = 'replaced' then 1 else 0 end) as bigint)
        as replaced_billables
from in_month
left join {{ ref('int_deployments_ever') }} as deployments
    on in_month.identifier = deployments.deployment_id
group by 1, 2, 3, 4, 5
