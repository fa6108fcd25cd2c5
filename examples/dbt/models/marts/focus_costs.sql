{{ config(materialized='view') }}
-- A billable without an amount has no row: BilledCost may not be null.
select
    cost as "BilledCost",
    months.account_id as "BillingAccountId",
    accounts.account_name as "BillingAccountName",
    currency as "BillingCurrency",
    cast({{ dbt.dateadd('month', 1, 'month') }} as timestamp) as "BillingPeriodEnd",
    cast(month as timestamp) as "BillingPeriodStart",
    'Usage' as "ChargeCategory",
    cast(null as {{ dbt.type_string() }}) as "ChargeClass",
    description as "ChargeDescription",
    billed_to as "ChargePeriodEnd",
    billed_from as "ChargePeriodStart",
    cost as "ContractedCost",
    cost as "EffectiveCost",
    'Compose' as "InvoiceIssuerName",
    cost as "ListCost",
    share as "PricingQuantity",
    'Months' as "PricingUnit",
    'Compose' as "ProviderName",
    'Compose' as "PublisherName",
    identifier as "ResourceId",
    deployment_name as "ResourceName",
    case
        when identifier = deployment_id then 'Deployment'
        when deployment_id is not null then 'Capsule'
    end as "ResourceType",
    'Databases' as "ServiceCategory",
    coalesce(type, 'Compose') as "ServiceName",
    sku as "SkuId",
    months.account_id as "SubAccountId",
    billable_id as "x_BillableId",
    nullif(billing_code, 'none') as "x_BillingCode"
from {{ ref('billable_months') }} as months
left join {{ ref('stg_compose__accounts') }} as accounts on months.account_id = accounts.account_id
where cost is not null
