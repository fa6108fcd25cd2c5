select
    deployment_id,
    id as whitelist_id,
    description,
    ip
from {{ current_rows('deployment_whitelist', 'deployment_id') }} as whitelist
