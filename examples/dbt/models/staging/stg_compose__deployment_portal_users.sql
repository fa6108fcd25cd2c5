-- make docs writes this file.
select
    deployment_id,
    type,
    {{ hashed('name') }} as portal_user_name,
    id as portal_user_id
from {{ source('compose', 'deployment_portal_users') }}
