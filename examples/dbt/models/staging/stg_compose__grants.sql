-- Who has which role on a deployment: directly (team_id is ''), or as a member of a team. The list of
-- teams has the members; the API may name them next to the role too. A user without an id is ''.
with team_roles as (
    select
        roles.deployment_id,
        roles.name as role_name,
        team.value ->> 'id' as team_id,
        team.value ->> 'name' as team_name,
        team.value -> 'users' as users
    from {{ current_rows('deployment_team_roles', 'deployment_id') }} as roles
    cross join lateral {{ json_items('roles.teams') }} as team
),

grants as (
    select
        roles.deployment_id,
        roles.name as role_name,
        '' as team_id,
        cast(null as {{ dbt.type_string() }}) as team_name,
        item.value as member
    from {{ current_rows('deployment_roles', 'deployment_id') }} as roles
    cross join lateral {{ json_items('roles.users') }} as item
    union all
    select
        team_roles.deployment_id,
        team_roles.role_name,
        team_roles.team_id,
        team_roles.team_name,
        item.value as member
    from team_roles
    cross join lateral {{ json_items('team_roles.users') }} as item
    union all
    select
        team_roles.deployment_id,
        team_roles.role_name,
        team_roles.team_id,
        teams.name as team_name,
        item.value as member
    from team_roles
    inner join {{ current_rows('teams') }} as teams on team_roles.team_id = teams.id
    cross join lateral {{ json_items('teams.users') }} as item
)

select
    deployment_id,
    role_name,
    coalesce({{ hashed("member ->> 'id'") }}, '') as user_id,
    max({{ hashed("member ->> 'name'") }}) as user_name,
    coalesce(team_id, '') as team_id,
    max(team_name) as team_name
from grants
group by 1, 2, 3, 5
