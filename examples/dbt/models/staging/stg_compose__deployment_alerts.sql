-- make docs writes this file.
select
    id as alert_id,
    deployment_id,
    capsule_id,
    name as alert_name,
    message,
    status,
    summary
from {{ source('compose', 'deployment_alerts') }}
