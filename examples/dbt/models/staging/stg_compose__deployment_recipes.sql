-- make docs writes this file.
select
    id as recipe_id,
    account_id,
    deployment_id,
    parent_id,
    name as recipe_name,
    template,
    status,
    status_detail,
    source,
    {{ hashed('source_user') }} as source_user,
    source_reason,
    {{ hashed('source_ip') }} as source_ip,
    created_at,
    updated_at,
    operations_complete,
    operations_total
from {{ source('compose', 'deployment_recipes') }}
