-- make docs writes this file.
select
    id as logfile_id,
    deployment_id,
    capsule_id,
    name as logfile_name,
    region,
    status,
    file_size,
    date,
    created_at
from {{ source('compose', 'deployment_logfiles') }}
