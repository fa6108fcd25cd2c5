-- make docs writes this file.
select
    deployment_id,
    summary,
    alert_count
from {{ source('compose', 'deployment_health') }}
