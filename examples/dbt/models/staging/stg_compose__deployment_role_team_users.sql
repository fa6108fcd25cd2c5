-- The members of teams, where the API names them next to the role.
select
    roles.deployment_id,
    roles.name as role_name,
    team.value ->> 'id' as team_id,
    {{ hashed("item.value ->> 'id'") }} as user_id,
    {{ hashed("item.value ->> 'name'") }} as user_name
from {{ source('compose', 'deployment_team_roles') }} as roles
cross join lateral {{ json_items('roles.teams') }} as team
cross join lateral {{ json_items("team.value -> 'users'") }} as item
