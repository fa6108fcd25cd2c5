-- make docs writes this file.
select
    deployment_id,
    id as whitelist_id,
    description,
    ip
from {{ source('compose', 'deployment_whitelist') }}
