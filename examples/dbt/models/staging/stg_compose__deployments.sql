-- make docs writes this file.
select
    id as deployment_id,
    name as deployment_name,
    type,
    notes,
    customer_billing_code,
    created_at,
    compose_web_ui_url
from {{ source('compose', 'deployments') }}
