select
    teams.id as team_id,
    {{ hashed("item.value ->> 'id'") }} as user_id,
    {{ hashed("item.value ->> 'name'") }} as user_name
from {{ source('compose', 'teams') }} as teams
cross join lateral {{ json_items('teams.users') }} as item
