-- make docs writes this file.
select
    id as deployment_id,
    name as deployment_name,
    type,
    notes,
    customer_billing_code,
    created_at,
    compose_web_ui_url,
    account_id,
    cluster_id,
    version,
    ca_certificate_base64,
    provision_recipe_id
from {{ source('compose', 'deployment_details') }}
