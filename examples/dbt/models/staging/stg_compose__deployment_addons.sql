-- make docs writes this file.
select
    deployment_id,
    name as addon_name,
    is_active
from {{ source('compose', 'deployment_addons') }}
