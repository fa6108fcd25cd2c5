select
    roles.deployment_id,
    roles.name as role_name,
    item.value ->> 'id' as team_id,
    item.value ->> 'name' as team_name
from {{ source('compose', 'deployment_team_roles') }} as roles
cross join lateral {{ json_items('roles.teams') }} as item
