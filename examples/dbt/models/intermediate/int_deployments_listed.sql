-- The deployments of the latest load. One that the token may not read, or that is being
-- deprovisioned, has no details.
select
    deployments.deployment_id,
    deployments.deployment_name,
    deployments.type,
    details.version,
    nullif(deployments.customer_billing_code, '') as billing_code,
    deployments.notes,
    deployments.created_at,
    details.account_id,
    nullif(details.cluster_id, '') as cluster_id,
    details.provision_recipe_id,
    details.deployment_id is not null as is_readable
from {{ ref('stg_compose__deployments') }} as deployments
left join {{ ref('stg_compose__deployment_details') }} as details
    on deployments.deployment_id = details.deployment_id
