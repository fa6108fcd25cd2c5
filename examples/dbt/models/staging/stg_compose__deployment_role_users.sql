select
    roles.deployment_id,
    roles.name as role_name,
    {{ hashed("item.value ->> 'id'") }} as user_id,
    {{ hashed("item.value ->> 'name'") }} as user_name
from {{ source('compose', 'deployment_roles') }} as roles
cross join lateral {{ json_items('roles.users') }} as item
