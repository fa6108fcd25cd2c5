-- make docs writes this file.
select
    deployment_id,
    name as role_name
from {{ source('compose', 'deployment_team_roles') }}
