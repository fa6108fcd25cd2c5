select
    month,
    account_id,
    billing_code,
    resource_id,
    deployment_id,
    deployment_name,
    sku,
    currency,
    cast(sum(cost) as numeric(38, 8)) as cost,
    cast(sum(case when is_active then amount else 0 end) as numeric(38, 8)) as monthly_rate,
    cast(sum(case when is_active then 1 else 0 end) as bigint) as active_billables,
    cast(sum(case when amount is null then 1 else 0 end) as bigint) as billables_without_amount
from {{ ref('billable_months') }}
group by 1, 2, 3, 4, 5, 6, 7, 8
