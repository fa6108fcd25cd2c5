-- make docs writes this file.
select
    id as backup_id,
    deployment_id,
    name as backup_name,
    type,
    status,
    is_downloadable,
    is_restorable,
    created_at
from {{ source('compose', 'deployment_backups') }}
