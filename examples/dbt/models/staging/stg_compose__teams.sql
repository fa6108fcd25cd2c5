-- make docs writes this file.
select
    id as team_id,
    name as team_name
from {{ source('compose', 'teams') }}
