select
    id as backup_id,
    deployment_id,
    type,
    status,
    is_downloadable,
    is_restorable,
    created_at
from {{ current_rows('deployment_backups', 'deployment_id') }} as backups
