-- The deployments of the last list, with what their details add, if those were ever read.
select
    deployments.id as deployment_id,
    deployments.name as deployment_name,
    coalesce(details.account_id, only_account.account_id) as account_id,
    deployments.type,
    details.version,
    nullif(trim(deployments.customer_billing_code), '') as billing_code,
    deployments.notes,
    deployments.created_at,
    nullif(details.cluster_id, '') as cluster_id,
    details.provision_recipe_id
from {{ current_rows('deployments') }} as deployments
left join {{ current_rows('deployment_details', 'id') }} as details on deployments.id = details.id
left join (
    select max(account_id) as account_id
    from {{ ref('stg_compose__accounts') }}
    having count(*) = 1
) as only_account on true
