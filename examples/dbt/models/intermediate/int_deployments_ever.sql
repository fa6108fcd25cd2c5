-- All deployments that any load has listed, as they were last.
with versions as (
    select
        *,
        row_number() over (partition by deployment_id order by dbt_valid_from desc) as place
    from {{ ref('deployments_history') }}
)

select
    deployment_id,
    deployment_name,
    account_id,
    type,
    version,
    billing_code,
    created_at,
    provision_recipe_id,
    dbt_valid_to as gone_at
from versions
where place = 1
