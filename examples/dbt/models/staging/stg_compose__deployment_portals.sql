-- make docs writes this file.
select
    id as portal_id,
    deployment_id,
    name as portal_name,
    type,
    internal_ip,
    zone,
    hostname,
    ssl_enabled
from {{ source('compose', 'deployment_portals') }}
