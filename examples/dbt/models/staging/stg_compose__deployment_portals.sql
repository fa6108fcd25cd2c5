select
    id as portal_id,
    deployment_id,
    name as portal_name,
    type,
    ssl_enabled
from {{ current_rows('deployment_portals', 'deployment_id') }} as portals
